"""Parse lines of htpasswd, check secrets against them, and measure what a check costs.

nginx computes the hash for each request, in its event loop, and so does the application. Issued secrets are random
enough for a fast salted hash; the hashes of another server's lines can be slow.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from passlib.context import CryptContext

SECRETS_PREFIX = "ppm_"  # by which secret scanners find them

_ISSUED = re.compile(rf"{SECRETS_PREFIX}[A-Za-z0-9_-]{{43}}", re.ASCII)
_TRIES = 3
_ROUNDS = 5000  # of sha-crypt, if a line does not specify them
_SAMPLE = 1000
_LEAST_BCRYPT = 4
_FAST = ("{SSHA}", "{SHA}")


@dataclass(frozen=True)
class Kind:
    """A kind of hash that both nginx and the application know. `name` is what people call it, `scheme` passlib.

    A hash with these `rounds`, where they can be chosen, is the sample for `cost`; a line costs `times` as much.
    """

    name: str
    scheme: str
    pattern: re.Pattern[str]
    rounds: int | None = None
    times: Callable[[re.Match[str]], float] = lambda _match: 1.0

    @property
    def is_fast(self) -> bool:
        """Return whether a check takes microseconds; the slow kinds take up to a thousand times as long."""
        return self.name in _FAST


def _sha_times(match: re.Match[str]) -> float:
    return int(match[1] or _ROUNDS) / _SAMPLE


_pattern = partial(re.compile, flags=re.ASCII)
_B64 = r"[./A-Za-z0-9]"
_SHA_ROUNDS = r"(?:rounds=([1-9][0-9]{3,8})\$)?"
_KINDS = (
    # 20 bytes of digest, and a salt of 4 to 16
    Kind("{SSHA}", "ldap_salted_sha1", _pattern(
        r"\{SSHA\}(?:[A-Za-z0-9+/]{4}){7,11}(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)")),
    Kind("{SHA}", "ldap_sha1", _pattern(r"\{SHA\}[A-Za-z0-9+/]{27}=")),
    Kind("apr1", "apr_md5_crypt", _pattern(rf"\$apr1\${_B64}{{0,8}}\${_B64}{{22}}")),
    Kind("md5-crypt", "md5_crypt", _pattern(rf"\$1\${_B64}{{0,8}}\${_B64}{{22}}")),
    Kind("sha512-crypt", "sha512_crypt", _pattern(rf"\$6\${_SHA_ROUNDS}{_B64}{{0,16}}\${_B64}{{86}}"),
         _SAMPLE, _sha_times),
    Kind("sha256-crypt", "sha256_crypt", _pattern(rf"\$5\${_SHA_ROUNDS}{_B64}{{0,16}}\${_B64}{{43}}"),
         _SAMPLE, _sha_times),
    # only a few bits of the last letters of salt and digest count; if others are set, the C library never matches
    Kind("bcrypt", "bcrypt", _pattern(
        rf"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\${_B64}{{21}}[.Oeu]{_B64}{{30}}[.CGKOSWaeimquy26]"),
         _LEAST_BCRYPT, lambda match: 2.0 ** (int(match[1]) - _LEAST_BCRYPT)),
    Kind("crypt (DES)", "des_crypt", _pattern(rf"{_B64}{{13}}")),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of an htpasswd file. `name` is "" for a comment or a line without a colon.

    `kind` is None if the line is not a credential.
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
        """Return whether the line is empty or a comment."""
        return not self.text.strip() or self.text.startswith("#")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What makes checks of two hashes take equally long: the kind, and how often it repeats its sample's work."""

    kind: str
    times: float
    is_fast: bool


@cache
def _hashes() -> CryptContext:
    # imported here, because only the server extra installs it, and `user … --on` works without it
    from passlib.context import CryptContext

    return CryptContext(schemes=[kind.scheme for kind in _KINDS])  # the first is for new hashes


def load() -> None:
    """Import passlib if it is installed: after a change of the user the process may not be able to read it."""
    with contextlib.suppress(ModuleNotFoundError):
        _hashes()


def read(path: Path) -> str | None:
    """Return the text of a file of credentials, or None if it is missing. Bytes that are not UTF-8 are preserved."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None


def parse(text: str) -> Line:
    """Return the line with this text, which may be anything."""
    name, colon, stored = text.partition(":")
    if not colon or not name or name.startswith("#"):
        return Line(text=text)
    is_name = name.isprintable() and name == name.strip()
    return Line(text=text, name=name, stored=stored, kind=kind_of(stored) if is_name else None)


def kind_of(stored: str) -> Kind | None:
    """Return the kind of the hash `stored`, or None if it is not one that both nginx and the application know."""
    return next((kind for kind in _KINDS if kind.pattern.fullmatch(stored)), None)


def cost_of(stored: str) -> Cost | None:
    """Return what a check of the hash `stored` costs, or None for one that `kind_of` does not know."""
    kind = kind_of(stored)
    match = kind.pattern.fullmatch(stored) if kind else None
    if kind is None or match is None:
        return None
    return Cost(kind=kind.name, times=kind.times(match), is_fast=kind.is_fast)


def comment_out(path: Path, staying: Collection[str]) -> None:
    """Make all lines but those `staying` comments of the same length, in place, which needs no space on the disk."""
    kept = {text.encode(errors="surrogateescape") for text in staying}
    with path.open("r+b", buffering=0) as file:
        start = 0
        for line in file.readall().split(b"\n"):
            if line.removesuffix(b"\r") not in kept and not line.startswith(b"#"):
                os.pwrite(file.fileno(), b"#" * len(line), start)
            start += len(line) + 1


def new_secret() -> str:
    """Return a secret of 256 random bits, URL-safe, with a prefix that secret scanners find."""
    return SECRETS_PREFIX + secrets.token_urlsafe(32)


def is_issued(secret: str) -> bool:
    """Return whether a secret has the form of `new_secret`."""
    return _ISSUED.fullmatch(secret) is not None


def hash_of(secret: str) -> str:
    """Return the hash of an issued secret for htpasswd: salted SHA-1, which nginx supports natively."""
    return str(_hashes().hash(secret))


def is_secret_of(secret: str, stored: str) -> bool:
    """Return whether `stored` is the hash of `secret`; always False for a hash that `kind_of` does not know."""
    if kind_of(stored) is None:
        return False
    try:
        return bool(_hashes().verify(secret, stored))
    except (ValueError, TypeError):  # a secret with a NUL, a damaged hash
        return False


def cost(line: Line) -> float:
    """Return the seconds of processor time that a request with this credential takes on this machine.

    The line itself, which may be very slow, is not tried: a sample of its kind is measured and multiplied.
    """
    match = line.kind.pattern.fullmatch(line.stored) if line.kind else None
    return _sample(line.kind) * line.kind.times(match) if line.kind and match else 0.0


@cache
def _sample(kind: Kind) -> float:
    handler: Any = _hashes().handler(kind.scheme)
    stored = (handler if kind.rounds is None else handler.using(rounds=kind.rounds)).hash("sample")
    times = []
    for _try in range(_TRIES):
        start = time.thread_time()  # of this thread alone, however busy the machine is
        handler.verify("another", stored)
        times.append(time.thread_time() - start)
    return min(times)
