"""Who uses the testbed: a lease is there as long as its process lives, or the folder that keeps it.

A container, a network and an engine carry the name of a lease; what belongs to none that is live is removed.
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
    """One process at a time: around taking a lease, ending one, and what follows from either."""
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _folder() -> Path:
    folder = cache() / "leases"
    folder.mkdir(exist_ok=True)
    return folder


@dataclass(kw_only=True)
class Lease:
    """A use of the testbed by the name `name`; `keeper` is the folder that it lives with, else this process."""

    name: str
    keeper: Path | None = None
    _descriptor: int = field(default=-1, repr=False)

    def take(self, engine: str) -> None:
        """Begin it, on the engine at the URL `engine`. With a keeper it may have begun before."""
        path = _folder() / self.name
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if self.keeper is None:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(self._descriptor, 0)
        kept = str(self.keeper.resolve()) if self.keeper else None
        os.write(self._descriptor, json.dumps({"engine": engine, "keeper": kept}).encode())

    def end(self) -> None:
        """End it; nothing else is removed by this."""
        (_folder() / self.name).unlink(missing_ok=True)
        self.let_go()

    def let_go(self) -> None:
        """This process is done with it; it holds on if it has a keeper."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def live() -> dict[str, str]:
    """The names of the leases that hold, and their engines; files of the others are removed."""
    found = {}
    for path in _folder().iterdir():
        with path.open("r+") as file:
            said = json.loads(file.read() or "{}")
            keeper = said.get("keeper")
            holds = Path(keeper).is_dir() if keeper else _is_locked(file)
        if holds:
            found[path.name] = str(said.get("engine", ""))
        else:
            path.unlink(missing_ok=True)
    return found


def _is_locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
