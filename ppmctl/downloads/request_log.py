"""Write the log of requests of a server that has no web server in front, in the form of nginx's."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from ppmctl import files
from ppmctl.index.layout import Volume

log = logging.getLogger(__name__)

LARGEST = 32 << 20  # bytes of a log, after which a new one is begun
_KEPT = 2  # older ones; each was counted within a minute after its last line
_CHECKED_EVERY = 1 << 20  # bytes


class RequestLog:
    """The log of requests of a volume. A request never fails because its line can't be written."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._path = str(volume.requests)
        self._written = 0
        self._is_failing = False

    def write(self, line: bytes) -> None:
        """Append a line; an error is logged, once until a line was written again."""
        try:
            self._append(line)
            self._is_failing = False
        except OSError as exc:
            if not self._is_failing:
                log.warning("Downloads are not counted: %s can't be written: %s", self._volume.requests, exc.strerror)
            self._is_failing = True

    def _append(self, line: bytes) -> None:
        try:
            files.append(self._path, line)
        except FileNotFoundError:
            self._volume.requests.parent.mkdir(mode=0o750, exist_ok=True)
            files.append(self._path, line)
        self._written += len(line)
        if self._written >= _CHECKED_EVERY:
            self._written = 0
            self._rotate(self._volume.requests)

    def _rotate(self, path: Path) -> None:
        """Begin a new log if this one is large. A line that is being written goes to the end of the old one."""
        held = files.try_lock(self._volume.requests_lock)
        if held is None:
            return
        try:
            if path.stat().st_size < LARGEST:
                return
            for number in range(_KEPT, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(path if number == 1 else _rotated(path, number - 1), _rotated(path, number))
        finally:
            os.close(held)


def _rotated(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
