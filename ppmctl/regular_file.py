"""Open and read files that users name or strangers made: what has a content and an end, so no FIFO and no device.

/dev/null is an empty file. What was opened for this process is read too, such as stdin or a shell's <(command).
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import sys
from pathlib import Path
from typing import IO

LARGEST = 64 << 20  # bytes of a file that a user names

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
        raise _too_large(path, most)
    return content


def read_text(path: Path, *, most: int = LARGEST) -> str:
    """Return the text of a file that a user names; OSError as from `read`, UnicodeError if it is not UTF-8."""
    if _OPENED.fullmatch(str(path)):
        return read(path, most=most).decode()
    require(path, most=most)
    return path.read_text(encoding="utf-8")


def require(path: Path, *, most: int = sys.maxsize) -> None:
    """Raise OSError, as `read` does, for a file that is to be read in another way."""
    with _open_for_reading(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise _too_large(path, most)


def is_present(path: Path) -> bool:
    """Return whether there is a regular file; not in a folder of another user, where Path.is_file raises OSError."""
    try:
        return path.is_file()
    except OSError:
        return False


def _too_large(path: Path, most: int) -> OSError:
    size = f"{most >> 20} MB" if most >= 1 << 20 else f"{most} bytes"
    return OSError(errno.EFBIG, f"it has over {size}", str(path))


def _open_for_reading(path: Path) -> IO[bytes]:
    is_opened = _OPENED.fullmatch(str(path)) is not None
    # a FIFO that nobody writes into would keep open(2) waiting
    flags = os.O_CLOEXEC | os.O_NOCTTY | (0 if is_opened else os.O_NONBLOCK)
    file = io.BufferedReader(io.FileIO(path, opener=lambda name, mode: os.open(name, mode | flags)))
    status = os.fstat(file.fileno())
    if not (is_opened or stat.S_ISREG(status.st_mode) or os.path.samestat(status, os.stat(os.devnull))):
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
