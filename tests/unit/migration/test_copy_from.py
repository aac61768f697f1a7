"""A copy of a bucket counts as complete only if the volume has every file, also if its disk was full meanwhile."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import volumes, wheels
from support.nodes import new_node

from ppmctl.index import eviction
from ppmctl.index.fetched import Fetcher
from ppmctl.index.layout import Volume
from ppmctl.migration import copy_from, shared_files
from ppmctl.storage.bucket import Bucket

PROJECTS = ("alpha", "beta", "gamma")


@pytest.fixture
def target(tmp_path: Path) -> Volume:
    """Return an empty volume for a copy of a bucket with three projects."""
    address = f"memory://{tmp_path.name}-copied"
    node = new_node(tmp_path / "node", address)
    for project in PROJECTS:
        volumes.put(node, wheels.wheel(project, "1.0"))
    return Volume(root=tmp_path / "copy", storage=address)


def paths(target: Volume) -> list[Path]:
    return [target.file(project, wheels.wheel(project, "1.0")[0]) for project in PROJECTS]


def test_a_copy_to_a_full_disk_removes_nothing_and_is_not_complete(
    target: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for the last file would be made of those that were copied before. It is complete when it is repeated."""
    monkeypatch.setattr(copy_from, "_AT_ONCE", 1)
    monkeypatch.setattr(eviction, "_JUST_READ", 0.0)
    download: Callable[[Fetcher, str, Path], str] = Fetcher._download
    failed: list[str] = []

    def fail_once(self: Fetcher, key: str, path: Path) -> str:
        if "gamma-1.0" in key and not failed:
            failed.append(key)
            time.sleep(0.05)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return download(self, key, path)

    monkeypatch.setattr(Fetcher, "_download", fail_once)
    done = copy_from.copy(target)
    assert not done.is_complete
    assert [problem.partition(" of ")[0] for problem in done.problems] == [
        "gamma: There is no space left on the disk"
    ]
    assert [path.exists() for path in paths(target)] == [True, True, False]
    assert not target.copied_from.exists()
    assert copy_from.copy(target).is_complete
    assert all(path.exists() for path in paths(target))


@pytest.mark.parametrize("suffix", ["", ".metadata"])
def test_a_copy_that_lost_a_file_before_its_end_is_not_complete(
    target: Volume, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that ran for a moment may have removed it, to make room."""
    lost = Path(f"{paths(target)[1]}{suffix}")
    fetch = shared_files.fetch

    def fetch_and_lose(volume: Volume, bucket: Bucket) -> None:
        fetch(volume, bucket)
        lost.unlink()

    with monkeypatch.context() as patched:
        patched.setattr(shared_files, "fetch", fetch_and_lose)
        done = copy_from.copy(target)
    assert not done.is_complete
    assert done.problems == [f"beta: {lost.name} is not on the volume any more: copy again."]
    assert not target.copied_from.exists()
    assert copy_from.copy(target).is_complete
    assert lost.exists()
