"""Files that are being received: each process writes them to its own folder in `incoming/`, and holds its lock."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import secrets
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, Any

from ppmctl import files, regular_file
from ppmctl.index.layout import Volume

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_LOCK = ".lock"
_SMALL = 1 << 20  # bytes; a larger file is read again from the page cache, when it is inspected and downloaded
# what clients send, by the names of the upload form's fields
DIGESTS: dict[str, Callable[[], Any]] = {
    "md5": partial(hashlib.md5, usedforsecurity=False),
    "sha256": hashlib.sha256,
    "blake2_256": partial(hashlib.blake2b, digest_size=32),
}


class IncomingFile:
    """A file that is being received: after `write` and `finish` it has its `size` and digests.

    To read it, open its `path`. `discard` (or the end of a `with` block) removes it; hard links to it stay.
    """

    def __init__(self, path: Path, *, existing: bool = False) -> None:
        self.path = path
        self.size = 0
        self._hashes = {name: new_hash() for name, new_hash in DIGESTS.items()}
        flags = os.O_RDONLY if existing else os.O_RDWR | os.O_CREAT | os.O_EXCL
        mode = "rb" if existing else "w+b"
        self._file: IO[Any] = os.fdopen(os.open(path, flags | os.O_CLOEXEC, 0o644), mode, buffering=1 << 18)

    def write(self, chunk: ReadableBuffer) -> int:
        self._count(chunk)
        return self._file.write(chunk)

    def digest_content(self) -> None:
        """Compute the digests of a file that was not written by this object."""
        while chunk := self._file.read(1 << 20):
            self._count(chunk)

    def _count(self, chunk: ReadableBuffer) -> None:
        for digest in self._hashes.values():
            digest.update(chunk)
        self.size += memoryview(chunk).nbytes

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def finish(self) -> None:
        """Pass the whole file to the kernel. OSError if the disk is full."""
        if self._file.writable():
            self._file.flush()
            os.fchmod(self._file.fileno(), 0o644)  # nginx reads it too, so regardless of the umask
        if self.size <= _SMALL:
            files.start_writing(self._file.fileno())

    def sync(self) -> None:
        """Make the finished file durable. OSError if the disk is full or broken."""
        os.fsync(self._file.fileno())

    def digest(self, name: str) -> str:
        """Return the hexadecimal digest of the content; `name` is one of DIGESTS."""
        return str(self._hashes[name].hexdigest())

    @property
    def sha256(self) -> str:
        return self.digest("sha256")

    def discard(self) -> None:
        with contextlib.suppress(OSError):  # on a full disk the rest of the buffer can't be written
            self._file.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> IncomingFile:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.discard()


class IncomingArea:
    """This process's folder in `incoming/`, created at the first use, so after a fork."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._guard = Lock()
        self._folder: Path | None = None
        self._owner = -1
        self._lock = -1
        self._numbers = itertools.count()  # for names: no other process uses the folder

    def new_file(self) -> IncomingFile:
        """Return a new empty file that no other process uses."""
        return IncomingFile(self.new_path())

    def take(self, source: Path, *, below: Path | None = None, hard_link: bool = False) -> IncomingFile:
        """Return a whole copy of `source` (with shared blocks if possible), or a hard link to it.

        Raise NotRegularFile for a link, also for one among the folders after `below`, by default its own folder.
        """
        path = self.new_path()
        with regular_file.open_below(below or source.parent, source) as original:
            if hard_link:
                try:
                    files.link_from(original, path)
                except OSError as exc:
                    raise OSError(exc.errno, exc.strerror, str(source)) from exc
            else:
                files.copy_from(original, path)
        file = IncomingFile(path, existing=True)
        try:
            file.digest_content()
            file.finish()
        except BaseException:
            file.discard()
            raise
        return file

    def new_path(self) -> Path:
        """Return an unused path in this process's folder."""
        with self._guard:
            if self._folder is None or self._owner != os.getpid():
                self._folder = self._make_folder()
                self._owner = os.getpid()
            return self._folder / f"{next(self._numbers):016x}"

    def _make_folder(self) -> Path:
        folder = self._volume.incoming / f"{os.getpid()}-{secrets.token_hex(4)}"
        with files.lock(self._volume.incoming_lock):  # so that no sweep removes the folder before it is locked
            folder.mkdir()
            descriptor = files.try_lock(folder / _LOCK)
        if descriptor is None:  # no other process knows the name
            raise BlockingIOError(f"{folder} is locked by another process")
        self._lock = descriptor
        return folder

    def close(self) -> None:
        """Remove the folder with its content, and release its lock."""
        with self._guard:
            if self._folder is not None and self._owner == os.getpid():
                shutil.rmtree(self._folder, ignore_errors=True)
                os.close(self._lock)
            self._folder = None


def sweep(volume: Volume) -> int:
    """Remove the folders of dead processes in `incoming/`; return their number."""
    swept = 0
    with files.lock(volume.incoming_lock):
        with os.scandir(volume.incoming) as entries:
            folders = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        for folder in folders:
            try:
                descriptor = files.try_lock(folder / _LOCK)
            except FileNotFoundError:  # its process has just removed it
                continue
            if descriptor is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(descriptor)
                swept += 1
    return swept
