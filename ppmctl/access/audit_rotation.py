"""Rotate the audit log, so that it has a limited size: by size and age, and the oldest files are removed.

Writers wait for a rename at most, and readers meet each line once (`audit_files`).
"""

from __future__ import annotations

import json
import logging
import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ppmctl import files
from ppmctl.access import audit_files
from ppmctl.index.layout import Volume

EVERY = 30.0  # seconds
MAX_AGE = timedelta(days=90)  # of the first line of the current file

_SECOND = timedelta(seconds=1)
_FIRST = 64 << 10  # bytes; longer than every line

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When the current file is rotated (`size` in bytes), and how many old files stay, for how many days."""

    size: int = 50 << 20
    files: int = 20
    days: int = 730


def run(volume: Volume, limits: Limits, *, every: float = EVERY, stop: threading.Event | None = None) -> None:
    """Rotate if it is due, now and then every `every` seconds, until `stop` is set."""
    stop = stop or threading.Event()
    while not stop.is_set():
        rotate(volume, limits)
        stop.wait(every)


def rotate(volume: Volume, limits: Limits, *, now: datetime | None = None) -> Path | None:
    """Rename the current file if it is too large or too old, and remove files by the limits; an error is logged.

    Return the new path of the renamed file, or None. Several processes may do this at the same time.
    """
    now = now or datetime.now(UTC)
    try:
        renamed = _rename(volume, limits, now) if _is_due(volume, limits, now) else None
        _remove_old(volume, limits, now)
    except OSError as exc:
        log.error("The audit log in %s can't be rotated: %s", volume.root, exc)
        return None
    return renamed


def _is_due(volume: Volume, limits: Limits, now: datetime) -> bool:
    try:
        with volume.audit.open("rb") as file:
            return _is_full(file.fileno(), limits, now)
    except FileNotFoundError:
        return False


def _is_full(descriptor: int, limits: Limits, now: datetime) -> bool:
    size = os.fstat(descriptor).st_size
    if size >= limits.size or not size:
        return size > 0
    first, is_whole, _rest = os.pread(descriptor, _FIRST, 0).partition(b"\n")
    try:
        return bool(is_whole) and datetime.fromisoformat(json.loads(first)["time"]) < now - MAX_AGE
    except (ValueError, KeyError, TypeError):
        return False


def _rename(volume: Volume, limits: Limits, now: datetime) -> Path | None:
    with files.without_appends(volume.audit) as descriptor:
        # another process may have rotated it before this one had the lock
        if descriptor is None or not _is_full(descriptor, limits, now):
            return None
        path = volume.old_audit(_stamp(volume, now))
        volume.audit.rename(path)
        return path


def _stamp(volume: Volume, now: datetime) -> str:
    """Return a stamp later than that of every file, also in the same second and after the clock was set back."""
    stamps = list(audit_files.rotated(volume).values())
    if stamps:
        latest = datetime.strptime(stamps[-1], audit_files.STAMP).replace(tzinfo=UTC)
        now = max(now, latest + _SECOND)
    return f"{now:{audit_files.STAMP}}"


def _remove_old(volume: Volume, limits: Limits, now: datetime) -> None:
    stamps = audit_files.rotated(volume)
    oldest = f"{now - timedelta(days=limits.days):{audit_files.STAMP}}"
    too_many = len(stamps) - limits.files
    for number, (path, stamp) in enumerate(stamps.items()):
        if number >= too_many and stamp >= oldest:
            break  # later files are newer
        path.unlink(missing_ok=True)
        log.warning("Removed %s, as the limits of old audit files say.", path)
