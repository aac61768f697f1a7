"""Who uses the testbed: a lease is there as long as its process lives, or the folder that keeps it.

A container, a network and an engine carry the name of a lease; what belongs to none that is live is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

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

    def take(self) -> None:
        """Begin it. With a keeper it may have begun before."""
        path = _folder() / self.name
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if self.keeper:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(self.keeper.resolve()).encode())
            os.close(descriptor)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._descriptor = descriptor

    def end(self) -> None:
        """End it; nothing is removed by this."""
        (_folder() / self.name).unlink(missing_ok=True)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def live() -> set[str]:
    """The names of the leases that hold; files of the others are removed."""
    return {path.name for path in _folder().iterdir() if _holds(path)}


def _holds(path: Path) -> bool:
    with path.open("r+") as file:
        keeper = file.read()
        if keeper:
            held = Path(keeper).is_dir()
        else:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = False
            except BlockingIOError:
                held = True
    if not held:
        path.unlink(missing_ok=True)
    return held
