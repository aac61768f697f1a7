"""What has expired is taken out of htpasswd, again and again: for nginx, which knows no expiry."""

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
    """Prunes a volume's credentials; where nothing changed and nothing expired since, that is two looks at a file."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._seen: object = None
        self._due: datetime | None = None

    def run(self, *, every: float = EVERY, stop: threading.Event | None = None) -> None:
        """Prune at once and then every so many seconds, until `stop`; without one for ever."""
        stop = stop or threading.Event()
        while not stop.is_set():
            self.prune()
            stop.wait(every)

    def prune(self) -> tuple[str, ...]:
        """Prune if there may be something to; the names of what was taken out. What fails is said in the log."""
        if not self._volume.credentials.is_dir():  # whoever serves it makes it
            return ()
        if self._seen == credential_files.identity(self._volume) and (
            self._due is None or datetime.now(UTC) < self._due
        ):
            return ()
        try:
            pruned = accounts.prune(self._volume)
            self._seen = credential_files.identity(self._volume)
            self._due = _next(self._volume)
        except (OSError, PpmError) as exc:
            log.error("What has expired can't be taken out of %s: %s", self._volume.htpasswd, exc)
            return ()
        if pruned:
            log.warning("Taken out of htpasswd, as expired or not valid: %s", ", ".join(pruned))
        return pruned


def _next(volume: Volume) -> datetime | None:
    known = credential_files.known(volume)
    ends = [known.access[name].effective.expires for name in known.hashes if name in known.access]
    return min((datetime.fromisoformat(end) for end in ends if end is not None), default=None)
