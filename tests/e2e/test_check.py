"""Tests of `ppmctl index check`, which names each planted difference, and `rebuild`, which repairs what it can."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import wheels
from support.servers import ppmctl

WHEEL = wheels.wheel("one", "1.0")
PAGES = "index/simple/one"
FILE = f"packages/one/{WHEEL[0]}"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a consistent volume."""
    folder = tmp_path_factory.mktemp("sound")
    for made in (WHEEL, wheels.wheel("one", "2.0"), wheels.sdist("one", "2.0"), wheels.wheel("two", "1.0")):
        wheels.write(folder / "old", made)
    ppmctl("index", "adopt", str(folder / "old"), "--root", str(folder / "root"))
    ppmctl("package", "yank", "one", "2.0", "--reason", "old", "--root", str(folder / "root"))
    ppmctl("package", "remove", "two", "1.0", "--yes", "--root", str(folder / "root"))
    return folder / "root"


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "root"))


def differences(root: Path, *options: str, expect: int) -> list[dict[str, str]]:
    done = ppmctl("index", "check", "--json", "--root", str(root), *options, expect=expect)
    findings: list[dict[str, str]] = json.loads(done.stdout)
    return findings


def appended(path: Path, text: bytes) -> None:
    path.write_bytes(path.read_bytes() + text)


def replaced(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


@dataclass(frozen=True, kw_only=True)
class Plant:
    """A change to a volume; the path and the text that `check` must report; whether `rebuild` repairs it."""

    do: Callable[[Path], object]
    where: str
    what: str
    is_repaired: bool = True


PLANTS: dict[str, Plant] = {
    "a missing page": Plant(
        do=lambda root: (root / PAGES / "index.json").unlink(),
        where=f"{PAGES}/index.json",
        what="does not match",
    ),
    "an altered page": Plant(
        do=lambda root: replaced(root / PAGES / "index.html", b"sha256=", b"sha256=0"),
        where=f"{PAGES}/index.html",
        what="does not match the project's folder",
    ),
    "a missing packed page": Plant(
        do=lambda root: (root / PAGES / "index.json.gz").unlink(),
        where=f"{PAGES}/index.json.gz",
        what="does not match",
    ),
    "no pages of a project": Plant(
        do=lambda root: shutil.rmtree(root / PAGES), where=f"{PAGES}/index.html", what="does not match"
    ),
    "no index at all": Plant(
        do=lambda root: shutil.rmtree(root / "index"), where="index/simple/index.json", what="does not list"
    ),
    "pages of nobody": Plant(
        do=lambda root: shutil.copytree(root / PAGES, root / "index/simple/ghost"),
        where="index/simple/ghost",
        what="project that does not exist",
    ),
    "a list without a project": Plant(
        do=lambda root: replaced(root / "index/simple/index.json", b'{"name":"one"},', b""),
        where="index/simple/index.json",
        what="does not list the projects",
    ),
    "a mark": Plant(
        do=lambda root: (root / "index/pending/one").touch(), where="index/pending/one", what="may be old"
    ),
    "an altered file": Plant(
        do=lambda root: replaced(root / FILE, b"PK\x05\x06", b"PK\x05\x07"),
        where=FILE,
        what="sha256",
        is_repaired=False,
    ),
    "a longer file": Plant(do=lambda root: appended(root / FILE, b"x"), where=FILE, what="bytes", is_repaired=False),
    "a missing file": Plant(
        do=lambda root: (root / FILE).unlink(), where=f"{FILE}.upload", what="does not exist", is_repaired=False
    ),
    "a missing record": Plant(do=lambda root: (root / f"{FILE}.upload").unlink(), where=FILE, what="has no record"),
    "a record that is none": Plant(
        do=lambda root: (root / f"{FILE}.upload").write_text("{"), where=FILE, what="can't be read"
    ),
    "a record of another": Plant(
        do=lambda root: replaced(root / f"{FILE}.upload", b'"version": "1.0"', b'"version": "9.0"'),
        where=FILE,
        what="another file's record",
        is_repaired=False,
    ),
    "missing metadata": Plant(
        do=lambda root: (root / f"{FILE}.metadata").unlink(), where=f"{FILE}.metadata", what="missing"
    ),
    "altered metadata": Plant(
        do=lambda root: appended(root / f"{FILE}.metadata", b"x"),
        where=f"{FILE}.metadata",
        what="not the metadata that was published",
        is_repaired=False,
    ),
    "a provenance without attestations": Plant(
        do=lambda root: (root / f"{FILE}.provenance").write_text("{}"),
        where=f"{FILE}.provenance",
        what="is not made of the attestations beside it",
    ),
    "a side file of nobody": Plant(
        do=lambda root: (root / "packages/one/one-9.0.tar.gz.yanked").touch(),
        where="packages/one/one-9.0.tar.gz.yanked",
        what="file that does not exist",
        is_repaired=False,
    ),
    "a file beside the projects": Plant(
        do=lambda root: shutil.copy(root / FILE, root / "packages" / WHEEL[0]),
        where=f"packages/{WHEEL[0]}",
        what="not in a project's folder",
        is_repaired=False,
    ),
    "a folder that is no project": Plant(
        do=lambda root: (root / "packages/Not_Normal").mkdir(),
        where="packages/Not_Normal",
        what="not the normalised name",
        is_repaired=False,
    ),
    "something else in a project": Plant(
        do=lambda root: (root / "packages/one/notes.txt").write_text("x"),
        where="packages/one/notes.txt",
        what="is not a distribution",
        is_repaired=False,
    ),
    "a file of another project": Plant(
        do=lambda root: [
            shutil.copy(root / f"{FILE}{suffix}", root / f"packages/two/{WHEEL[0]}{suffix}")
            for suffix in ("", ".upload", ".metadata")
        ],
        where=f"packages/two/{WHEEL[0]}",
        what="another project's folder",
        is_repaired=False,
    ),
    "a removed file that is here": Plant(
        do=lambda root: (root / f"{FILE}.removed").write_text("x"),
        where=FILE,
        what="was removed, but still exists",
        is_repaired=False,
    ),
    "a status that is none": Plant(
        do=lambda root: (root / "packages/one/.status").write_text("{"),
        where="packages/one",
        what="not the status of a project",
        is_repaired=False,
    ),
}


def test_a_consistent_volume_has_no_differences(root: Path) -> None:
    """Exit 0 and no output; also after a rebuild, which changes nothing."""
    assert differences(root, expect=0) == []

    def times() -> dict[Path, int]:
        """Return when files were changed, except the search index, which is always made again."""
        files = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("search.sqlite3"))
        return {path: path.stat().st_mtime_ns for path in files}

    before = times()
    assert (
        ppmctl("index", "rebuild", "--root", str(root)).stdout == "2 projects, 0 with new pages, 0 files recorded.\n"
    )
    assert times() == before, "what is right is not written again"


@pytest.mark.parametrize("plant", PLANTS)
def test_each_difference_is_named_and_repaired_if_possible(plant: str, root: Path) -> None:
    """Exit 1; `rebuild` repairs a difference if and only if the report names it as the repair."""
    planted = PLANTS[plant]
    planted.do(root)
    reported = differences(root, expect=1)
    named = [item for item in reported if item["where"] == planted.where and planted.what in item["what"]]
    assert named, reported
    assert all(item["repair"] for item in reported)
    assert any(item["repair"] == "ppmctl index rebuild" for item in named) == planted.is_repaired
    done = ppmctl("index", "check", "--root", str(root), expect=1)
    assert f"{planted.where} " in done.stdout
    if planted.is_repaired:
        ppmctl("index", "rebuild", "--root", str(root))
        assert differences(root, expect=0) == []


def test_the_printed_repair_of_altered_metadata_works(root: Path) -> None:
    """Do what `check` prints: delete the side file and rebuild."""
    appended(root / f"{FILE}.metadata", b"x")
    item, search = differences(root, expect=1)
    assert search["where"] == "index/search.sqlite3"
    assert item["repair"] == "delete it and run: ppmctl index rebuild"
    (root / item["where"]).unlink()
    ppmctl("index", "rebuild", "--root", str(root))
    assert differences(root, expect=0) == []


def test_quick_does_not_read_files(root: Path) -> None:
    """--quick compares sizes: it finds a longer file and not an altered one."""
    replaced(root / FILE, b"PK\x05\x06", b"PK\x05\x07")
    assert differences(root, "--quick", expect=0) == []
    appended(root / FILE, b"x")
    assert differences(root, "--quick", expect=1)


def test_a_rebuild_restores_all_derived_files(root: Path) -> None:
    """Without records and pages, all that can be read from the files is restored, with the same hashes."""
    before = json.loads((root / PAGES / "index.json").read_bytes())
    shutil.rmtree(root / "index")
    for path in (root / "packages").rglob("*"):
        if path.name.endswith((".upload", ".metadata")):
            path.unlink()
    done = ppmctl("index", "rebuild", "--root", str(root))
    assert done.stdout == "2 projects, 2 with new pages, 3 files recorded.\n"
    assert differences(root, expect=0) == []
    after = json.loads((root / PAGES / "index.json").read_bytes())
    assert after["meta"].pop("_last-serial") >= before["meta"].pop("_last-serial")
    for page in (before, after):
        for file in page["files"]:
            del file["upload-time"]
    assert after == before


def test_a_rebuild_names_files_that_it_can_not_record(root: Path) -> None:
    """A broken file without a record is not listed, is named, and the exit code is 1."""
    (root / "packages/one/one-3.0.tar.gz").write_bytes(b"broken")
    done = ppmctl("index", "rebuild", "--root", str(root), expect=1)
    assert "one-3.0.tar.gz" in done.stderr
    assert "not a readable archive" in done.stderr
    page = json.loads((root / PAGES / "index.json").read_bytes())
    assert len(page["files"]) == 3
