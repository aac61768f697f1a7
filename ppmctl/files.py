"""Atomic writes of files, and locks between processes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ppmctl.errors import UsageError

_FICLONE = 0x40049409  # ioctl_ficlone(2): share the blocks, copy on write
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
_TEMPORARY = ".tmp"
_TICK = 2_000_000_000  # nanoseconds, of the slowest clock
MAX_NAME = 255  # bytes of a file name, in every file system that a volume may be on


def is_out_of_space(exc: OSError) -> bool:
    """Return whether `exc` means that the file system or the user's quota is full."""
    return exc.errno in _NO_SPACE


def disk_error(exc: BaseException) -> str:
    """Return what a full or read-only disk made impossible, as a sentence; "" if `exc` has another cause."""
    path = getattr(exc, "filename", None)
    of = f" of {os.fsdecode(path)}" if isinstance(path, str | bytes) else ""
    code = getattr(exc, "errno", None)
    sqlite = getattr(exc, "sqlite_errorname", "")  # of SQLite's own exceptions; it has files on the volume too
    if code == errno.EDQUOT:
        return f"The user's quota is used up on the disk{of}."
    if code in _NO_SPACE or sqlite == "SQLITE_FULL":
        return f"There is no space left on the disk{of}."
    if code == errno.EROFS:
        return f"The file system{of} is mounted read-only."
    if sqlite.startswith("SQLITE_READONLY"):
        return "A database of the volume, or its file system, is read-only."
    return disk_error(exc.__cause__) if exc.__cause__ else ""


def is_out_of_descriptors(exc: OSError) -> bool:
    """Return whether `exc` means that this process, or the machine, has too many open files."""
    return exc.errno in _NO_DESCRIPTORS


def identity(path: Path | str) -> tuple[int, int, int] | None:
    """Return a value that differs after each change of the file at `path`; None if it does not exist."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def is_settled(changed: int) -> bool:
    """Return whether a change now would get another mtime than `changed` (nanoseconds): the clock has ticked."""
    return time.time_ns() - changed > _TICK


def holds(path: Path, content: bytes | None) -> bool:
    """Return whether the file at `path` has this content; None means that the file does not exist."""
    try:
        size = path.stat().st_size
        # most files that differ have another size, so they are not read
        return content is not None and size == len(content) and path.read_bytes() == content
    except (FileNotFoundError, NotADirectoryError):
        return content is None


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def changed_at(path: Path | str) -> int:
    """Return the mtime of `path` in whole seconds since the epoch; -1 if it does not exist."""
    try:
        return int(os.stat(path).st_mtime)
    except FileNotFoundError:
        return -1


def access_hint(path: Path) -> str:
    """Return who owns `path` and how to get access, for a user who can't read it; "" if that is not the cause."""
    try:
        status = path.stat()
        if os.access(path, os.R_OK | (os.X_OK if stat.S_ISDIR(status.st_mode) else 0), effective_ids=True):
            return ""
    except OSError:
        return ""
    return (
        f"It belongs to uid {status.st_uid} (mode {status.st_mode & 0o7777:04o}); you are uid {os.geteuid()}."
        f" Run this as that user (in a container: --user {status.st_uid}:{status.st_gid}), or give your user access."
    )


def temporary_name(path: Path) -> Path:
    """Return an unused path beside `path`; its name starts with a dot, so that no index lists it."""
    return path.with_name(with_ending(f".{path.name}", f".{secrets.token_hex(6)}{_TEMPORARY}"))


def with_ending(name: str, ending: str) -> str:
    """Return `name` + `ending`; if that is too long for a file name, `name` is cut."""
    while len(os.fsencode(name + ending)) > MAX_NAME:
        name = name[:-1]
    return name + ending


def drop_temporaries(folder: Path) -> None:
    """Remove the temporary files of writers that died. The caller ensures that no process writes in `folder`."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        paths = [entry.path for entry in entries if entry.name.startswith(".") and entry.name.endswith(_TEMPORARY)]
        for path in paths:
            Path(path).unlink(missing_ok=True)


@contextlib.contextmanager
def replacement(
    path: Path, content: bytes, *, mode: int = 0o644, sync: bool = False, mtime: int | None = None
) -> Iterator[Path]:
    """Yield a new file with `content` beside `path`, to be renamed to `path`; otherwise it is removed at the end.

    It is created with `mode`. With `sync` its content is durable. `mtime` is in whole seconds since the epoch.
    """
    temporary = temporary_name(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            os.fchmod(descriptor, mode)
            write_all(descriptor, content)
            if mtime is not None:
                os.utime(descriptor, (mtime, mtime))
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_all(descriptor: int, content: bytes) -> None:
    """Write `content`. OSError if the disk is full; some of it may then be written."""
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def write_atomic(path: Path, content: bytes, *, mode: int = 0o644, sync: bool = False) -> None:
    """Replace `path` by `content` in one step: a reader sees the whole old file or the whole new one.

    With `sync` it is durable when this returns. OSError if it can't be written; `path` is then unchanged.
    """
    with replacement(path, content, mode=mode, sync=sync) as temporary:
        os.replace(temporary, path)
    if sync:
        sync_folder(path.parent)


def create(path: Path, content: bytes, *, mode: int = 0o600) -> bool:
    """Create `path` in one step with `content` and `mode`; return False if it exists, also in a race."""
    with replacement(path, content, mode=mode, sync=True) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


def open_private(path: Path) -> tuple[int, bool]:
    """Open `path` for later writing; return its descriptor, and whether this call created it (mode 0600).

    A file that exists must be as mktemp makes one: empty, and private to this user. UsageError otherwise.
    """
    if str(path) in ("-", "."):  # "" is "." as a path
        hint = "Without a file the output is printed."
        raise UsageError("This names no file to write to. Nothing was done.", hint=hint)
    flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
            os.fchmod(descriptor, 0o600)
            return descriptor, True
        descriptor = os.open(path, flags | os.O_NONBLOCK)
    except OSError as exc:
        raise UsageError(f"{path} can't be written: {exc.strerror}. Nothing was done.") from exc
    status = os.fstat(descriptor)
    is_private = not status.st_mode & 0o077 and status.st_uid == os.geteuid()
    if stat.S_ISREG(status.st_mode) and not status.st_size and is_private:
        return descriptor, False
    os.close(descriptor)
    raise UsageError(f"{path} already exists; it is not replaced. Nothing was done.")


def start_writing(descriptor: int) -> None:
    """Let the kernel start to write a small file to the disk, so that the fsync that makes it durable waits less.

    Files started before the first fsync go into one commit of the file system's journal. What is already on the disk
    leaves the page cache, so do this only with small files.
    """
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def sync_folder(folder: Path) -> None:
    """Make the file names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(folder: Path) -> None:
    """Make everything durable that was written to the file system of `folder`, also by other programs."""
    subprocess.run(["sync", "--file-system", folder], check=True)


def append(path: Path | str, line: bytes, *, mode: int = 0o640) -> None:
    """Add `line` to the end of `path`, whole or not at all (OSError); lines of several processes never mix.

    `path` may be renamed at any time: the line goes into the file that then has the name. A new file gets `mode`.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not _is_at(descriptor, path):
            return append(path, line, mode=mode)
        written = os.write(descriptor, line)
        if written < len(line):  # the disk is full: half a line would damage the next one too
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def without_appends(path: Path) -> Iterator[int | None]:
    """Hold back every `append` to `path`, so that it can be renamed; its line then goes into a new file.

    Yield a descriptor to read the file, or None if there is no file, or if it was just renamed by another process.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor if _is_at(descriptor, path) else None
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path | str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def copy(source: Path, target: Path, *, mode: int = 0o644) -> None:
    """Copy `source` to a new file `target`; its blocks are shared if the file system supports it (reflink)."""
    with source.open("rb") as original:
        copy_from(original, target, mode=mode)


def copy_from(original: IO[bytes], target: Path, *, mode: int = 0o644) -> None:
    """Do the same with an open file."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as duplicate:
        try:
            fcntl.ioctl(duplicate.fileno(), _FICLONE, original.fileno())
        except OSError:
            shutil.copyfileobj(original, duplicate, 1 << 20)
        os.fchmod(duplicate.fileno(), mode)


def link_from(original: IO[bytes], target: Path) -> None:
    """Create a hard link `target` to an open file, whatever its name leads to by now."""
    # Python follows the link in /proc only where a descriptor is given, which is not used for an absolute path
    os.link(f"/proc/self/fd/{original.fileno()}", target, src_dir_fd=original.fileno(), follow_symlinks=True)


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Wait for the lock `path` and hold it against threads and processes; flock(2) frees it if the holder dies."""
    descriptor = _open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def try_lock(path: Path) -> int | None:
    """Take the lock `path` if it is free; return a descriptor whose closing releases it, or None."""
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


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock `path`; False if it does not exist."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
