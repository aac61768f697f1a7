"""`index adopt` with what a folder can have besides files: links, FIFOs, and names that change meanwhile."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from support import wheels

from ppmctl import regular_file
from ppmctl.distributions import inspection
from ppmctl.index import import_folder
from ppmctl.index.import_folder import Adopted
from ppmctl.index.store import Store


@pytest.fixture
def old(tmp_path: Path) -> Path:
    folder = tmp_path / "old"
    wheels.write(folder, wheels.wheel("good", "1.0"))
    return folder


def adopted(store: Store, folder: Path, *, hard_links: bool) -> tuple[set[str], dict[str, str]]:
    """Return the files that were taken, and the reasons for the others by name."""
    done: Adopted = import_folder.adopt(store, folder, hard_links=hard_links)
    return set(done.taken), {left.path.name: left.reason for left in done.left}


def kinds(store: Store) -> set[str]:
    """Return the kinds of everything in the projects' folders: "-" is a regular file."""
    return {stat.filemode(path.lstat().st_mode)[0] for path in store.volume.packages.rglob("*") if not path.is_dir()}


both = pytest.mark.parametrize("hard_links", [False, True])


@both
def test_a_link_becomes_the_file_that_it_leads_to(
    store: Store, old: Path, tmp_path: Path, *, hard_links: bool
) -> None:
    """Also through another link, and if the old folder itself is named by a link."""
    real = wheels.write(old / "pool", wheels.wheel("linked", "1.0")).rename(old / "pool" / "stored")
    name = wheels.wheel("linked", "1.0")[0]
    (old / name).symlink_to("pool/stored")
    (old / "deep").mkdir()
    (old / "deep" / wheels.wheel("good", "1.0")[0]).symlink_to(f"../{wheels.wheel('good', '1.0')[0]}")
    (tmp_path / "named").symlink_to(old)
    taken, left = adopted(store, tmp_path / "named", hard_links=hard_links)
    assert taken == {wheels.wheel("good", "1.0")[0], name}
    assert set(left) == {"stored"}
    published = store.volume.file("linked", name)
    assert (published.stat().st_ino == real.stat().st_ino) is hard_links
    assert published.read_bytes() == real.read_bytes()
    assert kinds(store) == {"-"}


@both
def test_what_is_no_file_of_the_folder_is_left_with_the_reason(
    store: Store, old: Path, tmp_path: Path, *, hard_links: bool
) -> None:
    outside = wheels.write(tmp_path / "private", wheels.wheel("private", "1.0"))
    (old / outside.name).symlink_to(outside)
    (old / "a-1.0-py3-none-any.whl").symlink_to("nowhere")
    (old / "b-1.0-py3-none-any.whl").symlink_to("b-1.0-py3-none-any.whl")
    (old / "c-1.0-py3-none-any.whl").symlink_to("/dev/zero")
    (old / "d-1.0-py3-none-any.whl").symlink_to("/proc/self/environ")
    (old / "folder").symlink_to(tmp_path / "private")
    (old / "here").symlink_to(".")
    os.mkfifo(old / "e-1.0-py3-none-any.whl")
    (old / "f-1.0-py3-none-any.whl").symlink_to("e-1.0-py3-none-any.whl")
    taken, left = adopted(store, old, hard_links=hard_links)
    assert taken == {wheels.wheel("good", "1.0")[0]}
    out, nothing = "a link out of the folder; put the file itself there", "a link to no file"
    assert left == {
        outside.name: out,
        "a-1.0-py3-none-any.whl": nothing,
        "b-1.0-py3-none-any.whl": nothing,
        "c-1.0-py3-none-any.whl": out,
        "d-1.0-py3-none-any.whl": out,
        "folder": out,
        "here": "a link to a folder; what is in that folder is taken from there",
        "e-1.0-py3-none-any.whl": "not a regular file",
        "f-1.0-py3-none-any.whl": nothing,
    }
    assert kinds(store) == {"-"}
    assert sorted(path.name for path in store.volume.packages.iterdir()) == ["good"]


@both
@pytest.mark.parametrize("kind", ["a link", "a link to a folder", "a FIFO"])
def test_a_file_that_is_replaced_while_it_is_read_is_left(
    store: Store, old: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, *, hard_links: bool
) -> None:
    """Between the check of a name and the open; a user of the old folder can try as often as he likes."""
    private = wheels.write(tmp_path / "private" / "nested", wheels.wheel("good", "1.0", files={"x.py": b"private"}))
    name = private.name
    (old / "nested").mkdir()
    (old / name).rename(old / "nested" / name)
    real = regular_file.open_below

    def replaced(top: Path, path: Path) -> Any:
        if kind == "a link to a folder":
            (old / "nested").rename(old / ".nested")
            (old / "nested").symlink_to(tmp_path / "private" / "nested")
        else:
            (old / "nested" / name).unlink()
            if kind == "a link":
                (old / "nested" / name).symlink_to(private)
            else:
                os.mkfifo(old / "nested" / name)
        return real(top, path)

    monkeypatch.setattr(regular_file, "open_below", replaced)
    assert adopted(store, old, hard_links=hard_links) == (set(), {name: "not a regular file"})
    assert not store.volume.project("good").exists()


def test_a_file_that_a_slow_disk_gives_too_late_is_left(
    store: Store, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "inspect", Mock(side_effect=inspection.Busy("slow")))
    assert adopted(store, old, hard_links=False) == (set(), {wheels.wheel("good", "1.0")[0]: "slow"})


def test_old_metadata_is_taken_if_clients_can_read_it(store: Store, old: Path) -> None:
    """Nobody builds the files of an old folder again. A file that the index has is the same, whatever it says."""
    latin = "Metadata-Version: 1.1\nName: old\nVersion: 4.0\nAuthor: Jos\xe9\n".encode("latin-1")
    made = [
        wheels.wheel("old", "1.0", requires_dist="foo (>=1.0.*)"),
        wheels.wheel("old", "2.0", requires_python="UNKNOWN"),
        wheels.wheel("old", "3.0", requires_python="3.7"),
        wheels.wheel("old", "4.0", meta=latin),
        wheels.sdist("old", "4.0", meta=latin),
    ]
    paths = [wheels.write(old, one).name for one in made]
    taken, left = adopted(store, old, hard_links=False)
    assert taken == {wheels.wheel("good", "1.0")[0], paths[0], paths[1], paths[4]}
    assert {name: reason.partition(": its ")[2] for name, reason in left.items()} == {
        paths[2]: "Requires-Python is '3.7', and not a list of versions such as >=3.9 (PEP 440).",
        paths[3]: "metadata is not UTF-8: byte 0xe9 in the field Author.",
    }
    assert [file.record.requires_python for file in store.read("old").files] == [None] * 3
    assert len(import_folder.adopt(store, old, hard_links=False).same) == len(taken)
