"""Which files of a cache are removed: those read longest ago, until it is small enough, and no others."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from ppmctl.index import eviction, pages
from ppmctl.index.eviction import Eviction, cached_files
from ppmctl.index.layout import METADATA, RECORD, Volume


def put(volume: Volume, project: str, version: str, *, used: float, size: int = 100, record: bool = True) -> Path:
    """Make a file that was read `used` seconds ago, with the head of its project."""
    filename = f"{project.replace('-', '_')}-{version}-py3-none-any.whl"
    volume.project(project).mkdir(exist_ok=True)
    volume.head(project).parent.mkdir(parents=True, exist_ok=True)
    volume.head(project).touch()
    path = volume.file(project, filename)
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - used, 0))
    volume.side_file(project, filename, METADATA).write_bytes(bytes(size))
    if record:
        volume.side_file(project, filename, RECORD).write_text("{}")
    return path


def evict(volume: Volume, limit: int) -> list[str]:
    # a file's ctime can't be set: an hour later, all were fetched long ago
    return [Path(path).name[:3] for path in Eviction(volume, limit).evict(now=time.time() + 3600)]


def used_in_the_future(*paths: Path) -> None:
    """Set the times of use after those of the files' creation, in this order."""
    now = time.time()
    for number, path in enumerate(paths):
        os.utime(path, (now + 100 * number + 100, 0))


def test_the_files_that_were_read_longest_ago_go_until_nine_tenths_are_left(volume: Volume) -> None:
    paths = {name: put(volume, name, "1.0", used=0) for name in ("aaa", "bbb", "ccc", "ddd")}
    used_in_the_future(paths["ccc"], paths["aaa"], paths["ddd"], paths["bbb"])
    assert evict(volume, 400) == []
    assert evict(volume, 399) == ["ccc"]
    assert evict(volume, 250) == ["aaa"]
    assert not paths["aaa"].exists()
    assert volume.side_file("aaa", paths["aaa"].name, METADATA).exists()
    assert volume.side_file("aaa", paths["aaa"].name, RECORD).exists()


def test_a_file_that_was_just_read_or_fetched_stays(volume: Volume) -> None:
    put(volume, "aaa", "1.0", used=100_000)
    assert Eviction(volume, 10).evict() == []
    assert len(Eviction(volume, 10).evict(now=time.time() + 3600)) == 1


@pytest.mark.parametrize(
    ("size", "whole", "free", "removed"),
    [
        pytest.param(100, 2000, 200, 0, id="enough is free"),
        pytest.param(100, 2000, 199, 1, id="only what is lacking is removed"),
        pytest.param(10 << 30, 1 << 50, 20 << 30, 0, id="20 GiB of a large disk"),
        pytest.param(10 << 30, 1 << 50, 5 << 30, 2, id="less than 20 GiB of a large disk"),
        pytest.param(100, 10_000, 0, 3, id="other data fills the disk"),
        pytest.param(100, 10_000, 300, 2, id="other data leaves too little"),
        pytest.param(100, 10_000, 800, 1, id="other data leaves too little, of which two files are a quarter"),
        pytest.param(100, 10_000, 900, 0, id="other data leaves too little, of which all are a quarter"),
    ],
)
def test_without_a_limit_a_tenth_of_the_disk_stays_free(
    size: int, whole: int, free: int, removed: int, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("aaa", "bbb", "ccc"):
        os.truncate(put(volume, name, "1.0", used=0), size)
    space = SimpleNamespace(f_frsize=1, f_blocks=whole, f_bavail=free)
    monkeypatch.setattr(os, "statvfs", lambda _path: space)
    assert len(Eviction(volume, None).evict(now=time.time() + 3600)) == removed


def test_room_is_made_of_all_but_what_was_read_in_the_last_seconds(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eviction, "_SPARE", 0)
    for name in ("aaa", "bbb", "ccc"):
        put(volume, name, "1.0", used=0)
    soon = time.time() + 10
    assert not eviction.make_room(volume, 1000)
    assert eviction.make_room(volume, 150, now=soon)
    assert len(list(cached_files(volume))) == 1
    assert eviction.make_room(volume, 1000, now=soon)
    assert not eviction.make_room(volume, 1000, now=soon), "there is nothing more to remove"


def test_what_the_bucket_may_not_have_stays(volume: Volume) -> None:
    """A file without a record, and those of a project that was never compared with the bucket."""
    put(volume, "aaa", "1.0", used=0, record=False)
    put(volume, "bbb", "1.0", used=0)
    volume.head("bbb").unlink()
    assert list(cached_files(volume)) == []
    assert evict(volume, 10) == []


def test_a_project_whose_folder_is_gone_is_skipped(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who gets FileNotFoundError would take it for a file that the index does not have."""
    put(volume, "bbb", "1.0", used=0)
    volume.head("aaa").touch()
    monkeypatch.setattr(pages, "projects", lambda _volume: ["aaa", "bbb"])
    assert eviction.make_room(volume, 1000, now=time.time() + 10)
    assert list(cached_files(volume)) == []


def test_files_of_environments_stay(volume: Volume) -> None:
    put(volume, "ppm-env-team", "1", used=0)
    assert evict(volume, 10) == []
