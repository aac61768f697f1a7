"""Files under way: each process writes them into a folder of its own below `incoming/`, and holds its lock."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, Any

from ppmctl import files
from ppmctl.index.layout import Volume

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_LOCK = ".lock"
_SMALL = 1 << 20  # bytes; a larger file is read again from the page cache, by `dists` and by its first readers
DIGESTS = ("md5", "sha256", "blake2_256")  # what clients send, by the names of the upload form's fields


class IncomingFile:
    """A file being received: write it, `finish` it, and it has its size and digests.

    Whoever reads it opens its `path`. `discard` (or leaving a `with` block) removes what is left of it;
    a hard link made meanwhile stays.
    """

    def __init__(self, path: Path, *, existing: bool = False) -> None:
        self.path = path
        self.size = 0
        self._hashes: dict[str, Any] = {
            "md5": hashlib.md5(usedforsecurity=False),
            "sha256": hashlib.sha256(),
            "blake2_256": hashlib.blake2b(digest_size=32),
        }
        flags = os.O_RDONLY if existing else os.O_RDWR | os.O_CREAT | os.O_EXCL
        mode = "rb" if existing else "w+b"
        self._file: IO[Any] = os.fdopen(os.open(path, flags | os.O_CLOEXEC, 0o644), mode, buffering=1 << 18)

    def write(self, chunk: ReadableBuffer) -> int:
        self._count(chunk)
        return self._file.write(chunk)

    def digest_content(self) -> None:
        """Take the digests of a file that was not written through this object."""
        while chunk := self._file.read(1 << 20):
            self._count(chunk)

    def _count(self, chunk: ReadableBuffer) -> None:
        for digest in self._hashes.values():
            digest.update(chunk)
        self.size += memoryview(chunk).nbytes

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def finish(self) -> None:
        """Everything is here: hand it to the kernel. OSError where the disk is full."""
        if self._file.writable():
            self._file.flush()
            os.fchmod(self._file.fileno(), 0o644)  # whatever the umask: nginx reads it too
        if self.size <= _SMALL:
            files.start_writing(self._file.fileno())

    def sync(self) -> None:
        """Make what was finished durable. OSError where the disk is full or broken."""
        os.fsync(self._file.fileno())

    def digest(self, name: str) -> str:
        """The hexadecimal digest of what was written; `name` is one of DIGESTS."""
        return str(self._hashes[name].hexdigest())

    @property
    def sha256(self) -> str:
        return self.digest("sha256")

    def discard(self) -> None:
        with contextlib.suppress(OSError):  # a full disk refuses the buffer that is left
            self._file.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> IncomingFile:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.discard()


class IncomingArea:
    """This process's folder below `incoming/`; made at first use, so that it is made after a fork."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._guard = Lock()
        self._folder: Path | None = None
        self._owner = -1
        self._held = -1

    def new_file(self) -> IncomingFile:
        """A new empty file that nobody else sees."""
        return IncomingFile(self.new_path())

    def take(self, source: Path, *, hard_link: bool = False) -> IncomingFile:
        """A copy of `source` (its blocks are shared where the file system can), or a hard link to it, whole."""
        path = self.new_path()
        if hard_link:
            os.link(source, path)
        else:
            files.copy(source, path)
        file = IncomingFile(path, existing=True)
        try:
            file.digest_content()
            file.finish()
        except BaseException:
            file.discard()
            raise
        return file

    def new_path(self) -> Path:
        """A name that is free, in this process's folder."""
        with self._guard:
            if self._folder is None or self._owner != os.getpid():
                self._folder = self._make_folder()
                self._owner = os.getpid()
            return self._folder / secrets.token_hex(8)

    def _make_folder(self) -> Path:
        made = self._volume.incoming / f"{os.getpid()}-{secrets.token_hex(4)}"
        with files.lock(self._volume.incoming_lock):  # nobody sweeps the folder between its making and its locking
            made.mkdir()
            held = files.try_lock(made / _LOCK)
        assert held is not None, "nobody else knows the name"  # noqa: S101 - says what can't be
        self._held = held
        return made

    def close(self) -> None:
        """Give the folder up; what is left in it goes."""
        with self._guard:
            if self._folder is not None and self._owner == os.getpid():
                shutil.rmtree(self._folder, ignore_errors=True)
                os.close(self._held)
            self._folder = None


def sweep(volume: Volume) -> int:
    """Remove the folders that dead processes left in `incoming/`; how many they were."""
    swept = 0
    with files.lock(volume.incoming_lock):
        with os.scandir(volume.incoming) as entries:
            folders = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        for folder in folders:
            held = files.try_lock(folder / _LOCK)
            if held is None:
                continue
            shutil.rmtree(folder, ignore_errors=True)
            os.close(held)
            swept += 1
    return swept
