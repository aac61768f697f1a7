"""What changes a volume, on a real one in a temporary folder."""

from __future__ import annotations

import json
import os
import re
import threading

import pytest
from support import wheels

from ppmctl import dists, folder, index
from ppmctl.errors import PpmError, Refused
from ppmctl.mend import mend
from ppmctl.store import NotHere, Store


def put(store: Store, made: tuple[str, bytes], **options: object) -> folder.Record:
    with store.area.new_file() as received:
        received.write(made[1])
        received.finish()
        return store.put(received, dists.inspect(received.path, made[0]), by="tester", **options)  # type: ignore[arg-type]


def page(store: Store, project: str) -> dict[str, object]:
    loaded: dict[str, object] = json.loads((store.volume.pages(project) / index.JSON_PAGE).read_bytes())
    return loaded


def listed(store: Store, project: str) -> list[str]:
    return [file["filename"] for file in page(store, project)["files"]]  # type: ignore[attr-defined]


def test_a_put_leaves_the_file_its_record_its_metadata_and_pages(store: Store) -> None:
    made = wheels.wheel("my.pkg", "1.0", requires_python=">=3.9")
    record = put(store, made)
    where = store.volume.project("my-pkg")
    assert sorted(path.name for path in where.iterdir()) == [made[0], made[0] + ".metadata", made[0] + ".upload"]
    assert (where / made[0]).read_bytes() == made[1]
    assert json.loads((where / (made[0] + ".upload")).read_bytes()) == {
        "version": "1.0",
        "size": len(made[1]),
        "sha256": record.sha256,
        "upload-time": record.upload_time,
        "uploaded-by": "tester",
        "requires-python": ">=3.9",
        "core-metadata": record.core_metadata,
        "summary": "",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record.upload_time)
    assert listed(store, "my-pkg") == [made[0]]
    assert index.marked(store.volume) == [".root"]
    assert store.root_is_old.is_set()
    store.write_root()
    assert index.marked(store.volume) == []


def test_an_sdist_has_no_metadata_file(store: Store) -> None:
    made = wheels.sdist("thing", "1.0")
    put(store, made)
    assert not store.volume.side_file("thing", made[0], ".metadata").exists()
    assert "core-metadata" not in page(store, "thing")["files"][0]  # type: ignore[index]


def test_nothing_of_a_put_stays_in_incoming(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"))
    left = [path for path in store.volume.incoming.rglob("*") if path.is_file() and path.name != ".lock"]
    assert left == []


def test_a_name_is_given_once(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"))
    with pytest.raises(Refused, match="with the same content") as same:
        put(store, wheels.wheel("x", "1.0"))
    with pytest.raises(Refused, match="with other content") as other:
        put(store, wheels.wheel("x", "1.0", files={"x.py": b"other"}))
    assert same.value.status == other.value.status == 409
    assert store.volume.file("x", "x-1.0-py3-none-any.whl").read_bytes() == wheels.wheel("x", "1.0")[1]


@pytest.mark.parametrize("kind", ["a folder", "a FIFO", "a link to nowhere"])
def test_a_name_that_something_else_has_on_the_disk_is_refused_and_nothing_is_left(store: Store, kind: str) -> None:
    """Somebody made it by hand; no record may lie beside it, and no mark stay that start-up can't take back."""
    put(store, wheels.wheel("x", "1.0"))
    store.write_root()
    made = wheels.wheel("x", "2.0")
    path = store.volume.file("x", made[0])
    {"a folder": path.mkdir, "a FIFO": lambda: os.mkfifo(path), "a link to nowhere": lambda: path.symlink_to("no")}[
        kind
    ]()
    with pytest.raises(Refused, match=f"packages/x/{made[0]} is on the volume and no file") as refusal:
        put(store, made, attestations="[]")
    assert refusal.value.status == 409
    assert sorted(entry.name for entry in store.volume.project("x").iterdir()) == [
        "x-1.0-py3-none-any.whl",
        "x-1.0-py3-none-any.whl.metadata",
        "x-1.0-py3-none-any.whl.upload",
        made[0],
    ]
    assert "x" not in index.marked(store.volume)
    assert listed(store, "x") == ["x-1.0-py3-none-any.whl"]
    path.rmdir() if kind == "a folder" else path.unlink()
    put(store, made)
    assert listed(store, "x") == ["x-1.0-py3-none-any.whl", made[0]]


def test_a_refused_put_changes_no_record(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"))
    before = {path.name: path.read_bytes() for path in store.volume.project("x").iterdir()}
    with pytest.raises(Refused):
        put(store, wheels.wheel("x", "1.0", files={"x.py": b"other"}), attestations="[]")
    assert {path.name: path.read_bytes() for path in store.volume.project("x").iterdir()} == before


def test_of_many_threads_one_wins(store: Store) -> None:
    """Fails if existence is checked before the write and not at it (pypiserver: four of four got 200)."""
    outcomes: list[object] = []
    start = threading.Barrier(12)

    def upload(number: int) -> None:
        start.wait()
        try:
            outcomes.append(put(store, wheels.wheel("x", "1.0", files={"x.py": str(number).encode()})))
        except Refused as exc:
            outcomes.append(exc.status)

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if isinstance(outcome, folder.Record)]
    assert len(winners) == 1
    assert outcomes.count(409) == 11
    assert store.read("x").files[0].record == winners[0]


def test_a_conflict_shows_the_page_that_a_dead_uploader_did_not_write(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"), show=False)
    assert not store.volume.pages("x").exists()
    with pytest.raises(Refused):
        put(store, wheels.wheel("x", "1.0"))
    assert listed(store, "x") == ["x-1.0-py3-none-any.whl"]


def test_yank_and_unyank(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"))
    put(store, wheels.sdist("x", "1.0"))
    put(store, wheels.wheel("x", "2.0"))
    assert store.yank("x", "1.0.0", "broken\non  arm") == ["x-1.0-py3-none-any.whl", "x-1.0.tar.gz"]
    yanked = {file.filename: file.yanked for file in store.read("x").files}
    assert yanked == {
        "x-1.0-py3-none-any.whl": "broken on arm",
        "x-1.0.tar.gz": "broken on arm",
        "x-2.0-py3-none-any.whl": None,
    }
    store.unyank("x", "x-1.0.tar.gz")
    assert [file["yanked"] for file in page(store, "x")["files"]] == ["broken on arm", False, False]  # type: ignore[attr-defined]


def test_a_yank_without_a_reason_is_true_in_json_and_empty_in_html(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"))
    store.yank("x", "1.0")
    assert page(store, "x")["files"][0]["yanked"] is True  # type: ignore[index]
    assert 'data-yanked=""' in (store.volume.pages("x") / index.HTML_PAGE).read_text()


def test_removal_leaves_a_tombstone(store: Store) -> None:
    made = wheels.wheel("x", "1.0")
    put(store, made)
    store.yank("x", "1.0")
    assert store.remove("x", "1.0") == [made[0]]
    assert [path.name for path in store.volume.project("x").iterdir()] == [made[0] + ".removed"]
    assert listed(store, "x") == []
    assert store.has_project("x")
    with pytest.raises(Refused, match="was removed") as refusal:
        put(store, made)
    assert refusal.value.status == 409


@pytest.mark.parametrize("state", ["archived", "quarantined"])
def test_a_closed_project_takes_nothing(store: Store, state: str) -> None:
    put(store, wheels.wheel("x", "1.0"))
    store.set_status("x", state, "see y")
    with pytest.raises(Refused, match=f"{state} and takes no uploads: see y") as refusal:
        put(store, wheels.wheel("x", "2.0"))
    assert refusal.value.status == 403
    assert page(store, "x")["project-status"] == {"status": state, "reason": "see y"}
    assert listed(store, "x") == ([] if state == "quarantined" else ["x-1.0-py3-none-any.whl"])
    store.set_status("x", "active")
    put(store, wheels.wheel("x", "2.0"))


def test_what_is_not_here_is_named(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"))
    for change in (
        lambda: store.yank("nope", "1.0"),
        lambda: store.yank("x", "9"),
        lambda: store.remove("x", "x-9.tar.gz"),
    ):
        with pytest.raises(NotHere):
            change()
    with pytest.raises(PpmError, match="'lost' is not a status"):
        store.set_status("x", "lost")


def test_a_page_that_changes_gets_a_later_second(store: Store) -> None:
    """nginx's ETag is the second and the size: two equally long changes at once must differ."""
    put(store, wheels.wheel("x", "1.0"))
    seen = set()
    for version in ("2.0", "3.0", "4.0"):
        put(store, wheels.wheel("x", version))
        store.yank("x", version, "aaaa")
        first = (store.volume.pages("x") / index.JSON_PAGE).stat()
        store.unyank("x", version)
        store.yank("x", version, "bbbb")
        second = (store.volume.pages("x") / index.JSON_PAGE).stat()
        assert first.st_size == second.st_size
        assert int(second.st_mtime) > int(first.st_mtime)
        seen |= {int(first.st_mtime), int(second.st_mtime)}
    assert len(seen) == 6


def test_a_page_that_stays_the_same_is_not_written(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"))
    before = (store.volume.pages("x") / index.JSON_PAGE).stat()
    store.refresh("x")
    assert (store.volume.pages("x") / index.JSON_PAGE).stat() == before


def test_mend_brings_pages_after_a_crash(store: Store) -> None:
    """The uploader died after the commit: start-up shows the file, and touches no other project."""
    put(store, wheels.wheel("other", "1.0"))
    before = (store.volume.pages("other") / index.JSON_PAGE).stat()
    put(store, wheels.wheel("x", "1.0"), show=False)
    assert "x" in index.marked(store.volume)
    assert mend(store).projects == ("x",)
    assert listed(store, "x") == ["x-1.0-py3-none-any.whl"]
    assert (store.volume.pages("other") / index.JSON_PAGE).stat() == before
    store.write_root()
    assert index.marked(store.volume) == []


def test_mend_sweeps_what_never_became_a_file(store: Store) -> None:
    """The uploader died before the commit: its side files and a folder that was made for it go."""
    where = store.volume.project("x")
    where.mkdir()
    (where / "x-1.0.tar.gz.upload").write_text("{}")
    index.mark(store.volume, "x")
    mend(store)
    assert not where.exists()
    assert not store.volume.pages("x").exists()


def test_mend_ends_a_removal(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"))
    store.volume.side_file("x", "x-1.0-py3-none-any.whl", ".removed").write_text("removed\n")
    index.mark(store.volume, "x")
    mend(store)
    assert [path.name for path in store.volume.project("x").iterdir()] == ["x-1.0-py3-none-any.whl.removed"]
    assert listed(store, "x") == []


def test_mend_sweeps_folders_of_the_dead_alone(store: Store) -> None:
    mine = store.area.new_file()
    dead = store.volume.incoming / "1-dead"
    dead.mkdir()
    (dead / ".lock").touch()
    (dead / "half").write_bytes(b"half a file")
    assert mend(Store(store.volume)).swept == 1
    assert not dead.exists()
    assert mine.path.exists()
    mine.discard()


def test_the_volume_may_lose_its_index_folder(store: Store) -> None:
    import shutil

    put(store, wheels.wheel("x", "1.0"))
    shutil.rmtree(store.volume.root / "index")
    put(store, wheels.wheel("x", "2.0"))
    assert listed(store, "x") == ["x-1.0-py3-none-any.whl", "x-2.0-py3-none-any.whl"]
    put(store, wheels.wheel("y", "1.0"))
    store.write_root()
    root = json.loads((store.volume.simple / index.JSON_PAGE).read_bytes())
    assert [project["name"] for project in root["projects"]] == ["x", "y"]


def test_a_damaged_status_is_mended_by_setting_one(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"))
    store.volume.status("x").write_text("garbage")
    with pytest.raises(folder.BrokenRecord) as broken:
        put(store, wheels.wheel("x", "2.0"))
    assert broken.value.hint == "ppmctl package status x active"
    store.set_status("x", "active")
    put(store, wheels.wheel("x", "2.0"))
    assert len(listed(store, "x")) == 2
