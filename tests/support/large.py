"""Distributions of a gigabyte, written in pieces, and measurements of a server's memory and disk use."""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from support import wheels
from support.servers import Server

_BLOCK = 1 << 20


class _Blocks:
    """A file-like object of `size` bytes that is not held in memory: one random block repeated, with numbers."""

    def __init__(self, size: int) -> None:
        self._block = random.Random(1).randbytes(_BLOCK)
        self._left = size

    def read(self, size: int = -1) -> bytes:
        size = min(self._left, _BLOCK if size < 0 else min(size, _BLOCK))
        number = self._left.to_bytes(8, "big")
        self._left -= size
        return (number + self._block)[:size]


def wheel(folder: Path, name: str, version: str, *, size: int) -> Path:
    """Write a wheel with an uncompressed member of `size` bytes."""
    filename, content = wheels.wheel(name, version)
    path = folder / filename
    path.write_bytes(content)
    with zipfile.ZipFile(path, "a") as archive, archive.open(f"{name}/data.bin", "w") as member:
        _copy(_Blocks(size), member)
    return path


def sdist(folder: Path, name: str, version: str, *, size: int) -> Path:
    """Write an sdist with a member of `size` bytes, in a gzip file without compression."""
    top = f"{name}-{version}"
    path = folder / f"{top}.tar.gz"
    with (
        gzip.open(path, "wb", compresslevel=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", bufsize=_BLOCK, copybufsize=_BLOCK) as archive,
    ):
        metadata = wheels.write(folder, ("PKG-INFO", wheels.metadata(name, version)))
        archive.add(metadata, f"{top}/PKG-INFO")
        metadata.unlink()
        member = tarfile.TarInfo(f"{top}/data.bin")
        member.size = size
        archive.addfile(member, cast("IO[bytes]", _Blocks(size)))
    return path


def _copy(source: _Blocks, target: IO[bytes]) -> None:
    while chunk := source.read():
        target.write(chunk)


def processes(server: Server) -> list[int]:
    """Return the ids of the server's main process and its children."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert children, "the server has no worker"
    return [pid, *map(int, children)]


def reset_peaks(server: Server) -> None:
    """Reset each process's peak memory to its current value (proc(5), clear_refs)."""
    for pid in processes(server):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def peaks(server: Server) -> dict[int, int]:
    """Return the peak resident memory of each of the server's processes, in bytes."""
    bytes_of = {}
    for pid in processes(server):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                bytes_of[pid] = int(line.split()[1]) << 10
    return bytes_of


@dataclass(kw_only=True)
class Disk:
    """The maximum of bytes and files seen below a root, including unlinked files that the server has open."""

    size: int = 0
    files: int = 0
    looks: int = 0

    def look(self, server: Server) -> None:
        sizes: dict[tuple[int, int], int] = {}
        for parent, folders, names in os.walk(server.root):
            for name in (*folders, *names):
                with contextlib.suppress(FileNotFoundError):
                    _count(sizes, Path(parent, name).lstat())
        for pid in processes(server):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if descriptor.readlink().is_absolute() and descriptor.stat().st_nlink == 0:
                        _count(sizes, descriptor.stat())
        self.size = max(self.size, sum(sizes.values()))
        self.files = max(self.files, len(sizes))
        self.looks += 1


def _count(sizes: dict[tuple[int, int], int], entry: os.stat_result) -> None:
    sizes[entry.st_dev, entry.st_ino] = entry.st_size


@contextmanager
def watched(server: Server) -> Iterator[Disk]:
    """Measure the disk repeatedly while the block runs, and once at its end."""
    seen = Disk()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            seen.look(server)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
        seen.look(server)
