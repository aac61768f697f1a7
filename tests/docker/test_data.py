"""A volume is the same for compose, for a host and for `ppmctl serve`: what one has made, the others go on with."""

from __future__ import annotations

import io
import os
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


def give(folder: Path, uid: int, gid: int) -> None:
    """Give a volume to a user, as documents say: `chown -R`. Who is not root has it already."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, uid, gid, follow_symlinks=False)


@contextmanager
def embedded(folder: Path, auth: tuple[str, str]) -> Iterator[Embedded]:
    """`ppmctl serve` on a volume that has its users already."""
    give(folder, os.geteuid(), os.getegid())
    server = servers.start(folder)
    server.user, server.secret = auth
    try:
        yield Embedded(server=server)
    finally:
        server.stop()


@contextmanager
def on_a_host(index: Deployed, folder: Path, auth: tuple[str, str]) -> Iterator[Deployed]:
    """A host's index on a copy of the volume in `folder`. Its own volume is put back afterwards."""
    move = "find {} -mindepth 1 -maxdepth 1 -exec mv -t {} -- {{}} +"
    stop = "systemctl stop ppm.socket ppm.service"
    index.host.run(f"{stop} && mkdir {_OWN} && {move.format(ROOT, _OWN)}")
    try:
        index.host.box.put(_VOLUME, packed(folder))
        index.host.run(f"tar -C {ROOT} -xpf {_VOLUME} && chown -R ppm:ppm {ROOT}")
        index.play()
        yield replace(index, user=auth[0], secret=auth[1])
    finally:
        empty = f"find {ROOT} -mindepth 1 -delete"
        index.host.run(f"{stop} && {empty} && {move.format(_OWN, ROOT)} && rmdir {_OWN} && rm -f {_VOLUME}")
        index.host.run("systemctl start ppm.socket ppm.service")


def see(index: Served, kept: dict[str, str]) -> None:
    """All that was published is here by its hash, who had a right has it, and the next upload is taken."""
    listed = {file["filename"]: file for file in index.page(planted.PROJECT)["files"]}
    assert {name: file["hashes"]["sha256"] for name, file in listed.items()} == kept
    assert listed["planted-1.0-py3-none-any.whl"]["yanked"] == "broken"
    for name, digest in kept.items():
        assert evidence.sha256(index.get(f"/packages/{planted.PROJECT}/{name}").content) == digest
    assert index.get("/simple/", auth=(index.auth[0], "wrong")).status_code == 401
    taken = next(iter(kept))
    assert index.upload((taken, b"something else")).status_code in (400, 409), "a name is taken once"
    made = planted.fresh(planted.PROJECT)
    assert index.upload(made.file).status_code == 200
    kept[made.filename] = made.sha256
    index.ppmctl("index check")


def published(index: Served) -> dict[str, str]:
    return {file["filename"]: file["hashes"]["sha256"] for file in index.page(planted.PROJECT)["files"]}


@pytest.mark.timeout(1800)  # where nothing is there yet it also makes the images and the session's host
def test_from_compose_to_embedded_to_a_host_and_back(
    new_compose: Callable[..., Composed], deployed: Callable[[int], Deployed], tmp_path: Path
) -> None:
    folder = tmp_path / "volume"
    there = new_compose(environment=composed.settings_of(folder))
    planted.plant(there)
    there.ppmctl(f"package yank {planted.PROJECT} 1.0 --reason broken")
    kept = published(there)
    see(there, kept)
    there.compose.down()

    with embedded(folder, there.auth) as index:
        see(index, kept)

    with on_a_host(deployed(13), folder, there.auth) as made:
        see(made, kept)
        made.host.run(f"systemctl stop ppm.socket ppm.service && tar -C {ROOT} -cf {_VOLUME} .")
        volume = made.host.box.get(_VOLUME)

    again = tmp_path / "again"
    environment = composed.settings_of(again)
    with tarfile.open(fileobj=io.BytesIO(volume)) as tar:
        tar.extractall(again, filter="data")
    give(again, *OWNER)
    back = new_compose(environment=environment, up=False)
    back.secret = there.secret
    back.up()
    see(back, kept)
    before = Reads(back.wire, planted.reads_over(back.wire).answers)
    back.compose.stop(composed.APPLICATION)
    before.ask_all()


def packed(folder: Path) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        tar.add(folder, ".")
    return made.getvalue()
