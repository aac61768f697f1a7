"""Read logs of requests, also rotated and compressed ones, from where they were read last.

A log is recognised by its first line, which has the time of a request, and not by its name or inode. So it may be
renamed, copied, compressed or put back.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ppmctl import regular_file

_HEAD = 1_024  # bytes of the first line, at most
# bytes before the position, which show that a log was not replaced: a line or more, because lines can end equally
_TAIL = 1_024
_CHUNK = 4 << 20  # bytes
# a longer line is left out; nginx's longest has less than a tenth
_LONGEST_LINE = 1 << 20
_ROTATED = re.compile(r"[.-]([0-9]{1,14})(?:\.gz)?", re.ASCII)
DAMAGED = (OSError, EOFError, zlib.error)  # what reading a log can raise


@dataclass(frozen=True, kw_only=True)
class Position:
    """Up to where a log was counted. `head` is the hash of its first line.

    `tail` are the bytes before the position, `time` is that of the last counted line, `identity` that of the file.
    """

    id: int
    head: bytes
    position: int
    tail: bytes
    time: bytes
    identity: str


@dataclass(frozen=True, kw_only=True)
class Block:
    """Whole lines of a log, and the position after them. `broken` counts lines that were left out as too long."""

    lines: list[bytes]
    end: int
    tail: bytes
    broken: int = 0


def found(log: Path) -> list[Path]:
    """Return a log and its rotated files (LOG.1, LOG.2.gz, LOG-20261130), the oldest first."""
    rotated: list[tuple[bool, int, Path]] = []
    try:
        names = os.listdir(log.parent)
    except (FileNotFoundError, NotADirectoryError):
        return []
    for name in names:
        match = _ROTATED.fullmatch(name[len(log.name) :]) if name.startswith(log.name) else None
        if match:
            is_date = len(match[1]) >= 8  # otherwise a higher number is older
            rotated.append((is_date, int(match[1]) * (1 if is_date else -1), log.parent / name))
    return [path for *_order, path in sorted(rotated)] + ([log] if log.name in names else [])


class LogFile:
    """An open log. `head` is the hash of its first line, or b"" if it has no whole line yet.

    `identity` differs after each change of the file, `place` is the same while it is appended to.
    """

    def __init__(self, file: IO[bytes]) -> None:
        status = os.fstat(file.fileno())
        self.place = f"{status.st_dev}:{status.st_ino}"
        self.identity = f"{self.place}:{status.st_size}:{status.st_mtime_ns}"
        self._file = file
        self.is_compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        self._text: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=file) if self.is_compressed else file
        self.size = None if self.is_compressed else status.st_size
        head = self._text.readline(_HEAD)
        self.head = hashlib.sha256(head).digest() if head.endswith(b"\n") or len(head) == _HEAD else b""

    def has_tail(self, position: Position) -> bool:
        """Return whether the bytes before a position are those that were counted."""
        if self.is_compressed:
            return True
        self._file.seek(max(position.position - len(position.tail), 0))
        return self._file.read(len(position.tail)) == position.tail

    def blocks(self, start: int) -> Iterator[Block]:
        """Yield the whole lines from the position `start` on, in blocks. A line without its end waits."""
        self._text.seek(start)
        end, rest, skipped, tail = start, b"", 0, b""
        while data := self._text.read(_CHUNK):
            cut = data.rfind(b"\n") + 1
            if not cut:
                rest, skipped = (b"", skipped + len(rest) + len(data)) if skipped else (rest + data, 0)
                if len(rest) > _LONGEST_LINE:
                    rest, skipped = b"", len(rest)
                continue
            broken = 0
            if skipped:  # the rest of a line that is too long
                first = data.index(b"\n") + 1
                end, broken, skipped = end + skipped + first, 1, 0
                text = data[first:cut]
            else:
                text = rest + data[:cut]
            rest = data[cut:]
            end += len(text)
            tail = text[-_TAIL:] if len(text) >= _TAIL else (b"" if broken else tail) + text
            tail = tail[-_TAIL:] or data[max(cut - _TAIL, 0) : cut]
            yield Block(lines=text.split(b"\n")[:-1], end=end, tail=tail, broken=broken)


@contextmanager
def opened(path: Path) -> Iterator[LogFile]:
    """Open a log; raise OSError if it can't be read or is no regular file, and one of DAMAGED for damaged gzip."""
    regular_file.require(path)
    with path.open("rb", buffering=0) as raw, open(raw.fileno(), "rb", closefd=False) as file:
        yield LogFile(file)
