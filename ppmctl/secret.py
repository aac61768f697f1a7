"""A secret that is shown only where code asks for it, and texts without the secrets in them."""

from __future__ import annotations

import re
from typing import NoReturn

# Tokens of well-known services. Names of projects and users have no such start with both cases after it.
TOKEN = re.compile(
    r"(ppm_|pypi-AgE|gh[pousr]_|github_pat_|glpat-|npm_|xox[abprs]-|[sr]k_live_|sk-ant-)"
    r"(?=[a-z0-9_-]{0,99}[A-Z])(?=[A-Z0-9_-]{0,99}[a-z])[A-Za-z0-9_-]{20,}"
)
# what follows :// in a URL; only a password has quotes in it
_REST = re.compile(r"(?:[^\s/]*@)?[^\s\"'<>`]*")
# Without an @ at its end, a match skips up to its last word: the words before it would end at the same place.
_WITHOUT_SCHEME = re.compile(
    r"(?<![\w/:@.+-])([\w.+-]+:/?)(?!/)(?:[^\s/@\"']++(@)(?=[\w\[])|(?:[^\s/@\"']*[^\s/@\"'\w:.+-])?)"
)
_HOST = re.compile(r"(?:[^:@\[\]]*+|\[[^\]]*\])(?::[0-9]*)?[^\w@]*")  # a full stop or the like may follow
_VALUE = re.compile(r"(?:(?P<name>[^&;=]*)=)?(?P<value>[^&;]*)")
_PUBLIC = re.compile(r"(?:egg|subdirectory|md5|sha[0-9]+)", re.ASCII)  # what a fragment tells an installer


class Secret:
    """A text that is `***` where it is printed, formatted or logged; `reveal` returns the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret can't be pickled.")


def masked(text: str) -> str:
    """Return a text with *** instead of what may be a secret: tokens, and in URLs what is before the @ or in a query.

    Mask a text before it is cut: of half a URL one can't tell what the other half was.
    """
    shown = _WITHOUT_SCHEME.sub(_without_userinfo, TOKEN.sub(r"\1***", text))
    first, *others = shown.split("://")
    before = [first, *others]
    return first + "".join(f"://{_masked(scheme, part)}" for scheme, part in zip(before, others, strict=False))


def _without_userinfo(match: re.Match[str]) -> str:
    return f"{match[1]}***@" if match[2] else match[0]


def _masked(before: str, after: str) -> str:
    """Return what is after the :// of a URL without secrets; its scheme is at the end of what is `before`."""
    match = _REST.match(after)
    rest = match[0] if match else ""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    userinfo, at, _host = authority.rpartition("@")
    if not at and not _HOST.fullmatch(authority):
        # what follows the colon is no port, so it is a password, perhaps one with a / or a space in it
        line = after.partition("\n")[0]
        userinfo, at, host = line.rpartition("@") if "@" in line else (authority, "", "")
        rest = userinfo + at + (_REST.match(host) or [""])[0]
    user, colon, _password = userinfo.partition(":")
    shown = "***" if userinfo else ""
    if before.endswith(("ssh", "ssh+sudo")):  # the user of a host is no secret
        shown = f"{user}:***" if colon else user
    rest_of_url, hash_sign, fragment = rest[len(userinfo + at) :].partition("#")
    path, mark, query = rest_of_url.partition("?")
    query = _VALUE.sub(lambda value: _masked_value(value, is_fragment=False), query)
    fragment = _VALUE.sub(lambda value: _masked_value(value, is_fragment=True), fragment)
    return f"{shown}{at}{path}{mark}{query}{hash_sign}{fragment}{after[len(rest) :]}"


def _masked_value(match: re.Match[str], *, is_fragment: bool) -> str:
    name, value = match["name"], match["value"]
    if not value or (is_fragment and name is not None and _PUBLIC.fullmatch(name)):
        return match[0]
    return "***" if name is None else f"{name}=***"
