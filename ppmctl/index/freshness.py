"""Compare what the disk has of a project with the bucket before it is read, at most about once a second.

A mark in `index/current/` says that a project's pages were compared less than a second ago. It is a link to the
volume's folder, and a part of the path where nginx looks for pages and files of the project. So while it exists nginx
sends them from the disk without asking the application, and without it nginx finds none.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotDone
from pathlib import Path

from ppmctl.errors import PpmError
from ppmctl.index.layout import ROOT_MARK, Volume
from ppmctl.index.pages import JSON_PAGE
from ppmctl.storage.bucket import Missing, Unavailable

log = logging.getLogger(__name__)

ROOT = ROOT_MARK  # compared instead of a project: the list of all projects

_FRESH = 0.9  # seconds for which a comparison counts, from its begin
_SWEEP_EVERY = 0.05  # seconds between two looks at the marks, while there are some
_IDLE = 1.0  # the same, without a mark
_LIMIT = 5.0  # seconds that a request waits for the bucket
_THREADS = 16  # comparisons at the same time
_QUEUE_LIMIT = 1.0  # seconds that a request waits for the begin of its comparison
# A project that nginx has read since its last comparison is compared again before its mark ends, so nobody waits.
_RENEWED = 0.8  # seconds after the begin of the last comparison
_RENEWED_AT_ONCE = _THREADS // 2


class Freshness:
    """Comparisons of one volume's projects with its bucket, for any number of threads.

    `pull` compares a project, or with ROOT the list of projects, and updates the disk; it raises Unavailable if the
    bucket can't be asked. Until a comparison succeeds again, a new one begins only after `limit` seconds or after the
    one before, and other requests do not wait for it: what is on the disk is sent without delay. A comparison that
    takes longer, because it fetches much, delays no other project; many of them at once delay others by a second.
    """

    def __init__(
        self,
        volume: Volume,
        pull: Callable[[str], object],
        *,
        clock: Callable[[], float] = time.monotonic,
        limit: float = _LIMIT,
    ) -> None:
        self._volume = volume
        self._pull = pull
        self._clock = clock
        self._limit = limit
        self._guard = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._compared: dict[str, float] = {}  # when the last comparison of each project began
        self._running: dict[str, tuple[float, Future[bool]]] = {}  # when each was asked for
        self._is_away = False
        self._marked = threading.Event()

    @property
    def is_away(self) -> bool:
        """Return whether the bucket did not answer the last time."""
        return self._is_away

    def compare(self, project: str, *, must_ask: bool = False) -> bool:
        """Return whether the disk has what the bucket had less than a second ago; False if that is not known now.

        With `must_ask` the bucket is asked although another comparison may show soon that it is away.
        """
        asked = self._clock()
        while True:
            with self._guard:
                if self._compared.get(project, -_FRESH) > asked - _FRESH:
                    return True
                now = self._clock()
                is_asked = any(began > now - self._limit for began, _job in self._running.values())
                if self._is_away and is_asked and not must_ask:
                    return False
                if project not in self._running:
                    self._begin(project, now)
                began, job = self._running[project]
            if not _result(job, self._limit - (now - min(asked, began)), begins_within=_QUEUE_LIMIT - (now - began)):
                return False

    def sweep(self, *, age: float = _FRESH) -> bool:
        """Remove the marks of at least this age, in seconds; return whether some are left.

        The project of a mark that was used is compared again before. (Without access times, noatime, none was used.)
        """
        now, is_left = time.time(), False
        try:
            with os.scandir(self._volume.current) as entries:
                for entry in entries:
                    try:
                        status = entry.stat(follow_symlinks=False)
                        if not 0 <= now - status.st_mtime < age:
                            Path(entry.path).unlink()
                            continue
                        is_left = True
                        if now - status.st_mtime >= _RENEWED and status.st_atime_ns > status.st_mtime_ns:
                            self._renew(entry.name)
                    except FileNotFoundError:
                        continue
        except FileNotFoundError:
            return False
        return is_left

    def run(self) -> None:
        """Renew and remove marks for ever; among them may be those that a killed process has left."""
        while True:
            self._marked.clear()
            try:
                is_left = self.sweep()
            except OSError as exc:
                log.error("Marks in %s can't be removed: %s", self._volume.current, exc)
                is_left = False
            with self._guard:
                old = self._clock() - _FRESH
                for project in [name for name, began in self._compared.items() if began <= old]:
                    del self._compared[project]
            if is_left or self._marked.wait(_IDLE):
                time.sleep(_SWEEP_EVERY)

    def _renew(self, project: str) -> None:
        """Begin a comparison that no request waits for, if enough threads are left for those."""
        with self._guard:
            if project not in self._running and len(self._running) < _RENEWED_AT_ONCE and not self._is_away:
                self._begin(project, self._clock())

    def _begin(self, project: str, now: float) -> None:
        """Begin a comparison. The caller holds the guard."""
        self._running[project] = now, self._threads().submit(self._run, project)

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:  # made at the first use, so after a fork
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="compare")
        return self._pool

    def _run(self, project: str) -> bool:
        began, moment = self._clock(), time.time()
        is_known = False
        try:
            self._pull(project)
            self._mark(project, moment)
            is_known = True
        except (OSError, PpmError) as exc:
            if isinstance(exc, Unavailable) and not isinstance(exc, Missing):
                self._fails(exc.phrase)
            else:  # a full disk, a damaged file, or one that the bucket lost
                log.error("%s can't be brought up to date: %s", project, exc)
        finally:
            with self._guard:
                del self._running[project]
                if is_known:
                    self._compared[project] = began
                    if self._is_away:
                        log.warning("The bucket answers again.")
                    self._is_away = False
        return is_known

    def _fails(self, reason: str) -> None:
        with self._guard:
            if not self._is_away:
                log.error("The bucket can't be asked; what is on the disk is served: %s.", reason)
            self._is_away = True

    def _mark(self, project: str, moment: float) -> None:
        """Set the mark of a project that has a page. Without a page only the application can tell what is right."""
        pages = self._volume.simple if project == ROOT else self._volume.pages(project)
        if time.time() - moment >= _FRESH or not (pages / JSON_PAGE).exists():
            return
        path = self._volume.current_mark(project)
        try:
            _link(path, moment)
        except OSError as exc:  # on a full disk, for example: the application answers
            log.warning("%s can't be written: %s", path, exc)
        self._marked.set()


def _result(job: Future[bool], limit: float, *, begins_within: float) -> bool:
    """Return a job's result; False if it is not done within `limit` seconds, or does not begin in time."""
    first = max(min(limit, begins_within), 0)
    with contextlib.suppress(NotDone):
        return job.result(first)
    if not (job.running() or job.done()):
        return False
    with contextlib.suppress(NotDone):
        return job.result(max(limit - first, 0))
    return False


def _link(path: Path, moment: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.symlink_to("../..")
    with contextlib.suppress(FileNotFoundError):  # `sweep` has just removed it
        os.utime(path, (moment, moment), follow_symlinks=False)
