"""The files of quarantined projects are not where they are served from, whatever happened to a process."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import wheels
from support.environments import revision

from ppmctl.distributions import distribution
from ppmctl.errors import PpmError, Refused
from ppmctl.index import pages, quarantine, verify
from ppmctl.index.layout import Volume
from ppmctl.index.rebuild import rebuild
from ppmctl.index.recovery import repair
from ppmctl.index.search_index import SearchIndex
from ppmctl.index.store import Store

WHEEL, SDIST = wheels.wheel("evil", "1.0"), wheels.sdist("evil", "1.0")
SERVED = {WHEEL[0], WHEEL[0] + ".metadata", WHEEL[0] + ".provenance", SDIST[0]}
RECORDS = {WHEEL[0] + ".upload", SDIST[0] + ".upload", WHEEL[0] + ".attestations"}


def put(store: Store, made: tuple[str, bytes], **options: Any) -> None:
    with store.area.new_file() as received:
        received.write(made[1])
        received.finish()
        dist = distribution.inspect(received.path, made[0])
        store.put(received, dist, by="ann", **options)


def in_packages(store: Store) -> set[str]:
    return {path.name for path in store.volume.project("evil").iterdir()} - {".status"}


def in_quarantine(store: Store) -> set[str]:
    folder = store.volume.quarantined("evil")
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def listed(store: Store, project: str = "evil") -> set[str]:
    page = json.loads((store.volume.pages(project) / pages.JSON_PAGE).read_bytes())
    return {file["filename"] for file in page["files"]}


def problems(store: Store) -> list[str]:
    store.write_root()
    SearchIndex(store).refresh()
    return [f"{each.where} {each.what}" for each in verify.check(store, hashes=True)]


@pytest.fixture
def filled(store: Store) -> Store:
    put(store, WHEEL, attestations=wheels.attestations(WHEEL))
    put(store, SDIST)
    return store


def test_no_file_of_a_quarantined_project_is_where_files_are_served_from(filled: Store) -> None:
    """Its records stay, so that its name stays in use; the folder with its files is for the server's user alone."""
    filled.set_status("evil", "quarantined", "malware")
    assert in_packages(filled) == RECORDS
    assert in_quarantine(filled) == SERVED
    assert filled.volume.quarantine.stat().st_mode & 0o777 == 0o700
    assert filled.volume.quarantined("evil").stat().st_mode & 0o777 == 0o700
    assert filled.has_project("evil")
    assert not filled.has_file("evil", WHEEL[0])
    assert [file.filename for file in filled.read("evil").files] == [WHEEL[0], SDIST[0]]
    assert listed(filled) == set()
    assert problems(filled) == []
    filled.set_status("evil", "quarantined", "another reason")
    assert in_quarantine(filled) == SERVED


@pytest.mark.parametrize("state", ["active", "archived", "deprecated"])
def test_the_end_of_a_quarantine_restores_the_files(filled: Store, state: str) -> None:
    before = {path.name: (path.read_bytes(), path.stat()) for path in filled.volume.project("evil").iterdir()}
    filled.set_status("evil", "quarantined")
    filled.set_status("evil", state)
    after = {path.name: (path.read_bytes(), path.stat()) for path in filled.volume.project("evil").iterdir()}
    after.pop(".status")
    assert {name: content for name, (content, _) in after.items()} == {
        name: content for name, (content, _) in before.items()
    }
    times = {name: (entry.st_mtime_ns, entry.st_mode) for name, (_, entry) in after.items()}
    assert times == {name: (entry.st_mtime_ns, entry.st_mode) for name, (_, entry) in before.items()}
    assert list(filled.volume.quarantine.iterdir()) == []
    assert listed(filled) == {WHEEL[0], SDIST[0]}
    assert problems(filled) == []


@pytest.mark.parametrize("state", ["quarantined", "active"])
@pytest.mark.parametrize("moved", range(5))
def test_a_move_that_was_interrupted_is_completed(filled: Store, state: str, moved: int) -> None:
    """Whichever of the files were moved when the process died, and in which direction: none loses its record."""
    was, names = ("active" if state == "quarantined" else "quarantined"), sorted(SERVED)
    filled.set_status("evil", was)
    pages.mark(filled.volume, "evil")
    filled.volume.status("evil").write_text(json.dumps({"state": state, "reason": ""}))
    here, there = filled.volume.project("evil"), filled.volume.quarantined("evil")
    source, target = (here, there) if state == "quarantined" else (there, here)
    target.mkdir(parents=True, exist_ok=True)
    for name in names[:moved]:
        (source / name).rename(target / name)
    assert repair(Store(filled.volume)).projects == ("evil",)
    is_quarantined = state == "quarantined"
    assert in_quarantine(filled) == (SERVED if is_quarantined else set())
    assert in_packages(filled) == (RECORDS if is_quarantined else RECORDS | SERVED)
    assert listed(filled) == (set() if is_quarantined else {WHEEL[0], SDIST[0]})
    assert problems(filled) == []


def test_the_quarantine_of_an_older_release_is_repaired_at_the_start(filled: Store) -> None:
    """It left the files where they are served from. Later starts do not look at all projects again."""
    put(filled, wheels.wheel("good", "1.0"))
    filled.volume.status("evil").write_text('{"state": "quarantined", "reason": "malware"}\n')
    assert in_packages(filled) >= SERVED
    assert repair(Store(filled.volume)).projects == ("evil",)
    assert in_packages(filled) == RECORDS
    assert in_quarantine(filled) == SERVED
    assert listed(filled) == set()
    assert problems(filled) == []
    filled.volume.status("good").write_text('{"state": "quarantined", "reason": ""}\n')
    assert repair(Store(filled.volume)).projects == ()


def test_a_start_with_a_damaged_status_repairs_the_others(filled: Store) -> None:
    put(filled, wheels.wheel("damaged", "1.0"))
    filled.volume.status("damaged").write_text("garbage")
    filled.volume.status("evil").write_text('{"state": "quarantined", "reason": ""}\n')
    repair(Store(filled.volume))
    assert in_quarantine(filled) == SERVED


def test_rebuild_makes_the_provenance_of_the_attestations(filled: Store) -> None:
    """Also for a file of a quarantined project; none for attestations of another file, which older releases took."""
    path = filled.volume.side_file("evil", WHEEL[0], ".provenance")
    made = path.read_bytes()
    fault = f"packages/evil/{WHEEL[0]}.provenance is not made of the attestations beside it"
    for content in (None, b"{}"):
        path.unlink() if content is None else path.write_bytes(content)
        pages.refresh(filled.volume, "evil")
        assert problems(filled) == [fault]
        rebuild(filled)
        assert path.read_bytes() == made
        assert problems(filled) == []
    filled.volume.side_file("evil", WHEEL[0], ".attestations").write_text(wheels.attestations(SDIST))
    assert problems(filled) == [fault]
    filled.set_status("evil", "quarantined")
    rebuild(filled)
    assert not (filled.volume.quarantined("evil") / path.name).exists()
    filled.volume.side_file("evil", WHEEL[0], ".attestations").write_text(wheels.attestations(WHEEL))
    rebuild(filled)
    assert (filled.volume.quarantined("evil") / path.name).read_bytes() == made
    assert problems(filled) == []


def test_check_finds_and_rebuild_moves_files_in_the_wrong_folder(filled: Store) -> None:
    """A status that was changed by hand, or restored from a backup without the files."""
    filled.volume.status("evil").write_text('{"state": "quarantined", "reason": ""}\n')
    wrong = "is in the wrong folder: the project's status is quarantined"
    assert {f"packages/evil/{name} {wrong}" for name in SERVED} <= set(problems(filled))
    assert rebuild(filled).problems == []
    assert in_quarantine(filled) == SERVED
    assert problems(filled) == []
    filled.volume.status("evil").unlink()
    wrong = "is in the wrong folder: the project's status is active"
    assert {f"quarantine/evil/{name} {wrong}" for name in SERVED} <= set(problems(filled))
    assert rebuild(filled).problems == []
    assert in_packages(filled) == SERVED | RECORDS
    assert problems(filled) == []


def test_check_finds_what_is_wrong_with_files_in_quarantine(filled: Store) -> None:
    filled.set_status("evil", "quarantined")
    folder = filled.volume.quarantined("evil")
    (folder / SDIST[0]).write_bytes(b"x" * len(SDIST[1]))
    (folder / f"{WHEEL[0]}.metadata").write_bytes(b"other")
    (filled.volume.quarantine / "nothing").mkdir()
    assert problems(filled) == [
        "quarantine/nothing belongs to a project that does not exist",
        f"quarantine/evil/{WHEEL[0]}.metadata is not the metadata that was published",
        f"quarantine/evil/{SDIST[0]} does not have the sha256 of its record",
    ]


def test_rebuild_completes_the_side_files_of_a_quarantined_project(filled: Store) -> None:
    filled.set_status("evil", "quarantined")
    (filled.volume.quarantined("evil") / f"{WHEEL[0]}.metadata").unlink()
    filled.volume.side_file("evil", SDIST[0], ".upload").unlink()
    done = rebuild(filled)
    assert (done.recorded, done.problems) == ([f"evil/{SDIST[0]}"], [])
    assert in_quarantine(filled) == SERVED
    assert in_packages(filled) == RECORDS
    assert problems(filled) == []


def test_an_admin_yanks_and_removes_in_quarantine(filled: Store) -> None:
    """The way to clean a project: then the quarantine ends, and the rest is served again."""
    filled.set_status("evil", "quarantined")
    filled.yank("evil", SDIST[0], "old")
    assert filled.remove("evil", WHEEL[0]) == [WHEEL[0]]
    assert in_quarantine(filled) == {SDIST[0]}
    assert problems(filled) == []
    filled.set_status("evil", "active")
    assert listed(filled) == {SDIST[0]}
    filled.set_status("evil", "quarantined")
    filled.remove("evil", SDIST[0])
    assert not filled.volume.quarantined("evil").exists()
    assert in_packages(filled) == {f"{WHEEL[0]}.removed", f"{SDIST[0]}.removed"}
    filled.set_status("evil", "active")
    with pytest.raises(Refused, match="was removed"):
        put(filled, WHEEL)
    assert problems(filled) == []


def test_a_removal_that_was_interrupted_in_quarantine_is_completed(filled: Store) -> None:
    filled.set_status("evil", "quarantined")
    filled.volume.side_file("evil", WHEEL[0], ".removed").write_text("removed\n")
    pages.mark(filled.volume, "evil")
    repair(filled)
    assert in_quarantine(filled) == {SDIST[0]}
    assert problems(filled) == []


def test_a_file_in_quarantine_counts_as_published(filled: Store) -> None:
    """An import that is repeated skips it, and does not report it."""
    sha256 = next(file.record.sha256 for file in filled.read("evil").files if file.filename == WHEEL[0])
    filled.set_status("evil", "quarantined")
    assert filled.holds(distribution.parse_filename(WHEEL[0]), sha256)
    with pytest.raises(Refused, match="quarantined and takes no uploads"):
        put(filled, WHEEL)


def test_an_environment_in_quarantine_keeps_its_log_and_comes_back(store: Store) -> None:
    put(store, revision("ml", 1, "numpy", shared=True))
    top = store.volume.environment("ml")
    store.set_status("ppm-env-ml", "quarantined")
    assert sorted(path.name for path in top.iterdir()) == ["log.json"]
    log = json.loads((top / "log.json").read_bytes())
    assert (log["owner"], log["shared"], log["status"], log["latest"]) == ("ann", True, "quarantined", None)
    assert problems(store) == []
    store.set_status("ppm-env-ml", "active")
    assert (top / "latest" / "requirements.txt").read_text().endswith("numpy\n")
    assert problems(store) == []


def test_a_deleted_folder_of_a_project_does_not_free_its_files(filled: Store) -> None:
    """Without the folder the status is unknown, and nothing is served again by itself."""
    filled.set_status("evil", "quarantined")
    folder = filled.volume.project("evil")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    pages.mark(filled.volume, "evil")
    repair(filled)
    assert in_quarantine(filled) == SERVED
    assert not folder.exists()


def test_a_volume_without_quarantine_has_no_folder_for_it(filled: Store, volume: Volume) -> None:
    filled.set_status("evil", "archived")
    quarantine.place(volume, "evil")
    assert not volume.quarantine.exists()


def test_an_unusable_quarantine_is_reported_before_the_start(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only when an admin needs it."""
    filled.set_status("evil", "quarantined")
    monkeypatch.setattr("os.access", lambda path, _mode: path != filled.volume.quarantine)
    with pytest.raises(PpmError, match="/quarantine"):
        filled.volume.check()
