"""Remove expired credentials from htpasswd at intervals, for nginx, which knows no expiry.

The application checks the expiry itself, with each request (`rights.Access.is_live`).
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime

from ppmctl.access import accounts, credential_files
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume

EVERY = 30.0  # seconds

log = logging.getLogger(__name__)


class Pruner:
    """Prunes a volume's credentials; it reads them only if they or the clock have changed, or one has expired."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._seen: object = None
        self._due: datetime | None = None
        self._looked_at: datetime | None = None

    def run(self, *, every: float = EVERY, stop: threading.Event | None = None) -> None:
        """Prune now and then every `every` seconds, until `stop` is set."""
        stop = stop or threading.Event()
        while not stop.is_set():
            self.prune()
            stop.wait(every)

    def prune(self) -> tuple[str, ...]:
        """Prune if it may be necessary. Return the names that were taken out; an error is logged."""
        if not self._volume.credentials.is_dir():  # the server creates it
            return ()
        now = datetime.now(UTC)
        if self._looked_at is not None and now < self._looked_at:
            self._seen = None  # the clock was ahead: what was taken out may be valid
        self._looked_at = now
        is_due = self._due is not None and now >= self._due
        if self._seen == credential_files.identity(self._volume) and not is_due:
            return ()
        try:
            pruned = accounts.prune(self._volume)
            self._seen = credential_files.identity(self._volume)
            self._due = _next_expiry(self._volume)
        except (OSError, PpmError) as exc:
            log.error("Expired credentials can't be taken out of %s: %s", self._volume.htpasswd, exc)
            return ()
        if pruned:
            log.warning("Taken out of htpasswd, as expired or not valid: %s", ", ".join(pruned))
        return pruned


def _next_expiry(volume: Volume) -> datetime | None:
    snapshot = credential_files.snapshot(volume)
    ends = [snapshot.access[name].effective.expires for name in snapshot.hashes if name in snapshot.access]
    return min((datetime.fromisoformat(end) for end in ends if end is not None), default=None)
