"""Open and read files that users name or strangers made: a file with a content, never a FIFO, a device or a link."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import IO

LARGEST = 64 << 20  # bytes of a file that a user names

# what was opened for this process: stdin, or <(command) of a shell
_OPENED = re.compile(r"/dev/(?:stdin|fd/[0-9]+)|/proc/self/fd/[0-9]+", re.ASCII)


class NotRegularFile(OSError):
    """A path leads to a FIFO, a device, a link or the like, and not to a file with a content."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.EINVAL, "it is not a regular file", str(path))


def read(path: Path, *, most: int = LARGEST) -> bytes:
    """Return the content of a file that a user names.

    Raise OSError, whose strerror is for users, if it can't be read, is no regular file, or has over `most` bytes.
    """
    with _open_for_reading(path) as file:
        content: bytes = file.read(most + 1)
    if len(content) > most:
        size = f"{most >> 20} MB" if most >= 1 << 20 else f"{most} bytes"
        raise OSError(errno.EFBIG, f"it has over {size}", str(path))
    return content


def require(path: Path) -> None:
    """Raise OSError, as `read` does, for a file that only another program is to read."""
    _open_for_reading(path).close()


def _open_for_reading(path: Path) -> IO[bytes]:
    is_opened = _OPENED.fullmatch(str(path)) is not None
    # a FIFO that nobody writes into would keep open(2) waiting
    flags = os.O_CLOEXEC | os.O_NOCTTY | (0 if is_opened else os.O_NONBLOCK)
    file = open(path, "rb", opener=lambda name, mode: os.open(name, mode | flags))  # noqa: SIM115 - the caller's
    if not is_opened and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise NotRegularFile(path)
    return file


def open_below(top: Path, path: Path) -> IO[bytes]:
    """Open a regular file below the folder `top` for reading, and follow no link on the way, not even a new one.

    Raise OSError as `read` does, also for a link.
    """
    folder = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        *folders, name = path.relative_to(top).parts
        for each in folders:
            inner = os.open(each, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = inner
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=folder)
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):  # a link, or a socket
            raise NotRegularFile(path) from exc
        raise
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegularFile(path)
    return os.fdopen(descriptor, "rb")
