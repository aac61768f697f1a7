"""A distribution of 1 GiB goes in and out without its server growing, and lies on the disk once."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from requests_toolbelt import MultipartEncoder
from support import large
from support.servers import Server

GIB = 1 << 30
MEMORY = 100_000_000  # bytes, of each of the server's processes
BESIDE = 8 << 20  # bytes on the disk besides the file: records, pages, credentials, the audit
NAME = "gigantic"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Gone at the end, unlike pytest's own: a run leaves no gigabytes."""
    path = tmp_path / "large"
    path.mkdir()
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("make", [large.wheel, large.sdist], ids=["wheel", "sdist"])
def test_a_gigabyte_in_and_out(folder: Path, serve: Callable[..., Server], make: Callable[..., Path]) -> None:
    """Guards against a body that is held in memory, or spooled a second time (cgi and waitress each do).

    One copy: what the server receives is what is linked into place. Files that have no name any more count,
    for that is what a spooled body is.
    """
    path = make(folder, NAME, "1.0", size=GIB)
    spool = folder / "tmp"
    spool.mkdir()
    server = serve("--upstream", "none", root=folder / "root", environ={"TMPDIR": str(spool)})
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = path.stat().st_size
    assert size > GIB

    large.forget_peaks(server)
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

    large.forget_peaks(server)
    with large.watched(server) as disk:
        assert downloaded(server, listed[0]["filename"]) == digest
    print(f"download: {memory(server)}")
    assert max(large.peaks(server).values()) < MEMORY
    assert disk.size < size + BESIDE


def uploaded(server: Server, path: Path, digest: str) -> None:
    with path.open("rb") as file:
        form = MultipartEncoder(
            {
                ":action": "file_upload",
                "protocol_version": "1",
                "sha256_digest": digest,
                "content": (path.name, file, "application/octet-stream"),
            }
        )
        answer = requests.post(
            server.url + "/", data=form, headers={"Content-Type": form.content_type}, auth=server.auth, timeout=600
        )
    assert answer.status_code == 200, answer.text


def downloaded(server: Server, filename: str) -> str:
    digest = hashlib.sha256()
    with server.get(f"/packages/{NAME}/{filename}", stream=True, timeout=600) as answer:
        assert answer.status_code == 200
        for chunk in answer.iter_content(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def memory(server: Server) -> str:
    return " and ".join(f"{peak / 1e6:.1f} MB" for peak in large.peaks(server).values()) + " of memory"
