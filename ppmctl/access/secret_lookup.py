"""Find the credential to which an issued secret belongs, for clients that send it with the user name `__token__`.

Issued secrets have fast salted hashes, and each of them is compared: 10,000 take about 10 ms, once for each secret
that is right.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from threading import BoundedSemaphore, Lock

from ppmctl.access import htpasswd
from ppmctl.access.secret_check import MOST_WAITING, Busy

_ISSUED = "{SSHA}"  # how a hash of an issued secret begins


class SecretLookup:
    """Finds the names of issued secrets. One thread at a time compares; a few wait, and others get Busy."""

    def __init__(self) -> None:
        self._hashes: Mapping[str, str] = {}
        self._salted: dict[str, tuple[bytes, bytes]] | None = None
        self._known: dict[bytes, str] = {}
        self._key = secrets.token_bytes(32)
        self._guard = Lock()
        self._waiting = BoundedSemaphore(MOST_WAITING)

    def use(self, hashes: Mapping[str, str]) -> None:
        """Look for secrets among these valid hashes, by name, from now on."""
        with self._guard:
            self._hashes, self._salted, self._known = hashes, None, {}

    def name_of(self, secret: str) -> str | None:
        """Return the name of the credential with this secret, or None. Raise Busy if too many requests wait.

        Only issued secrets are looked for: a chosen password could be guessed for all users at once.
        """
        if not htpasswd.is_issued(secret):
            return None
        if (known := self.known(secret)) is not None:
            return known
        if not self._waiting.acquire(blocking=False):
            raise Busy
        try:
            with self._guard:
                name = self._compared(secret.encode())
                if name is not None:
                    self._known[self._key_of(secret)] = name
                return name
        finally:
            self._waiting.release()

    def known(self, secret: str) -> str | None:
        """Return the name of the credential with this secret, if it was found before."""
        return self._known.get(self._key_of(secret))

    def _key_of(self, secret: str) -> bytes:
        return hmac.digest(self._key, secret.encode("utf-8", "surrogatepass"), "sha256")

    def _compared(self, secret: bytes) -> str | None:
        if self._salted is None:
            self._salted = {name: salted for name, each in self._hashes.items() if (salted := _salted(each))}
        right = None
        for name, (digest, salt) in self._salted.items():
            if hmac.compare_digest(hashlib.sha1(secret + salt, usedforsecurity=False).digest(), digest):
                right = name
        return right


def _salted(stored: str) -> tuple[bytes, bytes] | None:
    """Return the digest and the salt of the hash of an issued secret; None for another kind of hash."""
    if not stored.startswith(_ISSUED):
        return None
    raw = base64.b64decode(stored.removeprefix(_ISSUED))
    return raw[:20], raw[20:]
