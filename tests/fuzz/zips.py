"""Read a ZIP from its beginning, as a streaming client does, and repair the checksums of a changed one."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_DESCRIPTOR_FLAG = 8


class Ambiguous(ValueError):
    """Two readers could read different content in this archive."""


def streamed(content: bytes) -> dict[str, bytes]:
    """Return the members by name, in the order of the bytes, without using the central directory to find them.

    Raise Ambiguous unless members, central directory and its end follow each other, nothing is before, between or
    behind them, and the directory has the same members, with the sizes and checksums of their contents.
    """
    members: dict[str, bytes] = {}
    offsets: list[int] = []
    position = 0
    while content[position : position + 4] == b"PK\3\4":
        offsets.append(position)
        name, member, position = _member(content, position)
        if name in members:
            raise Ambiguous(f"two members {name!r}")
        members[name] = member
    start, listed = position, []
    while content[position : position + 4] == b"PK\1\2":
        values = _CENTRAL.unpack_from(content, position)
        position += _CENTRAL.size
        name = content[position : position + values[10]]
        position += sum(values[10:13])
        listed.append((values[16], _decoded(name, values[3]), values[7], values[9]))
    if sorted(offset for offset, *_ in listed) != offsets:
        raise Ambiguous("the central directory does not have the same members")
    for (_offset, name, crc, size), (found, member) in zip(sorted(listed), members.items(), strict=True):
        if (name, crc, size) != (found, zlib.crc32(member), len(member)):
            raise Ambiguous(f"{name!r} in the central directory is another one than {found!r}")
    if len(content) - position < _END.size or content[position : position + 4] != b"PK\5\6":
        raise Ambiguous("no end of the central directory after it")
    end = _END.unpack_from(content, position)
    if end[1:] != (0, 0, len(listed), len(listed), position - start, start, len(content) - position - _END.size):
        raise Ambiguous("the end of the central directory has other numbers")
    if b"PK\5\6" in content[position + 4 :]:
        raise Ambiguous("a comment with another end of the central directory")
    return members


def _member(content: bytes, position: int) -> tuple[str, bytes, int]:
    """Return the name and content of a member, and where it ends."""
    values = _LOCAL.unpack_from(content, position)
    _sign, _version, flags, method, _time, _date, _crc, packed, _size, length, extra = values
    start = position + _LOCAL.size + length + extra
    name = _decoded(content[position + _LOCAL.size : position + _LOCAL.size + length], flags)
    if flags & _DESCRIPTOR_FLAG and method != zlib.DEFLATED:
        raise Ambiguous(f"the end of {name!r} can't be seen")
    if method == 0 or (packed == 0 and name.endswith("/") and not flags & _DESCRIPTOR_FLAG):
        member, end = content[start : start + packed], start + packed
    else:
        reader = zlib.decompressobj(-15)
        member = reader.decompress(content[start:], (1 << 26) + 1)
        end = len(content) - len(reader.unused_data)
        if not (reader.eof and (flags & _DESCRIPTOR_FLAG or end == start + packed)):
            raise Ambiguous(f"{name!r} does not end where its stream ends")
    if flags & _DESCRIPTOR_FLAG:
        end += 16 if content[end : end + 4] == b"PK\7\x08" else 12
    return name, member, end


def _decoded(name: bytes, flags: int) -> str:
    return name.decode("utf-8" if flags & 0x800 else "cp437", "replace")


def repaired(content: bytes) -> bytes:
    """Return the archive with the checksums that its stored members have now; readers refuse others unread."""
    edited = bytearray(content)
    for position, packed, offset in _stored(content):
        if content[offset : offset + 4] != b"PK\3\4" or offset + _LOCAL.size > len(content):
            continue
        length, extra = struct.unpack_from("<2H", content, offset + 26)
        start = offset + _LOCAL.size + length + extra
        crc = zlib.crc32(content[start : start + packed])
        struct.pack_into("<I", edited, offset + 14, crc)
        struct.pack_into("<I", edited, position + 16, crc)
    return bytes(edited)


def _stored(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield where the central directory has the entry of a stored member, its size, and where the member is."""
    position = content.find(b"PK\1\2")
    while position >= 0 and position + _CENTRAL.size <= len(content):
        values = _CENTRAL.unpack_from(content, position)
        if values[4] == 0:
            yield position, values[8], values[16]
        position = content.find(b"PK\1\2", position + 4)
