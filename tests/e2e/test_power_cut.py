"""A power cut at any moment of uploads loses no file that was acknowledged, and leaves none that is torn.

A server's changes of its files are traced. Each prefix of them is replayed as disks that lost what was not synced, in
several ways; then the index starts on each of these, and has every acknowledged file.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import urllib3
from support import evidence, power, servers, wheels
from support.servers import PPMCTL, Server
from support.volume_view import View

from ppmctl.index import rebuild, recovery, verify
from ppmctl.index.layout import Volume
from ppmctl.index.store import Store

MIXTURES = 2
# of an upload that nobody was told of, whose mark is lost; another upload of the name replaces it
LEFTOVER = "belongs to a file that does not exist"
TOGETHER = 4  # uploads to one project at the same moment


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """A file, and the port of the client that uploaded it."""

    project: str
    filename: str
    content: bytes
    port: int


def upload(server: Server, project: str, made: tuple[str, bytes]) -> Uploaded:
    """Upload a file over a connection of its own; fail unless the answer is 200."""
    fields: dict[str, str | tuple[str, bytes]] = {":action": "file_upload", "protocol_version": "1", "content": made}
    body, content_type = urllib3.encode_multipart_formdata(list(fields.items()))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    connection.connect()
    port: int = connection.sock.getsockname()[1]
    headers = {"Content-Type": content_type, **urllib3.make_headers(basic_auth=":".join(server.auth))}
    connection.request("POST", "/", body, headers)
    assert connection.getresponse().status == 200
    connection.close()
    return Uploaded(project=project, filename=made[0], content=made[1], port=port)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Uploaded]]:
    """Return the root and the trace of a server that took uploads, one after the other and at once."""
    folder = tmp_path_factory.mktemp("power")
    root, log = folder / "root", folder / "trace"
    server = servers.start(root, command=("strace", *power.FLAGS, "-o", str(log), *PPMCTL), wait=120)
    try:
        done = [
            upload(server, "alpha", wheels.wheel("alpha", "1.0")),
            upload(server, "alpha", wheels.sdist("alpha", "1.0")),
            upload(server, "beta", wheels.sdist("beta", "1.0")),
        ]
        barrier = threading.Barrier(TOGETHER)

        def one(number: int) -> Uploaded:
            barrier.wait()
            return upload(server, "alpha", wheels.wheel("alpha", f"2.{number}"))

        done += evidence.at_once([partial(one, number) for number in range(TOGETHER)])
        evidence.nothing_is_left(root)
    finally:
        server.kill()  # strace blocks SIGTERM
    return root, log, done


def states(traced: tuple[Path, Path, list[Uploaded]], folder: Path) -> Iterator[tuple[str, Path, list[Uploaded]]]:
    """Yield each different state of the volume after a power cut: when, its folder, and what was acknowledged."""
    root, log, uploads = traced
    by_port = {each.port: each for each in uploads}
    disk, acknowledged, seen = power.Disk(root), list[Uploaded](), set[bytes]()
    ways = power.ways(MIXTURES, evidence.seed())
    for number, event in enumerate(power.parse(log)):
        if event.answers in by_port:
            acknowledged.append(by_port[event.answers])
        elif not disk.apply(event) or not (root / "packages").exists():
            continue
        for way, lost in enumerate(ways):
            crashed = folder / f"{number}-{way}"
            disk.crashed(lost, crashed)
            if (digest := digest_of(crashed, acknowledged)) in seen:
                evidence.remove_tree(crashed)
                continue
            seen.add(digest)
            yield f"{event.call} {number}, way {way}", crashed, list(acknowledged)
    assert acknowledged, "no answer is in the trace"


def digest_of(folder: Path, acknowledged: list[Uploaded]) -> bytes:
    digest = hashlib.sha256(str(len(acknowledged)).encode())
    for path in sorted(folder.rglob("*")):
        if path.relative_to(folder).parts[0] in ("packages", "index", "incoming"):
            digest.update(str(path.relative_to(folder)).encode() + (path.read_bytes() if path.is_file() else b""))
    return digest.digest()


def test_a_power_cut_at_any_moment_loses_no_acknowledged_file(
    traced: tuple[Path, Path, list[Uploaded]], tmp_path: Path
) -> None:
    tried = 0
    for when, crashed, acknowledged in states(traced, tmp_path):
        volume = Volume(root=crashed)
        volume.prepare()
        store = Store(volume)
        recovery.repair(store)
        rebuild.rebuild(store, with_bucket=False)  # as at the first start after each boot
        store.area.close()
        view = View(root=crashed)
        for each in acknowledged:
            project = view.projects.get(each.project)
            assert project is not None, f"{when}: {each.project} is lost"
            assert each.filename in project.files, f"{when}: {each.filename} is lost"
            assert project.files[each.filename].read_bytes() == each.content, f"{when}: {each.filename} is torn"
        for project in view.projects.values():
            page = json.loads((crashed / "index/simple" / project.name / "index.json").read_bytes())
            assert sorted(file["filename"] for file in page["files"]) == sorted(project.files), when
            contents = {each.filename: each.content for each in traced[2]}
            check_files(project.files, contents, when)
        wrong = [each for each in verify.check(Store(volume), hashes=True, searches=False) if each.what != LEFTOVER]
        assert wrong == [], when
        evidence.remove_tree(crashed)
        tried += 1
    print(f"{tried} different states of the volume after a power cut")
    assert tried > 100


def check_files(files: Mapping[str, Path], contents: Mapping[str, bytes], when: str) -> None:
    """Assert that files that nobody was told of are whole too."""
    for name, path in files.items():
        assert path.read_bytes() == contents[name], f"{when}: {name} is torn"
