"""Wheels, sdists and the wheels of shared environments, as an index inspects them before it publishes them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator, Mapping

from support import wheels

from fuzz import scratch, zips
from ppmctl.client.simple_api import parse_page
from ppmctl.distributions import distribution, environment_wheel
from ppmctl.distributions.distribution import Dist, InvalidDistribution
from ppmctl.distributions.environment_revision import Revision
from ppmctl.index import pages
from ppmctl.index.project_folder import Folder, Record, StoredFile, now
from ppmctl.index.store import record_of

WHEEL = "x-1.0-py3-none-any.whl"
INFO = "x-1.0.dist-info"
PAGE = "https://index.test/simple/x/"


def inspected(filename: str, content: bytes) -> Dist | None:
    """Return what the product reads in a file, or None if it refuses the file."""
    path = scratch() / filename
    path.write_bytes(content)
    try:
        return distribution.inspect(path, filename)
    except InvalidDistribution:
        return None


def wheel(data: bytes) -> None:
    """Inspect a ZIP, as an sdist if it has a PKG-INFO. Every reader reads the same in an accepted one."""
    is_sdist = b"/PKG-INFO" in data
    dist = inspected("x-1.0.zip" if is_sdist else WHEEL, data)
    if dist is None:
        return
    members = zips.streamed(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == list(members)
        for name, content in members.items():
            assert archive.read(name) == content, name
    assert len({name.lower().rstrip(". ") for name in members}) == len(members)
    shown = [content for name, content in members.items() if name.endswith(("/PKG-INFO", "/METADATA"))]
    assert dist.metadata in shown


def wheel_mutate(data: bytes, most: int, seed: int) -> bytes:
    import atheris

    changed: bytes = atheris.Mutate(data, most)
    return zips.repaired(changed) if seed % 4 else changed


def wheel_seeds() -> Iterator[bytes]:
    meta = wheels.metadata("x", "1.0", requires_python=">=3.9")
    wheel_file = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    plain = {f"{INFO}/METADATA": meta, f"{INFO}/WHEEL": wheel_file, f"{INFO}/RECORD": b"", "x.py": b"1\n"}
    yield packed(plain)
    yield wheels.zip_of(plain)
    yield packed({"x-1.0/PKG-INFO": meta, "x-1.0/x.py": b""})
    yield streaming(plain)
    yield b"#!/bin/sh\n" + packed(plain)
    yield packed(plain) + b"\n"
    for path in (f"{INFO}//METADATA", f"./{INFO}/METADATA", f"{INFO}/metadata", "a/" * 8_000 + "a", "..\\x", "a\0b"):
        yield packed({**plain, path: b"Requires-Dist: other\n"})
    for path in (f"{INFO}/METADATA.", f"{INFO}/METADATA::$DATA", f"x-1.0.data/purelib/{INFO} /METADATA", "x:y"):
        yield packed({**plain, path: b"Requires-Dist: other\n"})
    yield packed(plain).replace(b"PK\1\2\x14\x00\x14\x00\x00\x00", b"PK\1\2\x14\x00\x14\x00\x01\x00", 1)
    yield packed(plain) + packed({**plain, f"{INFO}/METADATA": meta + b"Requires-Dist: other\n"})


def packed(members: Mapping[str, bytes]) -> bytes:
    """Return a ZIP whose members are stored, so that their content can be changed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, wheels.EPOCH), content)
    return buffer.getvalue()


def streaming(members: Mapping[str, bytes]) -> bytes:
    """Return a ZIP as written to a pipe: sizes and checksums follow the data of each member."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_where: int) -> int:
            raise io.UnsupportedOperation

        def tell(self) -> int:
            raise io.UnsupportedOperation

    buffer = Pipe()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, wheels.EPOCH), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def sdist(data: bytes) -> None:
    """Inspect a tar, which is packed first unless it is already. Python's own filter takes the accepted members.

    Python has that filter since 3.11.4.
    """
    data_filter = getattr(tarfile, "data_filter", lambda member, _folder: member)
    content = data if data.startswith(b"\x1f\x8b") else gzip.compress(data, 1, mtime=0)
    if inspected("x-1.0.tar.gz", content) is None:
        return
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            data_filter(member, "/unpacked")


def sdist_seeds() -> Iterator[bytes]:
    meta = wheels.metadata("x", "1.0")
    yield wheels.tar_of({"x-1.0/PKG-INFO": meta})
    yield tar(("x-1.0/PKG-INFO", meta, {}))
    yield tar(("x-1.0/PKG-INFO", meta, {}), ("x-1.0/never", b"", {"size": str(10**18)}))
    yield tar(("x-1.0/PKG-INFO", meta, {}), ("x-1.0/" + "long/" * 40 + "name", b"1", {}))
    yield tar(("x-1.0/PKG-INFO", meta, {"mtime": "1.5", "path": "x-1.0/PKG-INFO"}))
    yield tar(("x-1.0/PKG-INFO", meta, {"GNU.sparse.map": "0,1", "GNU.sparse.size": "10", "GNU.sparse.major": "1"}))
    for kind, target in ((tarfile.SYMTYPE, "../.."), (tarfile.LNKTYPE, "x-1.0/PKG-INFO"), (tarfile.FIFOTYPE, "")):
        yield tar(("x-1.0/PKG-INFO", meta, {}), ("x-1.0/link", b"", {}), kind=kind, target=target)
    yield tar(("x-1.0/PKG-INFO", meta, {}), gnu=True)


def tar(
    *members: tuple[str, bytes, dict[str, str]], kind: bytes = b"0", target: str = "", gnu: bool = False
) -> bytes:
    """Return a tar of (name, content, extended headers); the last member is of `kind`, to `target`."""
    buffer = io.BytesIO()
    form = tarfile.GNU_FORMAT if gnu else tarfile.PAX_FORMAT
    with tarfile.open(fileobj=buffer, mode="w", format=form, bufsize=512) as archive:
        for number, (name, content, headers) in enumerate(members, start=1):
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(content), headers
            if number == len(members):
                info.type, info.linkname = kind, target
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue().rstrip(b"\0") + bytes(1024)


def metadata(data: bytes) -> None:
    """Inspect the METADATA of a wheel. Record and pages of an accepted one have its values."""
    distribution.core_metadata(data)
    distribution.summary(data)
    members = {f"{INFO}/METADATA": data, f"{INFO}/WHEEL": b"Wheel-Version: 1.0\n", f"{INFO}/RECORD": b""}
    dist = inspected(WHEEL, packed(members))
    if dist is None:
        return
    assert dist.metadata == data
    record = record_of(dist, size=len(data), sha256="0" * 64, upload_time=now(), by="ops")
    assert Record.from_json(record.to_json(), path="x") == record
    rendered = pages.render_project(Folder(project="x", files=(StoredFile(filename=WHEEL, record=record),)))
    forms = ((pages.JSON_PAGE, "application/vnd.pypi.simple.v1+json"), (pages.HTML_PAGE, "text/html"))
    for name, content_type in forms:
        shown = parse_page(rendered[name], content_type=content_type, url=PAGE).files
        assert [(file.filename, file.requires_python) for file in shown] == [(WHEEL, dist.requires_python)], name


def metadata_seeds() -> Iterator[bytes]:
    yield wheels.metadata("x", "1.0", requires_python=">=3.9", summary="A thing", author="Jos\xe9")
    head = "Metadata-Version: 2.4\nName: x\nVersion: 1.0\n"
    for rest in (
        "Requires-Python: 3.7\n",
        "Requires-Python: >=3.6, !=3.9.*\n",
        "Requires-Dist: bar[a,b] (>=1.0.*) ; extra == 'c'\nProvides-Extra: c\n",
        "Description: Title\n        =====\n        \n        Some *text*.\n",
        "Description-Content-Type: text/markdown; charset=UTF-8\n\nbody\n",
        "Project-URL: Home, https://x.test/\nLicense-Expression: MIT\nLicense-File: LICENSE\nDynamic: version\n",
        "Keywords: a,b\nClassifier: Private\nPlatform: any\nObsoletes: y\nImport-Name: x\n",
        "Author: =?utf-8?q?a?= <a@x.test>\nContent-Type: multipart/mixed; boundary=a\n\n--a\n\n--a--\n",
        "".join(f"X-{number}: 1\n" for number in range(300)),
    ):
        yield (head + rest).encode()
    # small files that once cost much
    yield (head + "".join(f"X-{number}: 1\n" for number in range(5_000))).encode()
    yield (head + f"Requires-Python: {','.join(['>=3.1'] * 20_000)}\n").encode()
    yield (head + "\n" + "x" * 4_000_000).encode()
    yield head.encode() + b"Author: Jos\xe9\n"
    yield head.encode().replace(b"\n", b"\r\n")


def revision(data: bytes) -> None:
    """Read the wheel of a shared environment. An accepted one is what its values produce."""
    try:
        stored = environment_wheel.from_wheel(data)
    except InvalidDistribution:
        return
    assert environment_wheel.from_wheel(environment_wheel.to_wheel(stored)) == stored
    inspected(stored.filename, data)
    environment_wheel.read_forms(scratch() / stored.filename)


revision_mutate = wheel_mutate


def revision_seeds() -> Iterator[bytes]:
    for requirements, lock in (((), None), (("numpy>=2", "six ; python_version < '3'"), None), (("six",), LOCK)):
        made = environment_wheel.to_wheel(
            Revision(name="lab", number=3, requirements=requirements, change="add six", base=2, lock=lock)
        )
        yield made
        with zipfile.ZipFile(io.BytesIO(made)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        yield packed(members)
        about = next(name for name in members if name.endswith("env.json"))
        for key, value in (
            ("revision", 10**9),
            ("base", True),
            ("name", "L\u0130b"),
            ("change", "a\nb"),
            ("shared", 1),
        ):
            yield packed({**members, about: json.dumps({**json.loads(members[about]), key: value}).encode()})


LOCK = """\
lock-version = "1.0"
created-by = "test"
[[packages]]
name = "six"
version = "1.17.0"
[[packages.wheels]]
url = "https://index.test/six-1.17.0-py2.py3-none-any.whl"
hashes = {sha256 = "4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274"}
"""
