"""Check secrets so that neither the answer nor its time tells a stranger which names exist.

Issued secrets have a fast hash, imported passwords a slow one (`ppmctl.access.htpasswd`). A wrong secret is compared
with one hash of each cost that a volume has, whatever the name: the name's own, and samples of the other costs.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock

from ppmctl.access import htpasswd
from ppmctl.access.htpasswd import Cost
from ppmctl.errors import PpmError

MOST_WAITING = 8  # slow checks at the same time, of which one is computed
_MOST_KNOWN = 10_000  # secrets that were right


class Busy(PpmError):
    """Too many secrets are being checked; a retry may work."""

    status = 503

    def __init__(self) -> None:
        super().__init__("Too many credentials are being checked at the moment: try again in a few seconds.")


class SecretCheck:
    """Checks the secrets of one volume.

    One thread computes all slow hashes, so strangers with wrong secrets keep one processor core busy at most, and a
    few threads of a server. A secret that was right is remembered (a keyed hash, in memory), so only its first
    request is slow.
    """

    def __init__(self) -> None:
        self._issued = htpasswd.hash_of(htpasswd.new_secret())
        self._samples: Mapping[Cost, str] = {}
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="slow hashes")
        self._guard = Lock()
        self._running: dict[bytes, Future[bool]] = {}
        self._known: dict[bytes, str] = {}
        self._key = secrets.token_bytes(32)
        self.use(())

    def use(self, hashes: Iterable[str]) -> None:
        """Compare wrong secrets with hashes of the same costs as these, from now on."""
        samples: dict[Cost, str] = {}
        for stored in (self._issued, *hashes):
            if (cost := htpasswd.cost_of(stored)) is not None:
                samples.setdefault(cost, stored)
        self._samples = samples

    def is_right(self, name: str, secret: str, stored: str | None) -> bool:
        """Return whether `secret` belongs to the hash `stored` of `name`; None for an unknown name. Raise Busy."""
        if self.is_known(name, secret, stored):
            return True
        key = self._key_of(name, secret)
        if not _matches(secret, stored, _with(stored, self._samples, is_fast=True)):
            slow = _with(stored, self._samples, is_fast=False)
            if not slow or not self._future(key, secret, stored, slow).result():
                return False
        self._remember(key, stored or "")
        return True

    def is_known(self, name: str, secret: str, stored: str | None) -> bool:
        """Return whether the secret was right for this hash before. It is compared with no hash."""
        known = self._known.get(self._key_of(name, secret))
        return known is not None and known == stored

    def _key_of(self, name: str, secret: str) -> bytes:
        return hmac.digest(self._key, f"{name}:{secret}".encode("utf-8", "surrogatepass"), "sha256")

    def _future(self, key: bytes, secret: str, stored: str | None, hashes: Sequence[str]) -> Future[bool]:
        """Return the slow check of a secret. Requests with the same name and secret at the same time share one."""
        with self._guard:
            if key in self._running:
                return self._running[key]
            if len(self._running) >= MOST_WAITING:
                raise Busy
            future = self._running[key] = self._pool.submit(_matches, secret, stored, hashes)
        future.add_done_callback(partial(self._forget, key))
        return future

    def _forget(self, key: bytes, _future: Future[bool]) -> None:
        with self._guard:
            self._running.pop(key, None)

    def _remember(self, key: bytes, stored: str) -> None:
        with self._guard:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = stored


def _with(stored: str | None, samples: Mapping[Cost, str], *, is_fast: bool) -> list[str]:
    """Return a hash of each fast or slow cost: `stored` first, if it has such a cost, then samples of the others."""
    own = htpasswd.cost_of(stored) if stored is not None else None
    first = [stored] if stored is not None and own is not None and own.is_fast == is_fast else []
    return first + [sample for cost, sample in samples.items() if cost.is_fast == is_fast and cost != own]


def _matches(secret: str, stored: str | None, hashes: Sequence[str]) -> bool:
    """Return whether `secret` belongs to the hash `stored`. A wrong secret is compared with each of `hashes`."""
    return any(htpasswd.is_secret_of(secret, each) and each == stored for each in hashes)
