"""Files of the volume, the small ones in memory, so that a request for one costs a look at its inode."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from email.utils import formatdate
from typing import BinaryIO

from ppmctl import files

LARGEST = 64 << 10  # bytes of a small file
_MOST = 4 << 20  # bytes of all contents


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A file: its size, its ETag in nginx's form, and its time as HTTP has it; `content` is None for a large one.

    `identity` differs after each change.
    """

    identity: tuple[int, int, int, int]
    size: int
    etag: str
    modified: str
    content: bytes | None


class SmallFiles:
    """The files that were asked for last, for one thread."""

    def __init__(self) -> None:
        self._known: dict[str, Stored] = {}
        self._size = 0

    def read(self, path: str) -> Stored:
        """Return the file at `path`. Raise OSError, also if it is not a regular file, or is being changed."""
        status = os.stat(path)
        known = self._known.get(path)
        if known is not None and known.identity == _identity(status):
            return known
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        if status.st_size > LARGEST:
            return _stored(status, None)
        with open(path, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            content = file.read(LARGEST + 1)
        if len(content) != status.st_size:
            raise OSError(errno.EAGAIN, "changed while it was read", path)
        stored = _stored(status, content)
        if files.is_settled(status.st_ctime_ns):  # a change in the same tick would have the same identity
            self._remember(path, stored, len(content))
        return stored

    def _remember(self, path: str, stored: Stored, size: int) -> None:
        self._forget(path)
        self._known[path] = stored
        self._size += size
        while self._size > _MOST:
            self._forget(next(iter(self._known)))

    def _forget(self, path: str) -> None:
        if (known := self._known.pop(path, None)) is not None:
            self._size -= known.size


def opened(path: str, stored: Stored) -> BinaryIO:
    """Open a file. Raise OSError if it has been replaced."""
    file = open(path, "rb")  # noqa: SIM115 - the caller sends it, and closes it
    if _identity(os.fstat(file.fileno())) != stored.identity:
        file.close()
        raise OSError(errno.EAGAIN, "replaced", path)
    return file


def _stored(status: os.stat_result, content: bytes | None) -> Stored:
    seconds = int(status.st_mtime)
    return Stored(
        identity=_identity(status),
        size=status.st_size,
        etag=f'"{seconds:x}-{status.st_size:x}"',
        modified=formatdate(seconds, usegmt=True),
        content=content,
    )


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    # a rename changes the ctime, which nobody can set
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
