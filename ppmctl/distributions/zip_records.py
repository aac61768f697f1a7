"""The records of a ZIP archive, parsed so that no reader can understand them in another way (APPNOTE.TXT 6.3.10)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from ppmctl.distributions.budget import shown
from ppmctl.errors import InvalidDistribution

LOCAL, LOCAL_MARK = struct.Struct("<4s5H3I2H"), b"PK\3\4"
CENTRAL, CENTRAL_MARK = struct.Struct("<4s6H3I5H2I"), b"PK\1\2"
END, END_MARK = struct.Struct("<4s4H2IH"), b"PK\5\6"
END64, END64_MARK = struct.Struct("<4sQ2H2I4Q"), b"PK\6\6"
LOCATOR64, LOCATOR64_MARK = struct.Struct("<4sIQI"), b"PK\6\7"
DESCRIPTORS, DESCRIPTOR_MARK = (struct.Struct("<4s3I"), struct.Struct("<4sI2Q")), b"PK\7\x08"

IN_EXTRA, SHORT_IN_EXTRA = 0xFFFFFFFF, 0xFFFF  # instead of a value that needs 64 bits
_EXTRA_SIZES, _EXTRA_UNICODE_PATH = 0x0001, 0x7075

STREAMED, _UTF8 = 0x08, 0x800  # flags: the sizes follow the content; the name is UTF-8
_KNOWN_FLAGS = STREAMED | _UTF8 | 0x02 | 0x04  # and how hard deflate tried; others mean encryption or a patch
STORED, DEFLATED = 0, 8
_MAX_NEEDED = 63  # the version 6.3 of the format: zipfile refuses a member that needs a newer one
_UNCLEAR = re.compile(r"(?:^|/)(?:/|[. ]+(?:/|$))|[\x00-\x1f\x7f\\]")


class Member(NamedTuple):
    """A member as the central directory has it. `start` is where its local header starts; sizes are in bytes."""

    raw_name: bytes
    flags: int
    method: int
    checksum: int
    packed: int
    size: int
    start: int
    mode: int  # Unix

    @property
    def name(self) -> str:
        return self.raw_name.decode(errors="replace")

    @property
    def is_folder(self) -> bool:
        return self.raw_name.endswith(b"/")


def ambiguous(why: str) -> InvalidDistribution:
    return InvalidDistribution(f"it is not a ZIP that all installers read the same: {why}.")


def parse_directory(content: bytes, count: int) -> Iterator[Member]:
    at = 0
    for _number in range(count):
        if len(content) - at < CENTRAL.size:
            raise ambiguous("its directory has fewer members than its end says")
        (
            mark,
            _made,
            needed,
            flags,
            method,
            _time,
            _date,
            checksum,
            packed,
            size,
            *lengths,
            disk,
            _text,
            mode,
            start,
        ) = CENTRAL.unpack_from(content, at)
        at += CENTRAL.size
        name_length, extra_length, comment_length = lengths
        raw_name, extra = content[at : at + name_length], content[at + name_length : at + name_length + extra_length]
        at += name_length + extra_length
        size, packed, start = sizes_of((size, packed, start), extra, raw_name, None)
        member = Member(
            raw_name=raw_name,
            flags=flags,
            method=method,
            checksum=checksum,
            packed=packed,
            size=size,
            start=start,
            mode=mode >> 16,
        )
        if mark != CENTRAL_MARK or len(extra) != extra_length or disk or comment_length:
            raise ambiguous("its directory is damaged, or has comments")
        _require_readable(member, needed)
        yield member
    if at != len(content):
        raise ambiguous("its directory has more members than its end says")


def _require_readable(member: Member, needed: int) -> None:
    if needed & 0xFF > _MAX_NEEDED:  # the other byte names a system
        raise ambiguous(f"its member {shown(member.name)} needs a newer reader")
    if member.flags & ~_KNOWN_FLAGS:
        raise ambiguous(f"its member {shown(member.name)} is encrypted, or a patch")
    if member.method not in (STORED, DEFLATED):
        raise ambiguous(f"its member {shown(member.name)} is neither stored nor deflated")
    if member.method == STORED and (member.packed != member.size or member.flags & STREAMED):
        raise ambiguous(f"the end of its member {shown(member.name)} is not clear")
    if member.is_folder and member.size:
        raise ambiguous(f"its folder {shown(member.name)} has a content")


def sizes_of(
    values: tuple[int, ...], extra: bytes, raw_name: bytes, known: tuple[int, ...] | None
) -> tuple[int, ...]:
    """Return sizes (and in the directory the start) of a member, which `extra` has where they need 64 bits.

    Some tools write that extra field where no value needs it: it then has the same values, or `known` ones.
    """
    if not extra and IN_EXTRA not in values:
        return values
    fields, name = _extra_fields(extra), raw_name.decode(errors="replace")
    other_name = fields.get(_EXTRA_UNICODE_PATH)
    if other_name is not None and other_name[5:] != raw_name:
        raise ambiguous(f"its member {shown(name)} has a second name")
    field = fields.get(_EXTRA_SIZES)
    if field is None:
        if IN_EXTRA in values:
            raise ambiguous(f"the size of its member {shown(name)} is missing")
        return values
    numbers = [int.from_bytes(field[at : at + 8], "little") for at in range(0, len(field) - 7, 8)]
    if IN_EXTRA not in values:
        allowed = zip(values, known or values, strict=False)
        if any(number not in pair for number, pair in zip(numbers, allowed, strict=False)):
            raise ambiguous(f"its member {shown(name)} has two sizes")
        return values
    if len(numbers) < values.count(IN_EXTRA):
        raise ambiguous(f"the size of its member {shown(name)} is missing")
    return tuple(numbers.pop(0) if value == IN_EXTRA else value for value in values)


def _extra_fields(extra: bytes) -> dict[int, bytes]:
    fields: dict[int, bytes] = {}
    while extra:
        kind, length = int.from_bytes(extra[:2], "little"), int.from_bytes(extra[2:4], "little")
        if len(extra) < 4 + length or kind in fields:
            raise ambiguous("an extra field of a member is damaged, or there twice")
        fields[kind], extra = extra[4 : 4 + length], extra[4 + length :]
    return fields


def decoded_name(member: Member) -> str:
    """Return the name of a member. Raise InvalidDistribution if readers decode it in different ways."""
    try:
        return member.raw_name.decode("utf-8" if member.flags & _UTF8 else "ascii")
    except UnicodeDecodeError as exc:
        raise ambiguous(f"the name of its member {shown(member.name)} is not UTF-8") from exc


def require_clear(name: str) -> None:
    """Raise InvalidDistribution for a member's name that readers change: x//y, ./x, x\\y, control characters."""
    if not name or _UNCLEAR.search(name):
        raise ambiguous(f"the name of its member {shown(name)} is not clear")


def windows_name(name: str) -> str:
    """Return the name of the file that Windows writes a member to: it ends each part before a colon, and before dots
    and blanks at the end.
    """
    return "/".join(part.split(":")[0].rstrip(". ") or part for part in name.split("/"))
