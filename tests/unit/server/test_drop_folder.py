"""What the watcher of `drop/` publishes and rejects. The tests call each look, without waiting."""

from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path
from unittest.mock import Mock

import pytest
from support import wheels
from support.folder_bucket import FolderBucket
from support.nodes import new_node

from ppmctl import files
from ppmctl.distributions import inspection
from ppmctl.index import project_folder
from ppmctl.index.store import Store
from ppmctl.server.drop_folder import Watcher
from ppmctl.storage import configured

REJECTED = ".rejected"
LOOKS = 3  # the third look publishes a file that has not changed


@pytest.fixture
def watcher(store: Store) -> Watcher:
    return Watcher(store)


def look(watcher: Watcher, times: int = LOOKS) -> list[str]:
    """Look so many times, and return the names that were published."""
    return [name for _ in range(times) for name in watcher.look()]


def published(store: Store, project: str) -> set[str]:
    return {file.filename for file in project_folder.read(store.volume, project).files}


def test_a_growing_file_is_not_published_early(store: Store, watcher: Watcher) -> None:
    """Half a wheel has no directory yet, and half an sdist can even look complete."""
    for name, content in (wheels.wheel("slow", "1.0"), wheels.sdist("slow", "1.0")):
        with (store.volume.drop / name).open("wb", buffering=0) as file:
            for start in range(0, len(content), 100):
                file.write(content[start : start + 100])
                assert look(watcher, LOOKS - 1) == []
        assert [path.name for path in store.volume.drop.iterdir()] == [name], "there is no file with a reason"
        assert look(watcher) == [name]
        assert (store.volume.project("slow") / name).read_bytes() == content


def test_a_file_replaced_by_one_of_the_same_length_counts_as_changed(store: Store, watcher: Watcher) -> None:
    name, content = wheels.wheel("swapped", "1.0")
    path = wheels.write(store.volume.drop, (name, b"x" * len(content)))
    look(watcher, LOOKS - 1)
    arriving = path.with_name(".arriving")
    arriving.write_bytes(content)
    os.utime(arriving, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    arriving.replace(path)
    assert look(watcher, LOOKS - 1) == []
    assert look(watcher, 1) == [name]


def test_a_strange_name_is_rejected_and_delays_no_other_file(
    store: Store, watcher: Watcher, caplog: pytest.LogCaptureFixture
) -> None:
    """A name of 255 bytes has no room for an ending, and a name can be invalid UTF-8."""
    drop = store.volume.drop
    strange = ["a" * 251 + ".whl", "漢" * 83 + ".zip", os.fsdecode(b"\xff\xfe-1.0.tar.gz")]
    for name in strange:
        (drop / name).write_bytes(b"no archive")
    wheels.write(drop, wheels.wheel("zebra", "1.0"))

    def reasons() -> list[str]:
        return sorted(path.read_text() for path in drop.iterdir() if path.name.endswith(REJECTED))

    with caplog.at_level(logging.INFO):
        assert look(watcher) == ["zebra-1.0-py3-none-any.whl"]
        assert len(reasons()) == len(strange)
        assert all("is not a filename for a distribution" in reason for reason in reasons())
        lines = [json.loads(line) for line in store.volume.audit.read_text(encoding="utf-8").splitlines()]
        assert {line["what"] for line in lines} >= set(strange)
        assert look(watcher) == []
        assert len(reasons()) == len(strange), "the reasons stay at the next looks"
        for name in strange:
            (drop / name).unlink()
        look(watcher, 1)
        assert list(drop.iterdir()) == [], "the reasons are deleted with their files"
    assert caplog.records == []


def test_hidden_files_folders_and_links_are_ignored(store: Store, watcher: Watcher) -> None:
    """rsync and others write to hidden names first."""
    drop = store.volume.drop
    name, content = wheels.wheel("hidden", "1.0")
    (drop / f".{name}.Xy12z").write_bytes(content)
    wheels.write(drop / "folder", wheels.wheel("nested", "1.0"))
    (drop / "link-1.0.tar.gz").symlink_to("/etc/passwd")
    visible = wheels.write(drop, wheels.wheel("visible", "1.0"))
    assert look(watcher) == [visible.name]
    assert sorted(path.name for path in drop.iterdir()) == sorted([f".{name}.Xy12z", "folder", "link-1.0.tar.gz"])
    assert [path.name for path in store.volume.packages.iterdir()] == ["visible"]


def test_a_broken_file_stays_with_its_reason_until_it_is_replaced(store: Store, watcher: Watcher) -> None:
    """The reason is in a file next to it, which is deleted when a valid file replaces the broken one."""
    drop = store.volume.drop
    name, content = wheels.wheel("broken", "1.0")
    broken = {
        name: (content[:-40], "not a readable archive"),
        "other-1.0.tar.gz": (wheels.sdist("broken", "1.0")[1], "'broken'"),
        "notes.txt": (b"Hello", "neither a wheel"),
    }
    for filename, (data, _reason) in broken.items():
        (drop / filename).write_bytes(data)
    assert look(watcher) == []
    for filename, (data, reason) in broken.items():
        text = (drop / (filename + REJECTED)).read_text()
        assert reason in text
        assert text.count("\n") == 1
        assert (drop / filename).read_bytes() == data
    assert list(store.volume.packages.iterdir()) == []

    arriving = drop / ".arriving"
    arriving.write_bytes(content)
    arriving.replace(drop / name)
    assert look(watcher) == [name]
    assert not (drop / (name + REJECTED)).exists()
    assert published(store, "broken") == {name}

    (drop / "notes.txt").unlink()
    look(watcher, 1)
    assert not (drop / ("notes.txt" + REJECTED)).exists(), "a reason is deleted with its file"


def test_old_metadata_is_accepted_if_clients_can_read_it(store: Store, watcher: Watcher) -> None:
    """Such a file can't be built again; unit/distributions/test_metadata_rules.py has what clients read."""
    readable = wheels.write(store.volume.drop, wheels.wheel("old", "1.0", requires_dist="foo (>=1.0.*)"))
    broken = wheels.write(store.volume.drop, wheels.wheel("old", "2.0", requires_dist="bar >1,"))
    newer = wheels.write(store.volume.drop, wheels.wheel("old", "3.0", metadata_version="2.99"))
    assert look(watcher) == [readable.name, newer.name]
    assert "Requires-Dist is 'bar >1,'" in broken.with_name(broken.name + REJECTED).read_text()
    results = [json.loads(line)["result"] for line in store.volume.audit.read_text().splitlines()]
    assert "Metadata-Version 2.99" in results[-1]


def test_the_same_file_again_is_deleted_and_other_content_is_rejected(store: Store, watcher: Watcher) -> None:
    """A nightly sync copies the same files again."""
    made = wheels.wheel("taken", "1.0")
    for _night in range(2):
        path = wheels.write(store.volume.drop, made)
        assert look(watcher) == [path.name]
        assert list(store.volume.drop.iterdir()) == []
    results = [json.loads(line)["result"] for line in store.volume.audit.read_text().splitlines()]
    assert results == ["done", "done: the index had it already"]
    wheels.write(store.volume.drop, wheels.wheel("taken", "1.0", files={"taken.py": b"other"}))
    assert look(watcher) == []
    assert "other content" in path.with_name(path.name + REJECTED).read_text()
    assert path.exists()
    assert (store.volume.project("taken") / path.name).read_bytes() == made[1]


def test_a_file_that_a_slow_disk_gives_too_late_waits(
    store: Store, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = wheels.write(store.volume.drop, wheels.wheel("x", "1.0"))
    monkeypatch.setattr(inspection, "inspect", Mock(side_effect=inspection.Busy))
    assert look(watcher) == []
    assert list(store.volume.drop.iterdir()) == [path], "there is no file with a reason"
    monkeypatch.undo()
    assert look(watcher) == [path.name]


def test_on_a_full_disk_a_file_waits(store: Store, watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    path = wheels.write(store.volume.drop, wheels.wheel("x", "1.0"))
    full = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    with monkeypatch.context() as filled:
        filled.setattr(store, "put", full)
        filled.setattr(files, "write_atomic", full)
        assert look(watcher, 2 * LOOKS) == []
    assert look(watcher) == [path.name]


def test_without_the_bucket_a_file_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = FolderBucket("memory://drop", tmp_path / "bucket")
    monkeypatch.setattr(configured, "opened", lambda _address: bucket)
    store = new_node(tmp_path / "node", "memory://drop")
    watcher = Watcher(store)
    name = wheels.write(store.volume.drop, wheels.wheel("late", "1.0")).name
    bucket.is_away = True
    assert look(watcher, 2 * LOOKS) == []
    assert [path.name for path in store.volume.drop.iterdir()] == [name], "there is no file with a reason"
    bucket.is_away = False
    assert look(watcher) == [name]
    assert published(store, "late") == {name}
    store.area.close()
