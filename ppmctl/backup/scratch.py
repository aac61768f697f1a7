"""Private temporary folders for drills, which the next drill removes if one was killed; and a check of free space."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ppmctl import files, output
from ppmctl.errors import PpmError
from ppmctl.index.free_space import LEAST_SPACE
from ppmctl.index.layout import Volume
from ppmctl.server import running

VOLUME = "volume"  # the restored volume in a scratch folder
_PREFIX = "ppm-drill-"
_LOCK = ".lock"
_PAGES = 1.1  # a volume with its pages takes so many times its files
_LEAST = 50 << 20  # bytes
_LEFT = 1 << 30  # bytes that a drill leaves to the index, or a tenth of a small disk; always more than uploads need
_END_SECONDS = 30.0


@contextlib.contextmanager
def folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder below `parent`, 0700, and remove it at the end. Remove those of killed drills first."""
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_leftovers(parent)
        made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    except OSError as exc:
        raise PpmError(f"{parent} can't be used for a drill: {exc.strerror}.", hint="--scratch DIR") from exc
    descriptor = files.try_lock(made / _LOCK)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def remove_leftovers(parent: Path) -> int:
    """End the servers of killed drills below `parent`, and remove their folders; return their number."""
    removed = 0
    for left in parent.glob(f"{_PREFIX}*"):
        descriptor = files.try_lock(left / _LOCK)
        if descriptor is None:
            continue  # that drill is running
        for server in running.servers(Volume(root=left / VOLUME)):
            if server.machine == socket.gethostname():
                _end(server.pid)
        shutil.rmtree(left, ignore_errors=True)
        os.close(descriptor)
        removed += 1
    return removed


def _end(process: int) -> None:
    """End a server, and wait until it writes nothing any more, or _END_SECONDS."""
    until = time.monotonic() + _END_SECONDS
    with contextlib.suppress(OSError):
        os.kill(process, signal.SIGQUIT)
        while time.monotonic() < until:
            os.kill(process, 0)
            time.sleep(0.05)


def require_space(parent: Path, size: int, *, is_shared: bool = False) -> None:
    """Raise PpmError if the file system of `parent` has no room for a volume whose files have `size` bytes.

    `is_shared` is for a drill beside an index in use, which needs some space for itself.
    """
    space = os.statvfs(parent)
    free, whole = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
    left = max(2 * LEAST_SPACE, min(_LEFT, whole // 10)) if is_shared else 0
    needed = int(size * _PAGES) + _LEAST + left
    if free < needed:
        rest = f", with {output.size(left)} for the index" if left else ""
        raise PpmError(
            f"{output.size(needed)} are needed in {parent}{rest}, and {output.size(free)} are free."
            " Nothing was changed.",
            hint="Free some space. A drill can use another disk: --scratch DIR, or the variable PPM_BACKUP_SCRATCH",
        )
