"""ZIP archives that readers read in different ways are refused; what build tools write is read."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import pytest
from support import wheels
from support.generated import given, st

from ppmctl.distributions import strict_zip
from ppmctl.errors import InvalidDistribution

A, B = b"here = True\n" * 20, b"there"
END = 22  # bytes


def packed(members: dict[str, bytes] | None = None, method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in (members or {"a.py": A, "b.py": B}).items():
            archive.writestr(zipfile.ZipInfo(name, wheels.EPOCH), content, method)
    return bytearray(buffer.getvalue())


class Unseekable(io.RawIOBase):
    """A file that zipfile writes to as to a pipe: sizes follow the contents."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, chunk: Any) -> int:
        self.content += chunk
        return len(chunk)


def streamed() -> bytearray:
    target = Unseekable()
    with zipfile.ZipFile(cast("IO[bytes]", target), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.py", A)
        archive.writestr("b.py", B)
    return target.content


def large() -> bytearray:
    """Return an archive whose members have fields of 64 bits, as tools write that do not know the sizes before."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a.py", "w", force_zip64=True) as member:
            member.write(A)
        archive.writestr("b.py", B)
    return bytearray(buffer.getvalue())


def with_end64(content: bytearray, **changes: int) -> bytearray:
    """Return the archive with an end of 64 bits too; `changes` are of its values."""
    *_start, here, count, length, start, _comment = struct.unpack("<4s4H2IH", content[-END:])
    values = {
        "here": here,
        "count": count,
        "length": length,
        "start": start,
        "size": 44,
        "at": len(content) - END,
    } | changes
    end64 = struct.pack(
        "<4sQ2H2I4Q",
        b"PK\6\6",
        values["size"],
        45,
        45,
        0,
        0,
        *(values[key] for key in ("here", "count", "length", "start")),
    )
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, values["at"], 1)
    return content[:-END] + end64 + locator + content[-END:]


def commented(comment: bytes) -> bytearray:
    content = packed()
    return content[:-2] + len(comment).to_bytes(2, "little") + comment


def read(folder: Path, content: bytes | bytearray) -> dict[str, bytes | None]:
    path = wheels.write(folder, ("x.zip", bytes(content)))
    with strict_zip.opened(path) as archive:
        return {name: archive.read(member, 1 << 20) for name, member in archive.members.items()}


@pytest.mark.parametrize(
    "make",
    [
        packed,
        lambda: packed(method=zipfile.ZIP_STORED),
        streamed,
        large,
        lambda: with_end64(packed()),
        lambda: commented(b"0123456789abcdef of git archive"),
    ],
    ids=["deflated", "stored", "streamed", "64 bits", "an end of 64 bits", "a comment"],
)
def test_what_tools_write_is_read(tmp_path: Path, make: Callable[[], bytearray]) -> None:
    assert read(tmp_path, make()) == {"a.py": A, "b.py": B}


def test_folders_names_in_utf8_and_an_empty_archive_are_read(tmp_path: Path) -> None:
    members = {"a/": b"", "a/ä.py": B, "a/empty": b"", "c/b": b""}
    assert read(tmp_path, packed(members)) == members
    assert read(tmp_path, bytes(packed({"a": b""}))[-END:-END] + struct.pack("<4s4H2IH", b"PK\5\6", *[0] * 7)) == {}


def test_names_that_collide_with_no_other_one_are_read(tmp_path: Path) -> None:
    names = (
        *("records/2024-01-01T10:00:00.json", "records/2024-01-01T10:30:00.json", "records/2024-01-01T11/a"),
        *("man3/Foo::Bar.3", "man3/Foo::Baz.3", "test_x[a:b].yaml", "test_x[a:c].yaml", "Dockerfile.", "x/... and"),
        *("x/:memory:", "x/:memory:.bak", "etc./a b /c", "x/ y", "x/.z"),
    )
    members = dict.fromkeys(names, B)
    assert read(tmp_path, packed(members)) == members


@pytest.mark.parametrize(
    "members",
    [
        {"./a": A, "a": B},
        {"a\\b": A, "a/b": B},
        {"a/b\\c": A, "a/B/C": B},
        {"././a": A},
        {"a/./b": A},
        {"./../a": A},
        {"a\\..\\..\\b": A},
        {".\\a": A, "./a": B},
    ],
)
def test_an_old_sdist_is_not_ambiguous_either(tmp_path: Path, members: dict[str, bytes]) -> None:
    path = wheels.write(tmp_path, ("x.zip", bytes(packed(members))))
    with pytest.raises(InvalidDistribution), strict_zip.opened(path, old=True):
        pass


def test_a_folder_may_be_deflated_to_no_bytes(tmp_path: Path) -> None:
    path = wheels.write(tmp_path, ("x.zip", bytes(of_stream(b"", b"", name=b"a/"))))
    with strict_zip.opened(path) as archive:
        assert list(archive.members) == ["a/"]


def test_a_large_member_is_not_read(tmp_path: Path) -> None:
    path = wheels.write(tmp_path, ("x.zip", bytes(packed())))
    with strict_zip.opened(path) as archive:
        assert archive.read(archive.members["b.py"], len(B)) == B
        assert archive.read(archive.members["b.py"], len(B) - 1) is None


def changed(
    at: Callable[[bytearray], int], value: int, size: int = 2, make: Callable[[], bytearray] = packed
) -> bytearray:
    """Return an archive in which a number of `size` bytes is replaced."""
    content = make()
    position = at(content)
    content[position : position + size] = value.to_bytes(size, "little")
    return content


def local(offset: int, number: int = 0) -> Callable[[bytearray], int]:
    return lambda content: [at for at in range(len(content)) if content[at : at + 4] == b"PK\3\4"][number] + offset


def central(offset: int, number: int = 0) -> Callable[[bytearray], int]:
    return lambda content: [at for at in range(len(content)) if content[at : at + 4] == b"PK\1\2"][number] + offset


def end(offset: int) -> Callable[[bytearray], int]:
    return lambda content: len(content) - END + offset


def descriptor(offset: int) -> Callable[[bytearray], int]:
    return lambda content: content.index(b"PK\7\x08") + offset


def moved(content: bytearray, by: int) -> bytearray:
    """Return the end of an archive whose directory starts `by` bytes later."""
    start = int.from_bytes(content[-6:-2], "little") + by
    return content[:-6] + start.to_bytes(4, "little") + content[-2:]


def with_local_entry(name: bytes) -> bytearray:
    """Return an archive with one more local entry, which its directory lacks."""
    content = packed()
    start = int.from_bytes(content[-6:-2], "little")
    entry = (
        struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 33, zlib.crc32(B), len(B), len(B), len(name), 0) + name + B
    )
    return moved(content[:start] + bytearray(entry) + content[start:], len(entry))


def with_extra(extra: bytes) -> bytearray:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("a.py", wheels.EPOCH)
        info.extra = extra
        archive.writestr(info, A)
    return bytearray(buffer.getvalue())


def unicode_path(name: bytes) -> bytes:
    return struct.pack("<HHBI", 0x7075, 5 + len(name), 1, zlib.crc32(b"a.py")) + name


def a_stream_that_ends_before_its_end() -> bytearray:
    """Return an archive whose first content goes on after the end of its stream, where another header is."""
    hidden = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 33, zlib.crc32(B), len(B), len(B), 4, 0) + b"evil" + B
    deflated = zlib.compressobj(wbits=-15)
    stream = deflated.compress(A) + deflated.flush()
    values = (zlib.crc32(A), len(stream + hidden), len(A))
    first = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 8, 8, 0, 33, 0, 0, 0, 4, 0) + b"a.py" + stream + hidden
    first += struct.pack("<4s3I", b"PK\7\x08", *values)
    directory = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 8, 8, 0, 33, *values, 4, 0, 0, 0, 0, 0, 0) + b"a.py"
    return bytearray(
        first + directory + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(directory), len(first), 0)
    )


def deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(content) + packer.flush()


def of_stream(stream: bytes, claimed: bytes, name: bytes = b"a.py") -> bytearray:
    """Return an archive of one deflated member, with the size and checksum of `claimed`."""
    values = (zlib.crc32(claimed), len(stream), len(claimed), len(name), 0)
    first = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 33, *values) + name + stream
    directory = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 33, *values, *[0] * 5) + name
    return bytearray(
        first + directory + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(directory), len(first), 0)
    )


SAME = "not a ZIP that all installers read the same"
AMBIGUOUS: dict[str, tuple[Callable[[], bytes | bytearray], str]] = {
    "a newer form of ZIP": (lambda: changed(central(6), 64), SAME),
    "bytes before": (lambda: b"#!/bin/sh\n" + packed(), SAME),
    "bytes before, with right offsets": (
        lambda: _shifted(b"#!/bin/sh\n"),
        "bytes that belong to no member",
    ),
    "bytes after": (lambda: packed() + b"x", "something after its end"),
    "two archives": (lambda: packed() + packed(), SAME),
    "an end in the comment": (lambda: commented(b"PK\5\6" + bytes(18)), "something after its end|where its end says"),
    "bytes before the directory": (lambda: _inserted(b"x"), "bytes that belong to no member"),
    "a local entry that the directory lacks": (
        lambda: with_local_entry(b"evil.py"),
        "bytes that belong to no member",
    ),
    "a member that is there twice": (lambda: with_local_entry(b"a.py"), "bytes that belong to no member"),
    "too few in the count": (lambda: changed(end(10), 1, make=lambda: changed(end(8), 1)), "more members than"),
    "too many in the count": (lambda: changed(end(10), 3, make=lambda: changed(end(8), 3)), "fewer members than"),
    "two counts": (lambda: changed(end(10), 1), "a part of an archive"),
    "another disk": (lambda: changed(end(4), 1), "a part of an archive"),
    "a member on another disk": (lambda: changed(central(34), 1), "is damaged"),
    "a comment of a member": (lambda: _member_comment(), "is damaged, or has comments"),
    "another local name": (lambda: changed(local(30), ord("z"), 1), "another header"),
    "another name in the directory": (lambda: changed(central(46), ord("z"), 1), "another header"),
    "another local method": (lambda: changed(local(8), 0), "another header"),
    "another local size": (lambda: changed(local(22), 7, 4), "other sizes"),
    "another local packed size": (lambda: changed(local(18), 7, 4), "other sizes"),
    "another local checksum": (lambda: changed(local(14), 7, 4), "other sizes"),
    "another packed size": (lambda: changed(central(20), 7, 4), SAME),
    "an overlap": (lambda: changed(central(42, 1), 3, 4), "overlap"),
    "one content for two members": (lambda: changed(central(42, 1), 0, 4), "overlap"),
    "encrypted": (lambda: changed(local(6), 1, make=lambda: changed(central(8), 1)), "is encrypted"),
    "strongly encrypted": (lambda: changed(central(8), 0x41), "is encrypted"),
    "another compression": (lambda: packed(method=zipfile.ZIP_BZIP2), "neither stored nor deflated"),
    "stored with two sizes": (
        lambda: changed(central(24), 7, 4, make=lambda: packed(method=zipfile.ZIP_STORED)),
        "is not clear",
    ),
    "stored without a size": (
        lambda: changed(central(8), 8, make=lambda: packed(method=zipfile.ZIP_STORED)),
        "is not clear",
    ),
    "a folder with a content": (lambda: packed({"a/": A}), "has a content"),
    "streamed, another size at its end": (lambda: changed(descriptor(12), 7, 4, make=streamed), "the sizes after"),
    "streamed, another checksum at its end": (lambda: changed(descriptor(4), 7, 4, make=streamed), "the sizes after"),
    "streamed, without the mark of its end": (lambda: changed(descriptor(0), 7, 4, make=streamed), "the sizes after"),
    "a stream that ends before its end": (a_stream_that_ends_before_its_end, "a member ends before its end"),
    "a stream that goes on after its size": (lambda: of_stream(deflated(A + B), A), "is damaged"),
    "a stream that ends before its size": (lambda: of_stream(deflated(A), A + B), "is damaged"),
    "a stream without an end": (lambda: of_stream(deflated(A)[:-1], A), "ends too early"),
    "bytes after a stream": (lambda: of_stream(deflated(A) + B, A), "a member ends before its end"),
    "a file without a stream": (lambda: of_stream(b"", b""), "ends too early"),
    "another content": (lambda: of_stream(deflated(A), A[::-1]), "is damaged"),
    "another content, stored": (
        lambda: changed(local(34), 0, 1, make=lambda: packed(method=zipfile.ZIP_STORED)),
        "is damaged",
    ),
    "a second name": (lambda: with_extra(unicode_path(b"b.py")), "has a second name"),
    "an extra field twice": (lambda: with_extra(struct.pack("<HHB", 0x5455, 1, 0) * 2), "there twice"),
    "an extra field that is too long": (lambda: with_extra(struct.pack("<HHB", 0x5455, 9, 0)), "is damaged"),
    "two sizes in the extra field": (lambda: with_extra(struct.pack("<HHQ", 1, 8, 7)), "two sizes"),
    "a size that is nowhere": (lambda: changed(central(24), 0xFFFFFFFF, 4), "size of its member 'a.py' is missing"),
    "an end of 64 bits of another count": (lambda: with_end64(packed(), count=3), "two ends differ"),
    "an end of 64 bits of another start": (lambda: with_end64(packed(), start=3), "two ends differ"),
    "an end of 64 bits with more": (lambda: with_end64(packed(), size=45), "two ends differ"),
    "an end of 64 bits elsewhere": (lambda: with_end64(packed(), at=3), "where its end says"),
    "an empty part of a name": (lambda: packed({"a//b": A}), "is not clear"),
    "a part of a name that is a dot": (lambda: packed({"./a": A}), "is not clear"),
    "a name that is empty": (lambda: packed({"": A}), "is not clear"),
    "a control character": (lambda: packed({"a\x1b[2J": A}), "is not clear"),
    "NUL in a name": (
        lambda: changed(local(31), 0, 1, make=lambda: changed(central(47), 0, 1)),
        "would leave the folder",
    ),
    "a name that is not UTF-8": (
        lambda: changed(local(30), 0xE4, 1, make=lambda: changed(central(46), 0xE4, 1)),
        "not UTF-8",
    ),
    "other case": (lambda: packed({"a.py": A, "A.py": B}), "the same file on"),
    "another composition": (lambda: packed({"\xe4": A, "a\u0308": B}), "the same file on"),
    "another composition after folding": (
        lambda: packed({"\u0390\u0323": A, "\u03aa\u0301\u0323": B}),
        "the same file on",
    ),
    **{
        f"{name!r} on Windows": (lambda name=name: packed({name: A, "ab/c": B}), "the same file on")
        for name in (
            "ab/c.",
            "ab/C ",
            "ab/c. .",
            "ab. /c",
            "AB./c",
            "ab/c::$DATA",
            "ab/c.:d",
            "ab:$I30:$INDEX_ALLOCATION/c",
        )
    },
    **{
        f"a part of a name that is {name!r}": (lambda name=name: packed({f"ab/{name}": A}), "is not clear")
        for name in (" ", "...", "... ", ".. /b", " /b", ". ./c")
    },
    "a file and a folder on Windows": (lambda: packed({"ab": A, "ab./c": B}), "is a file and a folder"),
    "a file and a folder": (lambda: packed({"a": A, "a/b": B}), "is a file and a folder"),
    "a file and an empty folder": (lambda: packed({"a/": b"", "A": B}), "is a file and a folder"),
    "a long path": (lambda: packed({"a" * 1025: A}), "longer than 1024 bytes"),
    "a deep path": (lambda: packed({"a/" * 65 + "b": A}), "and 64 folders"),
}


def _shifted(before: bytes) -> bytearray:
    """Return an archive with bytes before it that all its offsets count."""
    content = packed()
    for number in (0, 1):
        at = central(42, number)(content)
        content[at : at + 4] = (int.from_bytes(content[at : at + 4], "little") + len(before)).to_bytes(4, "little")
    return bytearray(before) + moved(content, len(before))


def _inserted(between: bytes) -> bytearray:
    content = packed()
    start = int.from_bytes(content[-6:-2], "little")
    return moved(content[:start] + bytearray(between) + content[start:], len(between))


def _member_comment() -> bytearray:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("a.py", wheels.EPOCH)
        info.comment = b"a comment"
        archive.writestr(info, A)
    return bytearray(buffer.getvalue())


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("case", AMBIGUOUS)
def test_an_archive_with_two_readings_is_refused(tmp_path: Path, case: str) -> None:
    make, reason = AMBIGUOUS[case]
    path = wheels.write(tmp_path, ("x.zip", bytes(make())))
    with pytest.raises((InvalidDistribution, zipfile.BadZipFile), match=reason), strict_zip.opened(path):
        pass


def from_the_start(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the members of an archive as a reader does that comes from the start and never looks at the directory."""
    at = 0
    while content[at : at + 4] == b"PK\3\4":
        _mark, _needed, flags, method, _t, _d, _crc, size, _unpacked, name_length, extra_length = struct.unpack_from(
            "<4s5H3I2H", content, at
        )
        name = content[at + 30 : at + 30 + name_length].decode()
        at += 30 + name_length + extra_length
        if method == zipfile.ZIP_DEFLATED:
            unpacker = zlib.decompressobj(-15)
            data = unpacker.decompress(content[at:])
            assert unpacker.eof
            at = len(content) - len(unpacker.unused_data)
        else:
            data = content[at : at + size]
            at += size
        at += 16 if flags & 8 else 0
        yield name, data


SEEDS = [bytes(make()) for make in (packed, streamed, lambda: packed(method=zipfile.ZIP_STORED))]


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 400), st.one_of(st.integers(0, 255), st.binary(max_size=3))), max_size=4),
)
def test_what_is_accepted_is_read_the_same_from_both_ends(
    tmp_path_factory: pytest.TempPathFactory, seed: bytes, changes: list[tuple[int, int | bytes]]
) -> None:
    content = bytearray(seed)
    for at, change in changes:
        content[at : at + (1 if isinstance(change, int) else 0)] = (
            bytes([change]) if isinstance(change, int) else change
        )
    folder = tmp_path_factory.getbasetemp() / "changed"
    path = wheels.write(folder, ("x.zip", bytes(content)))
    try:
        with strict_zip.opened(path):  # all that the check of an upload does, without METADATA
            pass
    except (InvalidDistribution, zipfile.BadZipFile, zlib.error):
        return
    members = read(folder, content)
    with zipfile.ZipFile(folder / "x.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == members
    assert dict(from_the_start(bytes(content))) == members
