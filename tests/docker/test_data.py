"""A volume can move between compose, a host and `ppmctl serve`: each continues with the data of the others."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support import composed, evidence, planted, servers
from support.composed import OWNER, Composed
from support.deployed import ROOT, Deployed
from support.load import Reads
from support.served import Embedded, Served

_VOLUME, _OWN = "/root/volume.tar", "/root/own"


def change_owner(folder: Path, uid: int, gid: int) -> None:
    """Change the owner of a volume, as documented: `chown -R`. Without root, the user owns it already."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, uid, gid, follow_symlinks=False)


@contextmanager
def embedded(folder: Path, auth: tuple[str, str]) -> Iterator[Embedded]:
    """Run `ppmctl serve` on a volume that has users."""
    change_owner(folder, os.geteuid(), os.getegid())
    server = servers.start(folder)
    server.user, server.secret = auth
    try:
        yield Embedded(server=server)
    finally:
        server.stop()


@contextmanager
def on_a_host(index: Deployed, folder: Path, auth: tuple[str, str]) -> Iterator[Deployed]:
    """Run a host's index on a copy of the volume in `folder`. Its own volume is restored afterwards."""
    move = "find {} -mindepth 1 -maxdepth 1 -exec mv -t {} -- {{}} +"
    stop = "systemctl stop ppm.socket ppm.service"
    index.host.run(f"{stop} && mkdir {_OWN} && {move.format(ROOT, _OWN)}")
    try:
        index.host.box.put(_VOLUME, as_tar(folder))
        index.host.run(f"tar -C {ROOT} -xpf {_VOLUME} && chown -R ppm:ppm {ROOT}")
        index.play()
        yield replace(index, user=auth[0], secret=auth[1])
    finally:
        empty = f"find {ROOT} -mindepth 1 -delete"
        index.host.run(f"{stop} && {empty} && {move.format(_OWN, ROOT)} && rmdir {_OWN} && rm -f {_VOLUME}")
        index.host.run("systemctl start ppm.socket ppm.service")


def require_content(index: Served, hashes: dict[str, str]) -> None:
    """Fail unless all published files are served, credentials work, and a new upload succeeds."""
    listed = {file["filename"]: file for file in index.page(planted.PROJECT)["files"]}
    assert {name: file["hashes"]["sha256"] for name, file in listed.items()} == hashes
    assert listed["planted-1.0-py3-none-any.whl"]["yanked"] == "broken"
    for name, digest in hashes.items():
        assert evidence.sha256(index.get(f"/packages/{planted.PROJECT}/{name}").content) == digest
    assert index.get("/simple/", auth=(index.auth[0], "wrong")).status_code == 401
    taken = next(iter(hashes))
    assert index.upload((taken, b"something else")).status_code in (400, 409), "a name is taken once"
    made = planted.fresh(planted.PROJECT)
    assert index.upload(made.file).status_code == 200
    hashes[made.filename] = made.sha256
    index.ppmctl("index check")


def published(index: Served) -> dict[str, str]:
    return {file["filename"]: file["hashes"]["sha256"] for file in index.page(planted.PROJECT)["files"]}


@pytest.mark.timeout(1800)  # in a new session it also makes the images and the host
def test_from_compose_to_embedded_to_a_host_and_back(
    new_compose: Callable[..., Composed], deployed: Callable[[int], Deployed], tmp_path: Path
) -> None:
    folder = tmp_path / "volume"
    first = new_compose(environment=composed.settings_of(folder))
    planted.plant(first)
    first.ppmctl(f"package yank {planted.PROJECT} 1.0 --reason broken")
    hashes = published(first)
    require_content(first, hashes)
    first.compose.down()

    with embedded(folder, first.auth) as index:
        require_content(index, hashes)

    with on_a_host(deployed(13), folder, first.auth) as made:
        require_content(made, hashes)
        made.host.run(f"systemctl stop ppm.socket ppm.service && tar -C {ROOT} -cf {_VOLUME} .")
        volume = made.host.box.get(_VOLUME)

    second_folder = tmp_path / "again"
    environment = composed.settings_of(second_folder)
    second_folder.mkdir(exist_ok=True)
    subprocess.run(["tar", "-C", str(second_folder), "-xf", "-"], input=volume, check=True, timeout=60)
    change_owner(second_folder, *OWNER)
    back = new_compose(environment=environment, up=False)
    back.secret = first.secret
    back.up()
    require_content(back, hashes)
    before = Reads(back.wire, planted.reads_over(back.wire).answers)
    back.compose.stop(composed.APPLICATION)
    before.ask_all()


def as_tar(folder: Path) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        tar.add(folder, ".")
    return made.getvalue()
