"""Tests that a gigabyte is uploaded and downloaded with little memory of the server, and one copy on the disk."""

from __future__ import annotations

import hashlib
import http.client
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from support import large
from support.servers import Server

MIB = 1 << 20
MEMORY = 100_000_000  # bytes, for each of the server's processes
BESIDE = 8 * MIB  # bytes on the disk in addition to the file: records, pages, credentials, the audit
NAME = "gigantic"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder that is deleted at the end, unlike pytest's, so that a run leaves no gigabytes."""
    path = tmp_path / "large"
    path.mkdir()
    yield path
    shutil.rmtree(path)


# a file held in memory or written twice shows if it is larger than both bounds
@pytest.mark.parametrize(
    ("make", "least"), [(large.wheel, 1024 * MIB), (large.sdist, 256 * MIB)], ids=["wheel", "sdist"]
)
def test_a_large_file_is_uploaded_and_downloaded(
    folder: Path, serve: Callable[..., Server], make: Callable[..., Path], least: int
) -> None:
    """Guards against a body held in memory, or spooled a second time (as cgi and waitress do).

    One copy: the received file is linked into place. Unlinked files count too, since a spooled body is one.
    """
    path = make(folder, NAME, "1.0", size=least)
    spool = folder / "tmp"
    spool.mkdir()
    server = serve("--upstream", "none", root=folder / "root", environ={"TMPDIR": str(spool)}, warm=False)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = path.stat().st_size
    assert size > least

    large.reset_peaks(server)
    with large.watched(server) as disk:
        uploaded(server, path, digest)
    path.unlink()
    print(f"upload: {memory(server)}, {disk.size - size} bytes beside the file, {disk.files} files at most")
    assert max(large.peaks(server).values()) < MEMORY
    assert disk.looks > 5
    assert size <= disk.size < size + BESIDE
    assert list(spool.iterdir()) == []
    listed = server.page(NAME)["files"]
    assert [(file["hashes"]["sha256"], file["size"]) for file in listed] == [(digest, size)]

    large.reset_peaks(server)
    with large.watched(server) as disk:
        assert downloaded(server, listed[0]["filename"]) == digest
    print(f"download: {memory(server)}")
    assert max(large.peaks(server).values()) < MEMORY
    assert disk.size < size + BESIDE


def uploaded(server: Server, path: Path, digest: str) -> None:
    form = {":action": "file_upload", "protocol_version": "1", "sha256_digest": digest}
    request = requests.Request("POST", server.url, data=form, files={"content": (path.name, b"<>")}, auth=server.auth)
    prepared = request.prepare()
    assert isinstance(prepared.body, bytes)
    before, after = prepared.body.split(b"<>")
    prepared.headers["Content-Length"] = str(len(before) + path.stat().st_size + len(after))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    connection.putrequest("POST", "/")
    for name, value in prepared.headers.items():
        connection.putheader(name, value)
    connection.endheaders(before)
    with path.open("rb") as file:
        connection.sock.sendfile(file)  # without reading it into this process
    connection.send(after)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()


def downloaded(server: Server, filename: str) -> str:
    digest = hashlib.sha256()
    with server.get(f"/packages/{NAME}/{filename}", stream=True, timeout=600) as answer:
        assert answer.status_code == 200
        for chunk in answer.iter_content(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def memory(server: Server) -> str:
    return " and ".join(f"{peak / 1e6:.1f} MB" for peak in large.peaks(server).values()) + " of memory"
