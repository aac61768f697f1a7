"""The lines of an htpasswd file: which are credentials, whether a secret is theirs, and what that costs per request.

nginx makes the hash again for each request, inside its event loop, and so does the application. Secrets that are
issued here are random enough for a fast salted one; lines that come from elsewhere can be slow.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from passlib.context import CryptContext

SECRET_PREFIX = "ppm_"  # noqa: S105 - what secret scanners look for, no secret

_SCHEMES = ("ldap_salted_sha1", "ldap_sha1", "sha512_crypt", "sha256_crypt", "bcrypt", "apr_md5_crypt", "md5_crypt")
_TRIES = 3
_ROUNDS = 5000  # of sha-crypt, where a line says none
_SAMPLE = 1000
_LEAST_BCRYPT = 4


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of hash that nginx and the application both know. `name` is what people call it.

    `options` make one of a low cost, where the cost can be chosen; `times` is how many times that a line of it costs.
    """

    name: str
    pattern: re.Pattern[str]
    scheme: str
    options: tuple[tuple[str, int], ...] = ()
    times: Callable[[re.Match[str]], float] = lambda _match: 1.0


_B64 = r"[./A-Za-z0-9]"
_KINDS = tuple(
    Kind(name=name, pattern=re.compile(pattern, re.ASCII), scheme=scheme, options=options, times=times)
    for name, pattern, scheme, options, times in (
        # 20 bytes of digest, and a salt of 4 to 16
        ("{SSHA}", r"\{SSHA\}(?:[A-Za-z0-9+/]{4}){7,11}(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)",
         "ldap_salted_sha1", (), lambda _m: 1.0),
        ("{SHA}", r"\{SHA\}[A-Za-z0-9+/]{27}=", "ldap_sha1", (), lambda _m: 1.0),
        ("apr1", rf"\$apr1\${_B64}{{0,8}}\${_B64}{{22}}", "apr_md5_crypt", (), lambda _m: 1.0),
        ("md5-crypt", rf"\$1\${_B64}{{0,8}}\${_B64}{{22}}", "md5_crypt", (), lambda _m: 1.0),
        ("sha512-crypt", rf"\$6\$(?:rounds=([1-9][0-9]{{3,8}})\$)?{_B64}{{0,16}}\${_B64}{{86}}",
         "sha512_crypt", (("rounds", _SAMPLE),), lambda m: int(m[1] or _ROUNDS) / _SAMPLE),
        ("sha256-crypt", rf"\$5\$(?:rounds=([1-9][0-9]{{3,8}})\$)?{_B64}{{0,16}}\${_B64}{{43}}",
         "sha256_crypt", (("rounds", _SAMPLE),), lambda m: int(m[1] or _ROUNDS) / _SAMPLE),
        # of the last letters of salt and digest a few bits count; where others are set the C library matches nothing
        ("bcrypt", rf"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\${_B64}{{21}}[.Oeu]{_B64}{{30}}[.CGKOSWaeimquy26]",
         "bcrypt", (("rounds", _LEAST_BCRYPT),), lambda m: 2.0 ** (int(m[1]) - _LEAST_BCRYPT)),
        ("crypt (DES)", rf"{_B64}{{13}}", "des_crypt", (), lambda _m: 1.0),
    )
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of an htpasswd file as it stands there. `name` is "" where it names nobody (a comment, no colon).

    `kind` is None where nobody can be let in by it.
    """

    text: str
    name: str = ""
    stored: str = ""
    kind: Kind | None = None

    @property
    def is_credential(self) -> bool:
        return self.kind is not None

    @property
    def is_nothing(self) -> bool:
        """Whether it is empty or a comment."""
        return not self.text.strip() or self.text.startswith("#")


@cache
def _hashes() -> CryptContext:
    # imported here: it belongs to the extra of servers, and `user … --on` is typed where there is none
    from passlib.context import CryptContext

    return CryptContext(schemes=[*_SCHEMES, "des_crypt"], default="ldap_salted_sha1")


def load() -> None:
    """Load what makes hashes, where it is installed: whoever this process becomes may not be able to read it."""
    with contextlib.suppress(ModuleNotFoundError):
        _hashes()


def parse(text: str) -> Line:
    """The line `text`, whatever it is."""
    name, colon, stored = text.partition(":")
    if not colon or not name or name.startswith("#"):
        return Line(text=text)
    is_name = name.isprintable() and name == name.strip()
    return Line(text=text, name=name, stored=stored, kind=kind_of(stored) if is_name else None)


def kind_of(stored: str) -> Kind | None:
    """The kind of the hash `stored`, if it is a whole one of a kind that nginx and the application both know."""
    return next((kind for kind in _KINDS if kind.pattern.fullmatch(stored)), None)


def new_secret() -> str:
    """A secret that nobody can guess: 256 random bits, URL-safe, with a prefix that secret scanners find."""
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def hash_of(secret: str) -> str:
    """What htpasswd has of an issued secret: salted SHA-1, which nginx reads natively."""
    return str(_hashes().hash(secret))


def is_secret_of(secret: str, stored: str) -> bool:
    """Whether `secret` is the one that `stored` is the hash of; False for a secret that can be none.

    What is no hash as `kind_of` knows them lets nobody in, whatever the library would make of it.
    """
    if kind_of(stored) is None:
        return False
    try:
        return bool(_hashes().verify(secret, stored))
    except (ValueError, TypeError):  # a secret with a NUL, a damaged hash
        return False


def cost(line: Line) -> float:
    """The seconds of processor time that a request with this credential takes: measured here, by the line's kind.

    A kind whose cost its lines can choose is measured at a low one and multiplied; a line is never tried itself.
    """
    if line.kind is None:
        return 0.0
    match = line.kind.pattern.fullmatch(line.stored)
    return _sample(line.kind) * line.kind.times(match) if match else 0.0


@cache
def _sample(kind: Kind) -> float:
    handler: Any = _hashes().handler(kind.scheme)
    stored = handler.using(**dict(kind.options)).hash("sample")
    return min(_timed(handler, stored) for _ in range(_TRIES))


def _timed(handler: Any, stored: str) -> float:
    start = time.thread_time()  # of this thread alone, however busy the machine is
    handler.verify("another", stored)
    return time.thread_time() - start
