"""Publish the files that users copy into `drop/` (scp, rsync), once they are complete and valid."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from ppmctl import files
from ppmctl.access import audit_log
from ppmctl.distributions import inspection
from ppmctl.errors import InvalidDistribution, PpmError
from ppmctl.index import project_folder
from ppmctl.index.import_folder import old_format
from ppmctl.index.layout import REJECTED
from ppmctl.index.store import Store
from ppmctl.storage.bucket import Unavailable

log = logging.getLogger(__name__)

BY = project_folder.DROP
_EVERY = 1.0  # seconds between two looks
_UNCHANGED_LOOKS = 2  # after so many looks without a change, a file counts as complete


class Watcher:
    """Publishes the files in `drop/` that have stopped changing. A file that it rejects stays, with the reason in a
    second file next to it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder = store.volume.drop
        self._seen: dict[str, tuple[object, int]] = {}

    def run(self) -> None:
        """Look once a second, forever. Of several processes of this index only one looks."""
        pause = threading.Event()
        lock: int | None = None
        while True:
            try:
                lock = lock if lock is not None else files.try_lock(self._store.volume.drop_lock)
                if lock is not None:
                    self.look()
            except OSError as exc:
                log.error("The drop folder %s can't be read: %s", self._folder, exc)
            pause.wait(_EVERY)

    def look(self) -> list[str]:
        """Look once. Return the names of the files that were published."""
        states: dict[str, object] = {}
        with os.scandir(self._folder) as entries:
            names = {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
        for name in sorted(names):
            if name.startswith(".") or name.endswith(REJECTED):
                continue
            if (state := files.identity(self._folder / name)) is not None:
                states[name] = state
        taken = [name for name, state in states.items() if self._is_ready(name, state) and self._take(name, state)]
        self._seen = {name: seen for name, seen in self._seen.items() if name in states and name not in taken}
        reasons = {files.with_ending(name, REJECTED) for name in names if not name.endswith(REJECTED)}
        for name in names:
            if name.endswith(REJECTED) and name not in reasons:
                (self._folder / name).unlink(missing_ok=True)
        return taken

    def _is_ready(self, name: str, state: object) -> bool:
        before, looks = self._seen.get(name, (None, 0))
        looks = looks + 1 if before == state else 0
        self._seen[name] = (state, looks)
        return looks == _UNCHANGED_LOOKS  # not later too: a rejected file is tried again only when it changes

    def _take(self, name: str, state: object) -> bool:
        path = self._folder / name
        reason_file = path.with_name(files.with_ending(path.name, REJECTED))
        reason, notes = "", []
        try:
            notes = self._publish(path, state)
        except InvalidDistribution as exc:
            reason = old_format(path.name) or exc.message
        except (Unavailable, inspection.Busy) as exc:
            log.warning("%s is published later: %s", path, exc.message)
            self._seen.pop(name, None)  # so it is tried again soon
            return False
        except PpmError as exc:
            reason = exc.message
        except OSError as exc:
            if files.is_out_of_space(exc):
                log.error("%s is published when there is space: %s", path, exc.strerror)
                self._seen.pop(name, None)
                return False
            reason = f"{exc.strerror or exc}; it is tried again when it changes or when the server starts"
        except Exception as exc:
            log.exception("%s can't be published", path)  # the other files are still published
            reason = f"This is a bug in ppm ({type(exc).__name__}); the server's log has the details"
        result = reason or audit_log.done(notes)
        audit_log.write(self._store.volume, action="publish", by=BY, origin="drop/", what=name, result=result)
        if reason:
            files.write_atomic(reason_file, f"{reason}\n".encode(errors="backslashreplace"))
            return False
        reason_file.unlink(missing_ok=True)
        if files.identity(path) == state:  # otherwise it was replaced meanwhile, and the new file comes next
            path.unlink(missing_ok=True)
        return True

    def _publish(self, path: Path, state: object) -> list[str]:
        """Publish a file; return notes about it for the audit."""
        with self._store.area.take(path) as received:
            dist = inspection.inspect(received.path, path.name, old=True)
            if self._store.confirm(dist.name, received.sha256):
                return ["the index had it already"]
            dist.require_readable()
            if files.identity(path) != state:
                raise PpmError(f"{path.name} changed while it was read")
            self._store.put(received, dist, by=BY)
        return list(dist.notes)
