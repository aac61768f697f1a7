"""What each webhook has received, in a file on the volume that survives a restart."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ppmctl import files
from ppmctl.access.audit_outbox import Place
from ppmctl.index.layout import Volume

CONFIRMED_EVERY = 600  # seconds

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a webhook is. Times are seconds since the epoch, 0 for never.

    `failing_since`: the first of the failures without a success since. `attempts` are those of the next event.
    """

    place: Place
    delivered: int = 0
    dropped: int = 0
    last_success: float = 0.0
    attempts: int = 0
    failing_since: float = 0.0
    next_attempt: float = 0.0
    error: str = ""
    disabled: bool = False

    def received(self, now: float) -> Progress:
        """Return the progress after an event was received; `place` is moved separately."""
        return Progress(place=self.place, delivered=self.delivered + 1, dropped=self.dropped, last_success=now)

    def refused_for_good(self, error: str) -> Progress:
        """Return the progress after the receiver said that it wants no more events."""
        return replace(self.without_failure(), disabled=True, error=error)

    def without_failure(self) -> Progress:
        """Return the progress with nothing left to be sent again."""
        return replace(self, attempts=0, failing_since=0.0, next_attempt=0.0, error="")


def read(volume: Volume, key: str, *, now: float, again: timedelta) -> Progress | None:
    """Return the progress of a webhook, None if it has none yet.

    A damaged file stands for a progress from which what happened within `again` is sent, perhaps a second time.
    """
    try:
        values: dict[str, Any] = json.loads(volume.webhook(key).read_bytes())
        return Progress(**{**values, "place": Place(**values["place"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as exc:
        log.error("%s is damaged, events of the last %s are sent again: %s", volume.webhook(key), again, exc)
        time = datetime.fromtimestamp(now, UTC) - again
        return Progress(place=Place(time=f"{time:%Y-%m-%dT%H:%M:%S.%fZ}"))


def write(volume: Volume, key: str, progress: Progress) -> None:
    """Store the progress of a webhook. Raise OSError."""
    volume.webhooks.mkdir(mode=0o700, exist_ok=True)
    content = json.dumps(asdict(progress)).encode() + b"\n"
    files.write_atomic(volume.webhook(key), content, mode=0o600, sync=True)


def confirm(volume: Volume, key: str, *, now: float) -> None:
    """Set the time of the file, so that it does not look like that of a webhook that was removed. Raise OSError."""
    path = volume.webhook(key)
    if path.exists() and now - files.changed_at(path) > CONFIRMED_EVERY:
        os.utime(path, (now, now))
