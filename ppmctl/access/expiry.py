"""Remove expired credentials from htpasswd at intervals, for nginx, which knows no expiry.

With storage, also take over what other nodes changed. The application checks the expiry itself, with each request
(`rights.Access.is_live`).
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime

from ppmctl.access import accounts, credential_files, shared_credentials
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume
from ppmctl.storage import configured
from ppmctl.storage.bucket import Unavailable

EVERY, SHARED_EVERY = 30.0, 0.7  # seconds; the latter with storage
_PRUNING, _BUCKET = "pruning", "bucket"

log = logging.getLogger(__name__)


class Pruner:
    """Prunes a volume's credentials; it reads them only if they or the clock have changed, or one has expired."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._storage = configured.opened(volume.bucket) if volume.is_cache else None
        self._tag: str | None = None  # of what was taken over from the bucket
        self._problems: dict[str, str] = {}  # what was last logged, by what failed
        self._seen: object = None
        self._due: datetime | None = None
        self._looked_at: datetime | None = None

    def run(self, *, every: float | None = None, stop: threading.Event | None = None) -> None:
        """Prune now and then every `every` seconds, until `stop` is set."""
        stop = stop or threading.Event()
        every = every or (SHARED_EVERY if self._storage else EVERY)
        while not stop.is_set():
            try:
                self.prune()
            except Exception as exc:  # a bug too: what expires later must be taken out
                self._report_pruning(exc)
            stop.wait(every)

    def prune(self) -> tuple[str, ...]:
        """Prune if it may be necessary. Return the names that were taken out; an error is logged."""
        now = datetime.now(UTC)
        if self._looked_at is not None and now < self._looked_at:
            self._seen = None  # the clock was ahead: what was taken out may be valid
        self._looked_at = now
        is_due = self._due is not None and now >= self._due
        try:
            if not self._volume.credentials.is_dir():  # the server creates it
                return ()
            is_same = self._seen == credential_files.identity(self._volume) and not self._is_changed_elsewhere()
            if is_same and not is_due:
                return ()
            settled = accounts.settle(self._volume)
            self._tag = settled.tag
            self._seen = credential_files.identity(self._volume)
            self._due = _next_expiry(self._volume)
        except (OSError, PpmError) as exc:
            self._report_pruning(exc)
            return ()
        self._problems.pop(_PRUNING, None)
        if settled.taken_out:
            log.warning("Taken out of htpasswd, as expired or not valid: %s", ", ".join(settled.taken_out))
        return settled.taken_out

    def _is_changed_elsewhere(self) -> bool:
        """Return whether the bucket has other credentials than this node; False if it can't be reached."""
        if self._storage is None:
            return False
        try:
            is_changed = not shared_credentials.is_current(self._storage, self._tag)
        except Unavailable as exc:
            self._report(_BUCKET, f"Changes of credentials on other nodes are not known here: {exc}")
            return False
        self._problems.pop(_BUCKET, None)
        return is_changed

    def _report_pruning(self, exc: Exception) -> None:
        self._report(_PRUNING, f"Expired credentials can't be taken out of {self._volume.htpasswd}: {exc}")

    def _report(self, what: str, problem: str) -> None:
        """Log a problem once, until it is solved or another."""
        if problem != self._problems.get(what):
            log.error("%s", problem)
        self._problems[what] = problem


def _next_expiry(volume: Volume) -> datetime | None:
    snapshot = credential_files.snapshot(volume)
    ends = [snapshot.access[name].effective.expires for name in snapshot.hashes if name in snapshot.access]
    return min((datetime.fromisoformat(end) for end in ends if end is not None), default=None)
