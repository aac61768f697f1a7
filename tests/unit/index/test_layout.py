"""The paths of a volume: no name leads out of it, even if a caller does not check the name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ppmctl import files
from ppmctl.errors import PpmError
from ppmctl.index import environment_list, pages, rebuild, verify
from ppmctl.index.layout import ROOT_MARK, ROOT_WRITING_MARK, InvalidName, Volume
from ppmctl.index.store import Store

NAMES = (
    *("", ".", "..", "/", "/etc", "../x", "x/../y", "x/", "/x", "x\0", "x\n", "x y", "X", "x_y", "x.y", "x--y", "-x"),
    *("x-", "\udc80", "é", "x" * 201, "9" * 5_000, "..\\x", "~", "*", ROOT_MARK + "x", "\u0661"),
)
FILES = ("", ".", "..", "/x-1.0.zip", "../x-1.0.zip", "x/../y", "x\0.zip", ".status", "é-1.0.zip", "x" * 256, "x\n")

OF_A_NAME: dict[str, Callable[[Volume, str], object]] = {
    "project": lambda volume, name: volume.project(name),
    "file": lambda volume, name: volume.file(name, "x-1.0.zip"),
    "side file": lambda volume, name: volume.side_file(name, "x-1.0.zip", ".upload"),
    "status": lambda volume, name: volume.status(name),
    "pages": lambda volume, name: volume.pages(name),
    "environment": lambda volume, name: volume.environment(name),
    "mark": lambda volume, name: volume.mark(name),
    "lock": lambda volume, name: volume.lock(name),
}


@pytest.mark.parametrize("path", OF_A_NAME)
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_that_is_not_normalised_has_no_path(volume: Volume, path: str, name: str) -> None:
    with pytest.raises(InvalidName) as refused:
        OF_A_NAME[path](volume, name)
    assert refused.value.status == 404
    assert len(refused.value.message) < 500


@pytest.mark.parametrize("name", FILES, ids=ascii)
def test_a_name_that_no_file_can_have_has_no_path(volume: Volume, name: str) -> None:
    for path in (lambda: volume.file("x", name), lambda: volume.side_file("x", name, ".upload")):
        with pytest.raises(InvalidName):
            path()


def test_valid_names_are_below_their_folders(volume: Volume) -> None:
    assert volume.file("a-1", "A_1-1.0+x!2.tar.gz") == volume.root / "packages/a-1/A_1-1.0+x!2.tar.gz"
    assert volume.project("x" * 200).parent == volume.packages
    for mark in (ROOT_MARK, ROOT_WRITING_MARK, "x"):
        assert volume.mark(mark).parent == volume.pending


CHANGES: dict[str, Callable[[Store, str], object]] = {
    "read": lambda store, name: store.read(name),
    "has a project": lambda store, name: store.has_project(name),
    "has a file": lambda store, name: store.has_file(name, "x-1.0.zip"),
    "yank": lambda store, name: store.yank(name, "1.0"),
    "unyank": lambda store, name: store.unyank(name, "1.0"),
    "remove": lambda store, name: store.remove(name, "1.0"),
    "status": lambda store, name: store.set_status(name, "archived"),
    "refresh": lambda store, name: store.refresh(name),
}


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_written_for_a_name_that_leads_out(store: Store, tmp_path: Path, change: str) -> None:
    """The folder of another index on the same machine, by its absolute path."""
    other = tmp_path / "other" / "packages" / "x"
    other.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    for name in (str(other), f"../../{other.relative_to(tmp_path)}"):
        with pytest.raises(PpmError) as refused:
            CHANGES[change](store, name)
        assert refused.value.status == 404
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("version", ["9" * 5_000, "1!" + "9" * 5_000, "1." * 5_000, "\0", "1.0" + "\udc80", ""])
def test_a_version_that_no_release_has_is_not_found(store: Store, version: str) -> None:
    store.volume.project("x").mkdir()
    with pytest.raises(PpmError) as refused:
        store.remove("x", version)
    assert refused.value.status == 404
    assert len(refused.value.message) < 1_000


def test_folders_that_are_no_projects_are_ignored(store: Store) -> None:
    """A folder that an administrator made by hand must not break lists, checks or repairs."""
    for name in ("Not_Normal", "lost+found", "ppm-env-Not_Normal", "ppm-env-", "x"):
        (store.volume.packages / name).mkdir()
    (store.volume.simple / "Not_Normal").mkdir()
    (store.volume.packages / "x" / "a b.txt").touch()
    assert store.projects() == ["x"]
    assert not environment_list.Listing(store).page(after="", limit=9, owner=None).environments
    (problem,) = rebuild.rebuild(store).problems
    assert problem.startswith("x/a b.txt: 'a b.txt' is not a filename for a distribution")
    assert not (store.volume.simple / "Not_Normal").exists()
    found = {(each.where, each.what) for each in verify.check(store, hashes=True)}
    assert found == {
        ("packages/Not_Normal", "is not the normalised name of a project"),
        ("packages/lost+found", "is not the normalised name of a project"),
        ("packages/ppm-env-Not_Normal", "is not the normalised name of a project"),
        ("packages/ppm-env-", "is not the normalised name of a project"),
        ("packages/x/a b.txt", "is not a distribution"),
    }
    assert b"Not_Normal" not in (store.volume.simple / pages.JSON_PAGE).read_bytes()


def test_the_folders_of_a_new_volume_are_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a power failure could take them, with all files in them."""
    synced: set[Path] = set()
    monkeypatch.setattr(files, "sync_folder", synced.add)
    root = tmp_path / "volume"
    Volume(root=root).prepare()
    assert synced == {tmp_path, root, root / "index"}
    synced.clear()
    Volume(root=root).prepare()
    assert synced == set()
