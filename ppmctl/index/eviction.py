"""Remove from the disk the files of a bucket that were read longest ago, when they are larger than a limit together.

Without a limit as many are removed as leaves a part of the disk free (`free_space`). But they may always have a
quarter of what other data leaves, so that the cache works on a disk that other data fills.

Only distributions are removed, because everything else is small and needed for pages: the bucket has them, and the
next request fetches them again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ppmctl.distributions.environment_revision import environment_of
from ppmctl.index import free_space, pages
from ppmctl.index.layout import RECORD, SIDE_FILES, Volume

log = logging.getLogger(__name__)

_EVERY = 60.0  # seconds between two looks at all files
_UNTIL = 0.9  # of the limit is left
_LEAST = 4  # the part of the disk without other data, as a divisor, that files may have without a limit
_SPARE = 64 << 20  # bytes, for what else is written to a full disk
_IN_USE = 60.0  # seconds for which a file stays that was read or fetched
_JUST_READ = 5.0  # the same, on a full disk: a request may be about to open it

_one_at_a_time = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class CachedFile:
    """A file on the disk: its size in bytes, and when it was read or fetched last."""

    path: str
    size: int
    used: float


class Eviction:
    """Keeps the files of one volume below `limit` bytes; with None, enough of its disk free."""

    def __init__(self, volume: Volume, limit: int | None) -> None:
        self._volume = volume
        self._limit = limit

    def run(self) -> None:
        """Look at all files each minute, for ever."""
        pause = threading.Event()
        while True:
            try:
                self.evict()
            except OSError as exc:
                log.error("Files that were read long ago can't be removed: %s", exc)
            pause.wait(_EVERY)

    def evict(self, *, now: float | None = None) -> list[str]:
        """Remove the files that were read longest ago, if all are larger than the limit; return their paths."""
        now = time.time() if now is None else now
        with _one_at_a_time:
            files = list(cached_files(self._volume))
            size = sum(file.size for file in files)
            if self._limit is None:
                space = os.statvfs(self._volume.root)
                least = (size + space.f_bavail * space.f_frsize) // _LEAST
                surplus = min(free_space.lacking_space(space), size - least)
            else:
                surplus = size - int(self._limit * _UNTIL) if size > self._limit else 0
            if surplus <= 0:
                return []
            return _remove(files, surplus, used_before=now - _IN_USE)


def make_room(volume: Volume, size: int, *, now: float | None = None) -> bool:
    """Remove files of `size` bytes and some more, also those in use, from a full disk; return whether there were any.

    Those that were read longest ago go, and none of the last seconds. A download that has begun is not interrupted.
    """
    now = time.time() if now is None else now
    with _one_at_a_time:
        return bool(_remove(cached_files(volume), size + _SPARE, used_before=now - _JUST_READ))


def _remove(files: Iterable[CachedFile], size: int, *, used_before: float) -> list[str]:
    """Remove the files that were read longest ago until they had this size together; return their paths."""
    removed = []
    for file in sorted(files, key=lambda file: file.used):
        if size <= 0 or file.used > used_before:
            break
        Path(file.path).unlink(missing_ok=True)
        removed.append(file.path)
        size -= file.size
    log.info("Removed %d files that were read longest ago from the disk.", len(removed))
    return removed


def cached_files(volume: Volume) -> Iterator[CachedFile]:
    """Yield the files that may be removed: those with a record, of projects that were compared with the bucket.

    Those of environments stay, because the forms of an environment are made of them.
    """
    for project in pages.projects(volume):
        if environment_of(project) is not None or not volume.head(project).exists():
            continue
        try:
            with os.scandir(volume.project(project)) as entries:
                found = {entry.name: entry for entry in entries if not entry.name.startswith(".")}
        except FileNotFoundError:  # it was removed at this moment
            continue
        for name, entry in found.items():
            if name.endswith(SIDE_FILES) or name + RECORD not in found:
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            # without atime (noatime), the time at which it was fetched counts
            yield CachedFile(path=entry.path, size=status.st_size, used=max(status.st_atime, status.st_ctime))
