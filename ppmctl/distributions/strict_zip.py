"""Read ZIP archives that every installer reads the same, and refuse others.

pip reads a ZIP by its central directory at the end, uv from the start on while it is downloaded; unzip guesses where
an archive is damaged. An archive is accepted if all of them find the same members with the same content: the members
follow each other from the first byte on, the central directory lists each with the same values, and nothing is
between, before or after them. PyPI has had such a rule since 2025.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO
from zipfile import BadZipFile

from ppmctl.distributions import zip_records
from ppmctl.distributions.budget import ArchiveBudget, shown
from ppmctl.distributions.zip_records import DEFLATED, STREAMED, Member, ambiguous
from ppmctl.errors import InvalidDistribution

_MAX_COMMENT = 0xFFFF  # bytes, after the end
_MAX_DIRECTORY = 64 << 20  # bytes
_CHUNK = 1 << 18  # bytes
_WINDOW = 1 << 14  # bytes that are read at once: the headers of many small members


class StrictZip:
    """An open archive: `members` by name, in the order of the central directory.

    With `old` it may be an sdist of a tool that wrote `./` before each name, or backslashes in names.
    """

    def __init__(self, file: IO[bytes], *, old: bool = False) -> None:
        self._file = file
        self._old = old
        self._size = os.fstat(file.fileno()).st_size
        self._window, self._window_start = b"", 0
        self._budget = ArchiveBudget(self._size)
        count, start, length = self._find_directory()
        self._budget.require_members(count)  # before the memory for all of them is taken
        directory = list(zip_records.parse_directory(self._at(start, length), count))
        self._require_names(directory)
        self._budget.require_size(sum(member.size for member in directory))
        self._content_starts = self._require_locals(directory, start)
        self.members: Mapping[str, Member] = {self._unprefixed(member.name): member for member in directory}

    def read(self, member: Member, limit: int) -> bytes | None:
        """Return the content of a member; None if it is larger than `limit` bytes."""
        return b"".join(self._content(member)) if member.size <= limit else None

    def _unprefixed(self, name: str) -> str:
        return name.removeprefix("./") if self._old else name

    def _at(self, offset: int, length: int) -> bytes:
        at = offset - self._window_start
        if not 0 <= at <= len(self._window) - length:
            self._window = os.pread(self._file.fileno(), max(length, _WINDOW), offset)
            self._window_start, at = offset, 0
        if len(self._window) - at < length:
            raise BadZipFile("it is shorter than its directory says")
        return self._window[at : at + length]

    def _find_directory(self) -> tuple[int, int, int]:
        """Return the central directory's number of entries, and where it starts and how long it is, in bytes."""
        tail_start = max(0, self._size - zip_records.END.size - _MAX_COMMENT)
        tail = self._at(tail_start, self._size - tail_start)
        at = tail.rfind(zip_records.END_MARK)
        if at < 0 or len(tail) - at < zip_records.END.size:
            raise BadZipFile("it has no end of a central directory")
        _mark, disk, first_disk, count_here, count, length, start, comment = zip_records.END.unpack_from(tail, at)
        if at + zip_records.END.size + comment != len(tail):
            raise ambiguous("there is something after its end")
        end = tail_start + at
        values: tuple[int, ...] = (disk, first_disk, count_here, count, length, start)
        locator_at = end - zip_records.LOCATOR64.size
        if locator_at >= 0 and self._at(locator_at, 4) == zip_records.LOCATOR64_MARK:
            end = locator_at - zip_records.END64.size
            values = self._find_directory64(locator_at, values)
        disk, first_disk, count_here, count, length, start = values
        if disk or first_disk or count_here != count:
            raise ambiguous("it is a part of an archive")
        if start + length != end or length > _MAX_DIRECTORY:
            raise ambiguous("its central directory is not where its end says")
        return count, start, length

    def _find_directory64(self, locator_at: int, short: tuple[int, ...]) -> tuple[int, ...]:
        """Return the values of the end with 64 bits. `short` are those with 32, which must agree or refer to it."""
        _mark, disk, at, disks = zip_records.LOCATOR64.unpack(self._at(locator_at, zip_records.LOCATOR64.size))
        if disk or disks != 1 or at != locator_at - zip_records.END64.size:
            raise ambiguous("its central directory is not where its end says")
        mark, size, _made, _needed, *values = zip_records.END64.unpack(self._at(at, zip_records.END64.size))
        limits = (*[zip_records.SHORT_IN_EXTRA] * 4, zip_records.IN_EXTRA, zip_records.IN_EXTRA)
        agree = all(one in (value, limit) for one, value, limit in zip(short, values, limits, strict=True))
        if mark != zip_records.END64_MARK or size != zip_records.END64.size - 12 or not agree:
            raise ambiguous("its two ends differ")
        return tuple(values)

    def _require_names(self, directory: Iterable[Member]) -> None:
        """Raise InvalidDistribution for unsafe or ambiguous names."""
        files: dict[str, str] = {}  # by the name that file systems may compare by: without case, composed
        folders: dict[str, str] = {}
        streams: dict[str, str] = {}  # names with a colon, by that of the file whose stream they are on Windows
        for member in directory:
            name = zip_records.decoded_name(member)
            self._budget.count_member(name)
            if self._old:
                name = self._unprefixed(name).replace("\\", "/")  # as Windows unpacks it, for the comparison of names
                if not name:  # the folder ./
                    continue
            zip_records.require_clear(name)
            if stat.S_ISLNK(member.mode):
                raise InvalidDistribution(f"its member {shown(name)} is a symbolic link.")
            if ":" in name:
                streams[_folded(zip_records.windows_name(name.removesuffix("/")))] = name
            key = _folded(name.removesuffix("/"))
            paths = folders if member.is_folder else files
            other = paths.get(key)
            if other == name:
                raise InvalidDistribution(f"it has two members of the name {shown(name)}.")
            if other is not None:
                raise _same_file(other, name)
            paths[key] = name
        for path, name in streams.items():
            if files.get(path, name) != name:
                raise _same_file(files[path], name)
        checked: set[str] = set()
        for path in itertools.chain(folders, files):
            for parent in itertools.takewhile(lambda parent: parent not in checked, _parents(path)):
                checked.add(parent)
            self._budget.require_folders(len(checked))
        for path in itertools.chain(checked, folders):
            if path in files:
                raise InvalidDistribution(f"its member {shown(files[path])} is a file and a folder.")

    def _require_locals(self, directory: Iterable[Member], end: int) -> dict[bytes, int]:
        """Check headers and contents, and that they fill the file up to `end`; return where each content starts.

        Contents are unpacked, because some readers end them where their stream ends, others at the size in a header.
        """
        expected, starts = 0, {}
        for member in sorted(directory, key=lambda one: one.start):
            if member.start != expected:
                raise ambiguous(
                    "it has bytes that belong to no member" if member.start > expected else "its members overlap"
                )
            starts[member.raw_name] = content_start = self._local_end(member)
            expected = content_start + member.packed
            is_streamed = bool(member.flags & STREAMED)
            if is_streamed or member.packed or not member.is_folder:  # Python 2.7 deflated folders to no bytes at all
                for _chunk in self._unpacked(member, content_start):
                    pass
            if is_streamed:
                expected += self._descriptor_size(member, expected)
        if expected != end:
            raise ambiguous("it has bytes that belong to no member")
        return starts

    def _local_end(self, member: Member) -> int:
        """Return where a member's local header ends; raise InvalidDistribution if it differs from the directory."""
        fixed, raw_name = zip_records.LOCAL.size, member.raw_name
        header = self._at(member.start, fixed + len(raw_name))
        mark, _needed, flags, method, _time, _date, checksum, packed, size, name_length, extra_length = (
            zip_records.LOCAL.unpack_from(header)
        )
        own = (mark, flags, method, name_length, header[fixed:])
        if own != (zip_records.LOCAL_MARK, member.flags, member.method, len(raw_name), raw_name):
            raise ambiguous(f"{shown(member.name)} has another header than in its directory")
        extra = self._at(member.start + len(header), extra_length) if extra_length else b""
        values = (member.size, member.packed)
        sizes = zip_records.sizes_of((size, packed), extra, raw_name, values)
        is_later = member.flags & STREAMED and not any((checksum, *sizes))  # they follow the content
        if not is_later and (checksum, *sizes) != (member.checksum, *values):
            raise ambiguous(f"{shown(member.name)} has other sizes than in its directory")
        return member.start + len(header) + int(extra_length)

    def _descriptor_size(self, member: Member, at: int) -> int:
        """Return the size of the descriptor after a member's content; raise InvalidDistribution if it differs."""
        values = (zip_records.DESCRIPTOR_MARK, member.checksum, member.packed, member.size)
        for form in zip_records.DESCRIPTORS:
            with contextlib.suppress(BadZipFile):
                if form.unpack(self._at(at, form.size)) == values:
                    return form.size
        raise ambiguous(f"the sizes after {shown(member.name)} are not those in its directory")

    def _content(self, member: Member) -> Iterator[bytes]:
        return self._unpacked(member, self._content_starts[member.raw_name])

    def _unpacked(self, member: Member, start: int) -> Iterator[bytes]:
        """Yield the content of a member in chunks; raise BadZipFile unless its size and checksum are right."""
        size = checksum = 0
        for chunk in (
            _inflate(self._packed(member, start)) if member.method == DEFLATED else self._packed(member, start)
        ):
            size += len(chunk)
            checksum = zlib.crc32(chunk, checksum)
            if size > member.size:
                break
            yield chunk
        if (size, checksum) != (member.size, member.checksum):
            raise BadZipFile(f"the content of {shown(member.name)} is damaged")

    def _packed(self, member: Member, start: int) -> Iterator[bytes]:
        for offset in range(start, start + member.packed, _CHUNK):
            yield self._at(offset, min(_CHUNK, start + member.packed - offset))


@contextlib.contextmanager
def opened(path: Path, *, old: bool = False) -> Iterator[StrictZip]:
    """Open the archive at `path`. Raise InvalidDistribution if it is unsafe or ambiguous, else BadZipFile."""
    with path.open("rb") as file:
        yield StrictZip(file, old=old)


def _same_file(one: str, other: str) -> InvalidDistribution:
    return InvalidDistribution(f"its members {shown(one)} and {shown(other)} are the same file on Windows or macOS.")


def _folded(name: str) -> str:
    """Return a name without case and without dots and blanks at the end of its parts, composed.

    What was folded can be composed again.
    """
    name = "/".join(part.rstrip(". ") for part in name.split("/"))
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _inflate(packed: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the unpacked content of a deflate stream. Raise BadZipFile if it ends before or after its last byte."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    for chunk in packed:
        while chunk:
            if unpacker.eof:
                raise BadZipFile("a member ends before its end")
            yield unpacker.decompress(chunk, _CHUNK)
            chunk = unpacker.unconsumed_tail + unpacker.unused_data
    while not unpacker.eof:
        rest = unpacker.decompress(b"", _CHUNK)
        if not rest:
            raise BadZipFile("a member ends too early")
        yield rest
