"""Parts of a drill that need no backup: the locks of environments, the sample, and what a killed one left."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
from support import environments, wheels
from support.volumes import put

from ppmctl import files
from ppmctl.backup import drill, drill_environments, drill_index, scratch
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume
from ppmctl.index.store import Store


def lock(name: str, version: str, sha256: str) -> str:
    return (
        f'lock-version = "1.0"\ncreated-by = "a test"\n\n[[packages]]\nname = "{name}"\nversion = "{version}"\n\n'
        f'[[packages.wheels]]\nurl = "http://x/{name}-{version}-py3-none-any.whl"\nhashes = {{sha256 = "{sha256}"}}\n'
    )


TAKEN = "2999-01-01T00:00:00.000000Z"


@pytest.fixture
def live(tmp_path: Path) -> Store:
    """Return the index that was backed up; by default it has nothing of what is locked."""
    volume = Volume(root=tmp_path / "live")
    volume.prepare()
    return Store(volume)


def test_a_locked_file_has_to_be_here_unless_it_was_removed_or_is_of_another_index(store: Store, live: Store) -> None:
    filename, content = wheels.wheel("hello", "1.0")
    put(store, (filename, content))
    put(store, wheels.wheel("hello", "2.0"))
    digest = hashlib.sha256(content).hexdigest()
    put(store, environments.revision("tools", 1, "hello", lock=lock("hello", "1.0", digest)))
    put(store, environments.revision("public", 1, "numpy", lock=lock("numpy", "2.0", "0" * 64)))
    found = drill_environments.check(store, live.volume, taken=TAKEN)
    assert (sorted(found.names), sorted(found.served)) == (["public", "tools"], ["public", "tools"])
    assert (found.locked_files, found.notes, found.pinned) == (1, [], {"hello": {digest}})
    store.remove("hello", "1.0")
    found = drill_environments.check(store, live.volume, taken=TAKEN)
    assert found.notes == ["tools locks hello 1.0, which was removed from the index"]
    put(store, environments.revision("tools", 2, "hello", lock=lock("hello", "2.0", "1" * 64)))
    with pytest.raises(PpmError, match=r"tools locks hello 2\.0, and the backup lacks its file"):
        drill_environments.check(store, live.volume, taken=TAKEN)


def test_a_locked_project_that_the_backup_lacks_as_a_whole_is_missing(store: Store, live: Store) -> None:
    """But not one that was published only after the backup, and was another index's before."""
    filename, content = wheels.wheel("hello", "1.0")
    digest = hashlib.sha256(content).hexdigest()
    put(store, environments.revision("tools", 1, "hello", lock=lock("hello", "1.0", digest)))
    put(live, (filename, content))
    assert drill_environments.check(store, live.volume, taken="2020-01-01T00:00:00.000000Z").locked_files == 0
    with pytest.raises(PpmError, match=r"tools locks hello 1\.0, and the backup lacks its file"):
        drill_environments.check(store, live.volume, taken=TAKEN)


def test_a_sample_has_the_newest_wheel_that_can_be_installed_here(store: Store) -> None:
    for version in ("1.0", "2.0", "3.0"):
        put(store, wheels.wheel("hello", version))
    put(store, wheels.wheel("hello", "4.0", requires_python="<3"))
    store.yank("hello", "3.0")
    put(store, wheels.wheel("windows-only", "1.0", tag="cp311-cp311-win_amd64"))
    put(store, wheels.sdist("source-only", "1.0"))
    put(store, wheels.wheel("hidden", "1.0"))
    store.set_status("hidden", "quarantined")
    (chosen,) = drill_index.choose(store, 5, Random(1))
    assert (chosen.project, chosen.version) == ("hello", "2.0")
    assert drill_index.choose(store, 0, Random(1)) == []


def test_leftovers_are_removed_and_what_a_running_drill_has_is_not(tmp_path: Path) -> None:
    (tmp_path / "ppm-drill-dead" / "volume").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    with scratch.folder(tmp_path) as own:
        assert own.stat().st_mode & 0o777 == 0o700
        assert {path.name for path in tmp_path.iterdir()} == {"other", own.name}
        assert files.is_locked(own / ".lock")
        assert scratch.remove_leftovers(tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_full_disk_is_found_before_anything_is_fetched(tmp_path: Path) -> None:
    scratch.require_space(tmp_path, 1)
    with pytest.raises(PpmError, match="are needed in"):
        scratch.require_space(tmp_path, 1 << 60)


@pytest.mark.parametrize(("disk", "left"), [(1000 << 30, 1 << 30), (5 << 30, 512 << 20), (1 << 30, 200 << 20)])
def test_a_drill_leaves_space_to_the_index_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: int, left: int
) -> None:
    """Uploads fail below 100 MB, and a drill runs for minutes."""
    needed = int((400 << 20) * 1.1) + (50 << 20)
    for free, is_enough in ((needed + left, True), (needed + left - 1, False)):
        space = SimpleNamespace(f_bavail=free, f_blocks=disk, f_frsize=1)
        monkeypatch.setattr(scratch.os, "statvfs", lambda _path, space=space: space)
        scratch.require_space(tmp_path, 400 << 20)  # as for a restore, while nothing is served
        with contextlib.nullcontext() if is_enough else pytest.raises(PpmError, match="for the index, and"):
            scratch.require_space(tmp_path, 400 << 20, is_shared=True)


def test_a_drill_looks_for_the_space_of_what_it_installs(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, wheels.wheel("hello", "1.0"))
    (chosen,) = drill_index.choose(store, 5, Random(1))
    assert chosen.size == store.volume.file("hello", "hello-1.0-py3-none-any.whl").stat().st_size

    def full(_parent: Path, size: int, *, is_shared: bool) -> None:
        raise PpmError(f"{size} of {is_shared}")

    monkeypatch.setattr(scratch, "require_space", full)
    with pytest.raises(PpmError, match=f"^{5 * chosen.size} of True"):
        drill._use(store, tmp_path, drill.Drilled(), drill_environments.Checked(), sample=5, environ={})
