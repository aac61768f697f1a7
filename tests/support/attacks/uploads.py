"""Uploads of files that cost much, or that readers read in different ways."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from functools import cache

from support import wheels
from support.attacks.model import Attack, Judge, all_of, status
from support.raw import Target, request

_NAME = "hostile"
_WHEEL, _SDIST = f"{_NAME}-1.0-py3-none-any.whl", f"{_NAME}-1.0.tar.gz"
_INFO = f"{_NAME}-1.0.dist-info"
# Seconds. Some files take 4 s of processor time, and may take 10 (`budget.CPU_SECONDS`): much more on a busy machine.
_PATIENCE = 120.0
_META = wheels.metadata(_NAME, "1.0")


def hostile(target: Target) -> Iterator[Attack]:
    """Yield uploads of hostile files: each is refused with its reason, and its name stays free."""
    refused: Judge = all_of(status(400), lambda reply: reply.answers[0].body.count(b"\n") == 1)
    for shown, (filename, content) in files().items():
        yield Attack(
            group="uploads",
            shown=f"an upload of {shown}",
            expected="400 with a line of text",
            sent=_form(target, filename, content),
            judge=refused,
            patience=_PATIENCE,
        )


@cache
def files() -> dict[str, tuple[str, bytes]]:
    """Return hostile files as (filename, content), by a description."""
    return {
        "a member that claims 10^18 bytes": (_SDIST, _claiming(10**18)),
        "a member that claims 10^10 bytes": (_SDIST, _claiming(10**10)),
        "a member that claims a negative size": (_SDIST, _claiming(-(10**6))),
        "a member with more bytes than there are": (_SDIST, _claiming(10**7)),
        "a sparse member": (_SDIST, _pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "x"})),
        "a path of 16,000 folders in a tar": (_SDIST, wheels.tar_of({"a/" * 16_000 + "a": b""})),
        "120,000 members in a tar": (_SDIST, gzip.compress(tarfile.TarInfo(f"{_NAME}-1.0/a").tobuf() * 120_000, 1)),
        "100,001 empty members in a ZIP": (_WHEEL, empty_members(100_001)),
        "a member that the directory of the ZIP lacks": (_WHEEL, _with_hidden_member(_wheel())),
        "a member with another name in the directory": (_WHEEL, _wheel().replace(b"x.py", b"y.py", 1)),
        "a member with a NUL in its name": (_WHEEL, _wheel().replace(b"x.py", b"x\0py")),
        "a pax header of 1 MB": (_SDIST, _pax({"comment": "x" * (1 << 20)})),
        "5,000 different fields": (_WHEEL, _wheel(b"".join(b"X-%d: 1\n" % number for number in range(5000)))),
        "5,000 different fields behind one without a name": (
            _WHEEL,
            _wheel(b":\n" + b"".join(b"X-%d: 1\n" % number for number in range(5000))),
        ),
        "a Requires-Python of 600 KB": (_WHEEL, _wheel(b"Requires-Python: " + b">=3.1," * 100_000 + b"\n")),
        "metadata of 16 MB": (_WHEEL, _wheel(b"\n" + b"x" * (16 << 20))),
        "a version of 5,000 digits in the metadata": (_WHEEL, _wheel(meta=wheels.metadata(_NAME, "9" * 5000))),
        "a name of 5,000 letters in the metadata": (_WHEEL, _wheel(meta=wheels.metadata("a" * 5000, "1.0"))),
        "1,000 levels of MIME in the metadata": (_WHEEL, _wheel(_multipart(1000))),
        "a path of 8,000 folders in a ZIP": (_WHEEL, _wheel(more={"a/" * 8000 + "a": b""})),
        "bytes before a ZIP": (_WHEEL, b"#!/bin/sh\n" + _wheel()),
        "bytes after a ZIP": (_WHEEL, _wheel() + b"x"),
        "two ZIPs": (_WHEEL, _wheel() + _wheel()),
        "METADATA below //": (_WHEEL, _wheel(more={f"{_INFO}//METADATA": b"Name: other"})),
        "METADATA below ./": (_WHEEL, _wheel(more={f"./{_INFO}/METADATA": b"Name: other"})),
        "METADATA in other case": (_WHEEL, _wheel(more={f"{_INFO}/metadata": b"Name: other"})),
        "an encrypted member": (_WHEEL, _with_flag(_wheel(), 1)),
        "a ZIP with a false count": (_WHEEL, _wheel()[:-12] + b"\1" + _wheel()[-11:]),
        "a revision of an environment with bytes before it": (
            "ppm_env_hostile-1-py3-none-any.whl",
            b"x" + wheels.wheel("ppm-env-hostile", "1")[1],
        ),
    }


def _form(target: Target, filename: str, content: bytes) -> bytes:
    boundary = "a-boundary-of-a-test"
    disposition = "Content-Disposition: form-data; name="
    body = f'--{boundary}\r\n{disposition}":action"\r\n\r\nfile_upload\r\n'.encode()
    body += f'--{boundary}\r\n{disposition}"content"; filename="{filename}"\r\n\r\n'.encode() + content
    body += f"\r\n--{boundary}--\r\n".encode()
    kind = f"Content-Type: multipart/form-data; boundary={boundary}"
    return request(target, "POST /legacy/", kind, f"Content-Length: {len(body)}") + body


def _wheel(fields: bytes = b"", *, meta: bytes | None = None, more: dict[str, bytes] | None = None) -> bytes:
    head, _, description = _META.partition(b"\n\n")
    content = meta if meta is not None else head + b"\n" + fields + b"\n" + description
    return wheels.wheel(_NAME, "1.0", meta=content, files={"x.py": b"", **(more or {})})[1]


def _claiming(size: int) -> bytes:
    return _pax({"size": str(size)})


def _pax(headers: dict[str, str]) -> bytes:
    """Return an sdist with one more member, which has these extended headers."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo(f"{_NAME}-1.0/PKG-INFO")
        info.size = len(_META)
        archive.addfile(info, io.BytesIO(_META))
        other = tarfile.TarInfo(f"{_NAME}-1.0/other")
        other.pax_headers = headers
        archive.addfile(other)
    return gzip.compress(buffer.getvalue())


def _multipart(depth: int) -> bytes:
    heads = (f"Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n" for level in range(depth))
    return "".join(heads).encode()


def empty_members(number: int) -> bytes:
    """Return a ZIP with so many empty members, and an end of 64 bits."""
    zeros = struct.pack("<3I", 0, 0, 0)  # checksum and sizes
    members, directory = bytearray(), bytearray()
    for each in range(number):
        name = b"%06d" % each
        directory += struct.pack("<4s6H", b"PK\1\2", 20, 20, 0, 0, 0, 0x21) + zeros
        directory += struct.pack("<5H2I", len(name), 0, 0, 0, 0, 0, len(members)) + name
        members += (
            struct.pack("<4s5H", b"PK\3\4", 20, 0, 0, 0, 0x21) + zeros + struct.pack("<2H", len(name), 0) + name
        )
    where = len(directory), len(members)
    end = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, number, number, *where)
    end += struct.pack("<4sIQI", b"PK\6\7", 0, sum(where), 1)
    count = min(number, 0xFFFF)
    return bytes(members + directory) + end + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, *where, 0)


def _with_hidden_member(content: bytes) -> bytes:
    """Return a ZIP with its first member a second time, only for those who read it from its beginning."""
    start, second = content.index(b"PK\1\2"), content.index(b"PK\3\4", 4)
    changed = content[:start] + content[:second] + content[start:-6]
    return changed + struct.pack("<IH", start + second, 0)


def _with_flag(content: bytes, flag: int) -> bytes:
    """Return a ZIP whose first member has a flag, in both of its headers."""
    changed = bytearray(content)
    for at in (6, content.index(b"PK\1\2") + 8):
        changed[at] |= flag
    with zipfile.ZipFile(io.BytesIO(changed)) as archive:
        assert archive.infolist()[0].flag_bits & flag
    return bytes(changed)
