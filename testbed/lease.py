"""Record who uses the testbed: a lease lasts as long as its process, or as the folder that is its keeper.

Containers, networks, volumes and images carry the name of a lease; those of ended leases are removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from testbed.place import cache


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Hold a lock for one process at a time: to take or end a lease, and for what follows from that."""
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _folder() -> Path:
    folder = cache() / "leases"
    folder.mkdir(exist_ok=True)
    return folder


@dataclass(kw_only=True)
class Lease:
    """A use of the testbed under a name; it ends with the folder `keeper`, or without one with this process."""

    name: str
    keeper: Path | None = None
    _descriptor: int = field(default=-1, repr=False)

    def take(self, engine: str) -> None:
        """Begin the lease, on the engine at the URL `engine`. One with a keeper may have begun already."""
        path = _folder() / self.name
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if self.keeper is None:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(self._descriptor, 0)
        keeper = str(self.keeper.resolve()) if self.keeper else None
        os.write(self._descriptor, json.dumps({"engine": engine, "keeper": keeper}).encode())

    def end(self) -> None:
        """End the lease. What carries its name is not removed yet."""
        (_folder() / self.name).unlink(missing_ok=True)
        self.let_go()

    def let_go(self) -> None:
        """End this process's use. A lease with a keeper continues."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def live() -> dict[str, str]:
    """Return the names of the leases that are live, with their engines' URLs; remove the files of the others."""
    engines = {}
    for path in _folder().iterdir():
        with path.open("r+") as file:
            content = json.loads(file.read() or "{}")
            keeper = content.get("keeper")
            holds = Path(keeper).is_dir() if keeper else _is_locked(file)
        if holds:
            engines[path.name] = str(content.get("engine", ""))
        else:
            path.unlink(missing_ok=True)
    return engines


def _is_locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
