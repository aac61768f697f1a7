"""One project from a backup: what is missing or damaged comes back, nothing else changes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import wheels
from support.volumes import put

from ppmctl.backup import partial
from ppmctl.backup.partial import ProjectRestored
from ppmctl.index import verify
from ppmctl.index.layout import Volume
from ppmctl.index.store import Store


@pytest.fixture
def saved(tmp_path: Path) -> Iterator[Store]:
    """Return the volume of a backup."""
    volume = Volume(root=tmp_path / "saved")
    volume.prepare()
    store = Store(volume)
    yield store
    store.area.close()


def bring_back(store: Store, saved: Store, name: str) -> ProjectRestored:
    done = ProjectRestored(snapshot="s", project=name)
    partial._merge(store, saved.volume, name, done)
    store.write_root()
    assert [item.what for item in verify.check(store, hashes=True, searches=False)] == []
    return done


def test_other_content_of_the_same_name_stays(store: Store, saved: Store) -> None:
    """As after the folder was deleted by hand, and its file was published again."""
    filename = put(saved, wheels.wheel("hello", "1.0"))
    put(store, wheels.wheel("hello", "1.0", files={"other.py": b""}))
    now = store.volume.file("hello", filename).read_bytes()
    done = bring_back(store, saved, "hello")
    assert done.left == {filename: "has been published with other content since"}
    assert store.volume.file("hello", filename).read_bytes() == now


def test_a_missing_project_comes_back_with_its_status_tombstones_and_yanks(store: Store, saved: Store) -> None:
    removed, yanked = put(saved, wheels.wheel("hello", "1.0")), put(saved, wheels.wheel("hello", "2.0"))
    saved.remove("hello", "1.0")
    saved.yank("hello", "2.0", "bad")
    saved.set_status("hello", "quarantined", "odd")
    done = bring_back(store, saved, "hello")
    assert done.restored == [yanked]
    content = store.read("hello")
    assert (content.status.state, content.removed) == ("quarantined", (removed,))
    assert [file.yanked for file in content.files] == ["bad"]
    assert (store.volume.quarantined("hello") / yanked).exists()
    assert not store.volume.file("hello", yanked).exists()


def test_what_was_removed_or_changed_since_the_backup_stays_so(store: Store, saved: Store) -> None:
    for each in (store, saved):
        for version in ("1.0", "2.0", "3.0"):
            put(each, wheels.wheel("hello", version))
    saved.yank("hello", "2.0")
    removed = store.remove("hello", "1.0")
    (lost,) = (file.filename for file in store.read("hello").files if file.record.version == "3.0")
    shutil.rmtree(saved.volume.simple)
    for suffix in (".upload", ".metadata"):
        store.volume.side_file("hello", lost, suffix).unlink()
    done = bring_back(store, saved, "hello")
    assert list(done.left) == removed
    assert done.restored == [lost]
    assert [file.yanked for file in store.read("hello").files] == [None, None]
