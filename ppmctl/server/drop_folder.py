"""`drop/`: files that somebody copied in (scp, rsync) are taken into the index when they are whole and valid."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from ppmctl import files
from ppmctl.access import audit_log
from ppmctl.distributions import distribution, environment_wheel
from ppmctl.distributions.environment_revision import environment_of
from ppmctl.errors import PpmError, Refused
from ppmctl.index.layout import REJECTED
from ppmctl.index.store import Store

log = logging.getLogger(__name__)

BY = "drop"
_EVERY = 1.0  # seconds between two looks
_UNCHANGED_LOOKS = 2  # so many looks without a change, and a file is taken to be whole


class Watcher:
    """Looks into `drop/` and takes what has stopped changing; what it can't take stays, its reason beside it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder = store.volume.drop
        self._seen: dict[str, tuple[object, int]] = {}

    def run(self) -> None:
        """Look for ever, but only while no other process of this index does."""
        pause = threading.Event()
        held: int | None = None
        while True:
            try:
                held = held if held is not None else files.try_lock(self._store.volume.drop_lock)
                if held is not None:
                    self.look()
            except OSError as exc:
                log.error("%s can't be looked through: %s", self._folder, exc)
            pause.wait(_EVERY)

    def look(self) -> list[str]:
        """Look once; the names that were taken."""
        found: dict[str, object] = {}
        with os.scandir(self._folder) as entries:
            names = {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
        for name in sorted(names):
            if name.startswith(".") or name.endswith(REJECTED):
                continue
            if (state := files.identity(self._folder / name)) is not None:
                found[name] = state
        taken = [name for name, state in found.items() if self._is_ready(name, state) and self._take(name, state)]
        self._seen = {name: seen for name, seen in self._seen.items() if name in found and name not in taken}
        reasons = {files.with_ending(name, REJECTED) for name in names if not name.endswith(REJECTED)}
        for name in names:
            if name.endswith(REJECTED) and name not in reasons:
                (self._folder / name).unlink(missing_ok=True)
        return taken

    def _is_ready(self, name: str, state: object) -> bool:
        before, looks = self._seen.get(name, (None, 0))
        looks = looks + 1 if before == state else 0
        self._seen[name] = (state, looks)
        return looks == _UNCHANGED_LOOKS  # once: a file that was rejected is tried again when it changes

    def _take(self, name: str, state: object) -> bool:
        path = self._folder / name
        beside = path.with_name(files.with_ending(path.name, REJECTED))
        reason = ""
        try:
            self._publish(path, state)
        except PpmError as exc:
            reason = exc.message
        except OSError as exc:
            reason = f"{exc.strerror or exc}; it will be tried again when it changes or the server is started"
        except Exception as exc:
            log.exception("%s can't be taken", path)  # one file must not keep the others from being taken
            reason = f"This is a bug in ppm ({type(exc).__name__}); the server's log says more"
        audit_log.write(
            self._store.volume, action="publish", by=BY, origin="drop/", what=name, result=reason or "done"
        )
        if reason:
            files.write_atomic(beside, f"{reason}\n".encode(errors="backslashreplace"))
            return False
        beside.unlink(missing_ok=True)
        if files.identity(path) == state:  # else it was replaced meanwhile, and is another file to be taken
            path.unlink(missing_ok=True)
        return True

    def _publish(self, path: Path, state: object) -> None:
        with self._store.area.take(path) as received:
            dist = distribution.inspect(received.path, path.name)
            if files.identity(path) != state:
                raise PpmError(f"{path.name} changed while it was read")
            try:
                if environment_of(dist.name.project) is not None:
                    environment_wheel.check(dist.name, received.path)
                self._store.put(received, dist, by=BY)
            except Refused:
                if not self._store.holds(dist.name, received.sha256):
                    raise
