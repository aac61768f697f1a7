"""Writing files so that nobody ever sees half of one, and locking across processes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from ppmctl.errors import UsageError

_FICLONE = 0x40049409  # ioctl_ficlone(2): share the blocks, copy on write
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_TEMPORARY = ".tmp"
_TICK = 2_000_000_000  # nanoseconds, of the slowest clock
_MAX_NAME = 255  # bytes of a file's name, in every file system that a volume may be on


def is_out_of_space(exc: OSError) -> bool:
    """Whether `exc` says that the file system, or the user's quota of it, is full."""
    return exc.errno in _NO_SPACE


def identity(path: Path | str) -> tuple[int, int, int] | None:
    """What is another after each change of the file at `path`; None where there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def is_settled(changed: int) -> bool:
    """Whether what changed at that time, in nanoseconds since the epoch, would have another time if it changed now.

    Two changes within one tick of a file system's clock have the same.
    """
    return time.time_ns() - changed > _TICK


def holds(path: Path, content: bytes | None) -> bool:
    """Whether the file at `path` has this content; None means that there is no file."""
    try:
        size = path.stat().st_size
        # most files that differ have another size, and are not read
        return content is not None and size == len(content) and path.read_bytes() == content
    except (FileNotFoundError, NotADirectoryError):
        return content is None


def changed_at(path: Path) -> int:
    """When the file at `path` was changed, in whole seconds since the epoch; -1 where there is none."""
    try:
        return int(path.stat().st_mtime)
    except FileNotFoundError:
        return -1


def whose(path: Path) -> str:
    """Who may read `path` and who asks, for whoever was refused it; "" where that is not why."""
    try:
        status = path.stat()
        if os.access(path, os.R_OK | (os.X_OK if stat.S_ISDIR(status.st_mode) else 0), effective_ids=True):
            return ""
    except OSError:
        return ""
    return (
        f"It is uid {status.st_uid}'s (mode {status.st_mode & 0o7777:04o}), and this is uid {os.geteuid()}:"
        f" run this as that user (a container: --user {status.st_uid}:{status.st_gid}), or let this one read it."
    )


def temporary_name(path: Path) -> Path:
    """A name beside `path` that no one else uses; it starts with a dot, so no index lists it."""
    return path.with_name(with_ending(f".{path.name}", f".{secrets.token_hex(6)}{_TEMPORARY}"))


def with_ending(name: str, ending: str) -> str:
    """`name` and `ending`; where both are too long for a file's name, with as much of `name` as has room."""
    while len(os.fsencode(name + ending)) > _MAX_NAME:
        name = name[:-1]
    return name + ending


def drop_temporaries(folder: Path) -> None:
    """Remove what writers that died left in `folder`. The caller sees to it that none is at work there."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        left = [entry.path for entry in entries if entry.name.startswith(".") and entry.name.endswith(_TEMPORARY)]
        for path in left:
            Path(path).unlink(missing_ok=True)


@contextlib.contextmanager
def replacement(
    path: Path, content: bytes, *, mode: int = 0o644, sync: bool = False, mtime: int | None = None
) -> Iterator[Path]:
    """A file beside `path` with `content`, to be renamed to it; it goes at the end if that did not happen.

    It is born with `mode`. With `sync` its content is durable. `mtime` is in whole seconds since the epoch.
    """
    temporary = temporary_name(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            if mtime is not None:
                os.utime(file.fileno(), (mtime, mtime))
            if sync:
                os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes, *, mode: int = 0o644, sync: bool = False) -> None:
    """Replace `path` by `content` in one step: a reader sees the old file or the new one, whole.

    With `sync` it is durable when this returns. OSError if it can't be written; then `path` is as it was.
    """
    with replacement(path, content, mode=mode, sync=sync) as temporary:
        os.replace(temporary, path)
    if sync:
        sync_folder(path.parent)


def create(path: Path, content: bytes, *, mode: int = 0o600) -> bool:
    """Create `path` with `content` unless it is there; whether this call made it.

    It appears whole and with `mode`, or not at all, also when several processes try at once.
    """
    with replacement(path, content, mode=mode, sync=True) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


def born(path: Path) -> tuple[int, bool]:
    """A descriptor of `path`, and whether this made it, 0600; else it is as mktemp makes one, empty and one's own.

    For what is to be written once something else was done. UsageError where it can't be had; nothing is replaced.
    """
    if str(path) in ("-", "."):  # an empty name is the latter
        raise UsageError("That names no file to write to. Nothing was done.", hint="What goes to no file is printed.")
    flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
            os.fchmod(descriptor, 0o600)
            return descriptor, True
        descriptor = os.open(path, flags | os.O_NONBLOCK)
    except OSError as exc:
        raise UsageError(f"{path} can't be written: {exc.strerror}. Nothing was done.") from exc
    found = os.fstat(descriptor)
    private = not found.st_mode & 0o077 and found.st_uid == os.geteuid()
    if stat.S_ISREG(found.st_mode) and not found.st_size and private:
        return descriptor, False
    os.close(descriptor)
    raise UsageError(f"{path} is there already; it is not replaced. Nothing was done.")


def start_writing(descriptor: int) -> None:
    """Let the kernel begin to write a small file to the disk, so that the fsync that makes it durable waits less.

    Of several files begun before the first fsync all go in one commit of the file system's journal. No promise
    is made here: only fsync makes one. What is on the disk already leaves the page cache, hence small files.
    """
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append(path: Path, line: bytes, *, mode: int = 0o640) -> None:
    """Add `line` to the end of `path`, whole or not at all; lines of several processes never mix.

    `path` may be renamed at any time: the line goes into the file that has the name then. OSError where it can't be
    written. The file is born with `mode`.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not _is_at(descriptor, path):
            return append(path, line, mode=mode)
        written = os.write(descriptor, line)
        if written < len(line):  # the disk is full: half a line would spoil the next one too
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def copy(source: Path, target: Path, *, mode: int = 0o644) -> None:
    """Copy `source` to a new file `target`; the blocks are shared where the file system can (reflink)."""
    with source.open("rb") as original:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as duplicate:
            try:
                fcntl.ioctl(duplicate.fileno(), _FICLONE, original.fileno())
            except OSError:
                shutil.copyfileobj(original, duplicate, 1 << 20)
            os.fchmod(duplicate.fileno(), mode)


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the lock `path` against every other holder, threads and processes alike; waits for it.

    The file stays. A holder that dies gives the lock up (flock(2)).
    """
    descriptor = _open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def try_lock(path: Path) -> int | None:
    """Take the lock `path` if nobody holds it: a descriptor to keep open (close it to let go), or None."""
    descriptor = _open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
