"""Add or remove the entry of one host in a netrc file, and leave every other byte as it is."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ppmctl.client import user_file
from ppmctl.client.credential import Credential
from ppmctl.client.index_url import Address
from ppmctl.client.login_store import Logins
from ppmctl.errors import PpmError, UsageError

MODE = 0o600

_WORD = re.compile(r'"(?:\\.|[^"\\])*"|\S+')
_VALUES = ("login", "user", "account", "password")
# Programs read quotes differently, so a value that needs quotes is not written.
_PLAIN = re.compile(r"[^\s\"'\\#]+")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The entry of `host` ("" for the default), from `start` to `end` of the text."""

    host: str
    login: str = ""
    password: str = field(default="", repr=False)
    start: int
    end: int


def entries(text: str) -> Iterator[Entry]:
    """Yield the entries in their order, without comments and macros."""
    host: str | None = None
    values: dict[str, str] = {}
    start, end, position = 0, 0, 0
    while word := _WORD.search(text, position):
        position = word.end()
        if word[0].startswith("#"):
            position = _line_end(text, position)
        elif word[0] in ("machine", "default", "macdef"):
            if host is not None:
                yield _entry(host, values, start, end)
            host, values, start = None, {}, word.start()
            if word[0] == "macdef":  # until an empty line
                blank = re.compile(r"\n[ \t]*\r?\n").search(text, position)
                position = blank.end() if blank else len(text)
            elif word[0] == "default":
                host, end = "", position
            elif name := _WORD.search(text, position):
                host, end = _plain(name[0]), name.end()
                position = end
        elif word[0] in _VALUES and (value := _WORD.search(text, position)):
            values[word[0]] = _plain(value[0])
            position = end = value.end()
    if host is not None:
        yield _entry(host, values, start, end)


def _entry(host: str, values: Mapping[str, str], start: int, end: int) -> Entry:
    login = values.get("login") or values.get("user", "")
    return Entry(host=host, login=login, password=values.get("password", ""), start=start, end=end)


def entry_of(text: str, host: str) -> Entry | None:
    """Return the entry that programs use for a host."""
    return next((entry for entry in entries(text) if entry.host == host), None)


def read(path: Path) -> str:
    """Return the text of a netrc file, "" if it is missing. Raise PpmError if it can't be read."""
    return (user_file.content(path) or b"").decode("utf-8", "surrogateescape")


def line(host: str, credential: Credential) -> str:
    """Return an entry as a line, with the secret. Raise PpmError if it has characters that netrc can't hold."""
    words = (host, credential.username, credential.secret.reveal())
    if not all(_PLAIN.fullmatch(word) for word in words):
        raise PpmError(
            f"A .netrc can't hold the credential of {credential.username!r}: it has spaces, quotes, # or \\.",
            hint="An issued secret has none of them: ppmctl user add",
        )
    return "machine {} login {} password {}".format(*words)


def require_free(path: Path, address: Address, known: Logins, *, by: Collection[str]) -> None:
    """Raise UsageError if the host's entry must stay: netrc has one entry for a host, for all its ports and paths.

    An entry of a user in `by` may be replaced, unless it belongs to a login at another index.
    """
    entry = entry_of(read(path), address.host)
    if entry is None:
        return
    logins = (login for login in known.all if (login.netrc, login.username) == (str(path), entry.login))
    owner = next((login.index for login in logins if Address(base=login.index, upload="").host == entry.host), None)
    if owner == address.base or (owner is None and entry.login in by):
        return
    whose = f"the login at {owner}" if owner else repr(entry.login)
    raise UsageError(
        f"{path} has an entry for {address.host} already, of {whose}; it can have only one for a host.",
        hint=f"ppmctl logout {owner}" if owner else f"Remove it, or use the keyring: ppmctl login {address.base}",
    )


def with_entry(path: Path, host: str, credential: Credential) -> bytes:
    """Return the content of a netrc file with the credential for a host."""
    return with_line(read(path), host, line(host, credential)).encode("utf-8", "surrogateescape")


def without_entry(path: Path, host: str, login: str, *, is_ours: bool) -> bytes | None:
    """Return the content of a netrc file without an entry; None if ppmctl made the file and it is empty now."""
    left = without(read(path), host, login)
    return None if is_ours and not left.strip() else left.encode("utf-8", "surrogateescape")


def with_line(text: str, host: str, line: str) -> str:
    """Return the text with `line` instead of the entry of `host`, or else before all others: a default ends them."""
    entry = entry_of(text, host)
    return f"{line}\n{text}" if entry is None else text[: entry.start] + line + text[entry.end :]


def without(text: str, host: str, login: str) -> str:
    """Return the text without the entry of `host` for `login`, and without its line if that is empty then."""
    entry = next((each for each in entries(text) if (each.host, each.login) == (host, login)), None)
    if entry is None:
        return text
    start, end = entry.start, entry.end
    begins = start == 0 or text[start - 1] == "\n"
    if begins and not text[end : _line_end(text, end)].strip():
        end = min(_line_end(text, end) + 1, len(text))
    return text[:start] + text[end:]


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _plain(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith('"') and word.endswith('"') else word
