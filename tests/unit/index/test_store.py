"""What changes a volume, on a real one in a temporary folder."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import wheels

from ppmctl import files
from ppmctl.distributions import distribution
from ppmctl.errors import PpmError, Refused
from ppmctl.index import pages, project_folder, transaction
from ppmctl.index.recovery import mend
from ppmctl.index.store import NotHere, Store


def put(store: Store, made: tuple[str, bytes], **options: object) -> project_folder.Record:
    with store.area.new_file() as received:
        received.write(made[1])
        received.finish()
        return store.put(received, distribution.inspect(received.path, made[0]), by="tester", **options)  # type: ignore[arg-type]


def page(store: Store, project: str) -> dict[str, object]:
    loaded: dict[str, object] = json.loads((store.volume.pages(project) / pages.JSON_PAGE).read_bytes())
    return loaded


def listed(store: Store, project: str) -> list[str]:
    return [file["filename"] for file in page(store, project)["files"]]  # type: ignore[attr-defined]


def test_a_put_leaves_the_file_its_record_its_metadata_and_pages(store: Store) -> None:
    made = wheels.wheel("my.pkg", "1.0", requires_python=">=3.9")
    record = put(store, made)
    where = store.volume.project("my-pkg")
    assert sorted(path.name for path in where.iterdir()) == [made[0], made[0] + ".metadata", made[0] + ".upload"]
    assert {path.stat().st_mode & 0o777 for path in where.iterdir()} == {0o644}, "the web server reads them too"
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
    assert pages.marked(store.volume) == [".root"]
    assert store.root_is_old.is_set()
    store.write_root()
    assert pages.marked(store.volume) == []


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
    assert "x" not in pages.marked(store.volume)
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
    winners = [outcome for outcome in outcomes if isinstance(outcome, project_folder.Record)]
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
    assert 'data-yanked=""' in (store.volume.pages("x") / pages.HTML_PAGE).read_text()


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
        first = (store.volume.pages("x") / pages.JSON_PAGE).stat()
        store.unyank("x", version)
        store.yank("x", version, "bbbb")
        second = (store.volume.pages("x") / pages.JSON_PAGE).stat()
        assert first.st_size == second.st_size
        assert int(second.st_mtime) > int(first.st_mtime)
        seen |= {int(first.st_mtime), int(second.st_mtime)}
    assert len(seen) == 6


def test_a_page_that_stays_the_same_is_not_written(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"))
    page = store.volume.pages("x") / pages.JSON_PAGE
    before = page.stat()
    store.refresh("x")
    after = page.stat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns), "reading it counts for nothing"


def test_mend_brings_pages_after_a_crash(store: Store) -> None:
    """The uploader died after the commit: start-up shows the file, and touches no other project."""
    put(store, wheels.wheel("other", "1.0"))
    before = (store.volume.pages("other") / pages.JSON_PAGE).stat()
    put(store, wheels.wheel("x", "1.0"), show=False)
    assert "x" in pages.marked(store.volume)
    assert mend(store).projects == ("x",)
    assert listed(store, "x") == ["x-1.0-py3-none-any.whl"]
    assert (store.volume.pages("other") / pages.JSON_PAGE).stat() == before
    store.write_root()
    assert pages.marked(store.volume) == []


def test_mend_sweeps_what_never_became_a_file(store: Store) -> None:
    """The uploader died before the commit: its side files and a folder that was made for it go."""
    where = store.volume.project("x")
    where.mkdir()
    (where / "x-1.0.tar.gz.upload").write_text("{}")
    pages.mark(store.volume, "x")
    mend(store)
    assert not where.exists()
    assert not store.volume.pages("x").exists()


def test_mend_ends_a_removal(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"))
    store.volume.side_file("x", "x-1.0-py3-none-any.whl", ".removed").write_text("removed\n")
    pages.mark(store.volume, "x")
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
    root = json.loads((store.volume.simple / pages.JSON_PAGE).read_bytes())
    assert [project["name"] for project in root["projects"]] == ["x", "y"]


def test_a_damaged_status_is_mended_by_setting_one(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"))
    store.volume.status("x").write_text("garbage")
    with pytest.raises(project_folder.BrokenRecord) as broken:
        put(store, wheels.wheel("x", "2.0"))
    assert broken.value.hint == "ppmctl package status x active"
    store.set_status("x", "active")
    put(store, wheels.wheel("x", "2.0"))
    assert len(listed(store, "x")) == 2


# the order of one put


@contextlib.contextmanager
def recorded(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Record what is synced, renamed and linked on the volume; a temporary name is "new"."""
    done: list[str] = []

    def shown(path: object) -> str:
        relative = str(Path(os.fsdecode(path)).relative_to(store.volume.root))  # type: ignore[arg-type]
        return re.sub(r"^incoming/.*|/\.[^/]*\.tmp$", "/new", relative).removeprefix("/")

    def wrap(name: str, words: Callable[..., str]) -> None:
        original = getattr(os, name)

        def call(*arguments: object, **options: object) -> object:
            done.append(words(*arguments))
            return original(*arguments, **options)

        monkeypatch.setattr(os, name, call)

    wrap("fsync", lambda descriptor: f"sync {shown(Path(f'/proc/self/fd/{descriptor}').readlink())}")
    wrap("link", lambda _source, target: f"link {shown(target)}")
    wrap("replace", lambda _source, target: f"rename {shown(target)}")
    yield done
    monkeypatch.undo()


def test_a_put_is_durable_before_it_is_seen_and_seen_before_it_returns(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/decisions.md, "Power cuts": content, side files and names are synced; pages are derived, and are not."""
    put(store, wheels.sdist("other", "1.0"))  # the process's folder in incoming/ is there
    made = wheels.wheel("x", "1.0")
    page = ["rename index/simple/x/index.json", "rename index/simple/x/index.html"]
    files_of = [f"rename packages/x/{made[0]}{suffix}" for suffix in (".metadata", ".upload", ".attestations")]
    with recorded(store, monkeypatch) as done:
        put(store, made, attestations="[]")
    assert done == [
        *["sync new"] * 4,
        *files_of,
        f"link packages/x/{made[0]}",
        "sync packages",
        "sync packages/x",
        *page,
    ]
    made = wheels.sdist("x", "1.0")
    with recorded(store, monkeypatch) as done:
        put(store, made)
    synced = ["sync new"] * 2
    assert done == [
        *synced,
        f"rename packages/x/{made[0]}.upload",
        f"link packages/x/{made[0]}",
        "sync packages/x",
        *page,
    ]


def test_a_yank_and_a_status_are_durable(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = wheels.wheel("x", "1.0")
    put(store, made)
    changes: dict[str, Callable[[], object]] = {
        f"packages/x/{made[0]}.yanked": lambda: store.yank("x", "1.0"),
        "packages/x/.status": lambda: store.set_status("x", "deprecated"),
        f"packages/x/{made[0]}.removed": lambda: store.remove("x", "1.0"),
    }
    for path, change in changes.items():
        with recorded(store, monkeypatch) as done:
            change()
        assert done[:3] == ["sync packages/x/new", f"rename {path}", "sync packages/x"]
        assert done[3:], path
        assert done[-1] in ("rename index/simple/x/index.html", "sync packages/x"), path


def test_a_removed_file_leaves_its_page_before_it_goes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads the page finds its files; and what a crash leaves in between is removed at the next start."""
    made = wheels.wheel("x", "1.0")
    put(store, made)
    refresh, seen = pages.refresh, []

    def look(*arguments: object) -> None:
        refresh(*arguments)  # type: ignore[arg-type]
        seen.append((listed(store, "x"), store.has_file("x", made[0])))

    monkeypatch.setattr(pages, "refresh", look)
    store.remove("x", "1.0")
    assert seen[0] == ([], True)
    assert not store.has_file("x", made[0])
    removed = store.volume.side_file("x", made[0], ".removed").read_text()
    assert re.fullmatch(r"removed \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\n", removed)


# a disk that fills up


def fails(*_arguments: object, **_options: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("at", ["a side file", "the link", "the pages"])
@pytest.mark.parametrize("is_new", [True, False], ids=["new project", "known project"])
def test_a_put_that_the_disk_has_no_room_for_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, at: str, is_new: bool
) -> None:
    """docs/decisions.md, "A full disk is taken back": no page has shown the file, and the next try works."""
    if not is_new:
        put(store, wheels.wheel("x", "0.1"))
    store.write_root()
    before = contents(store)
    made = wheels.wheel("x", "1.0")
    with monkeypatch.context() as full:
        if at == "a side file":
            full.setattr(Path, "replace", fails)
        elif at == "the link":
            full.setattr(os, "link", fails)
        else:
            full.setattr(files, "replacement", contextlib.contextmanager(fails))
        with pytest.raises(OSError, match="No space left"):
            put(store, made, attestations="[]")
    assert contents(store) == before
    assert pages.marked(store.volume) == ([".root"] if is_new else []), "the list may have been written meanwhile"
    assert store.root_is_old.is_set() or not is_new
    put(store, made)
    assert made[0] in listed(store, "x")


def contents(store: Store) -> dict[str, bytes]:
    """The files of the volume but for locks and marks, and its folders of projects."""
    root = store.volume.root
    found = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    kept = {path: found[path] for path in found if not path.startswith(("locks/", "index/pending/"))}
    kept = {path: content for path, content in kept.items() if not path.endswith(".lock")}
    return kept | {f"{folder.relative_to(root)}/": b"" for folder in store.volume.packages.iterdir()}


def test_a_disk_that_fills_up_between_pages_changes_neither(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, wheels.wheel("x", "1.0"))
    before = contents(store)
    original, made = files.replacement, []

    @contextlib.contextmanager
    def replacement(path: Path, *arguments: object, **options: object) -> Iterator[Path]:
        made.append(path.name)
        if pages.HTML_PAGE in made:  # and the disk stays full
            fails()
        with original(path, *arguments, **options) as temporary:  # type: ignore[arg-type]
            yield temporary

    monkeypatch.setattr(files, "replacement", replacement)
    with pytest.raises(OSError, match="No space left"):
        put(store, wheels.wheel("x", "2.0"))
    assert made[:2] == [pages.JSON_PAGE, pages.HTML_PAGE]
    assert contents(store) == before


# leftovers


def test_side_files_of_an_upload_that_died_are_not_those_of_the_next(store: Store) -> None:
    """Its mark may be gone with index/: what lay beside the name before is replaced or removed."""
    made = wheels.wheel("x", "1.0")
    put(store, wheels.wheel("x", "0.1"))
    for suffix in (".attestations", ".metadata", ".upload"):
        store.volume.side_file("x", made[0], suffix).write_text("of a dead one")
    record = put(store, made)
    assert not store.volume.side_file("x", made[0], ".attestations").exists()
    assert project_folder.read_record(store.volume, "x", made[0]) == record
    assert b"Name: x" in store.volume.side_file("x", made[0], ".metadata").read_bytes()


@pytest.mark.parametrize(
    ("left", "stays"),
    [
        (["x-2.0.tar.gz.upload", "x-2.0.tar.gz.metadata", "x-2.0.tar.gz.attestations", "x-2.0.tar.gz.yanked"], []),
        ([".x-1.0.tar.gz.0123456789ab.tmp"], []),
        ([".status", "x-2.0.tar.gz.removed"], [".status", "x-2.0.tar.gz.removed"]),
        (["x-2.0.tar.gz.removed", "x-2.0.tar.gz", "x-2.0.tar.gz.upload"], ["x-2.0.tar.gz.removed"]),
    ],
)
def test_every_change_puts_right_what_a_dead_process_left(store: Store, left: list[str], stays: list[str]) -> None:
    """A change takes the mark back, and nobody would look again: docs/volume.md."""
    put(store, wheels.sdist("x", "1.0"))
    store.volume.pages("x").joinpath(".index.json.0123456789ab.tmp").touch()
    for name in left:
        (store.volume.project("x") / name).write_text('{"state": "active"}')
    pages.mark(store.volume, "x")
    store.write_root()
    store.root_is_old.clear()
    store.unyank("x", "1.0")
    there = sorted(path.name for path in store.volume.project("x").iterdir())
    assert there == sorted(["x-1.0.tar.gz", "x-1.0.tar.gz.upload", *stays])
    assert sorted(path.name for path in store.volume.pages("x").iterdir()) == ["index.html", "index.json"]
    assert pages.marked(store.volume) == [".root"]
    assert store.root_is_old.is_set()


@pytest.mark.parametrize("change", ["refresh", "status", "yank", "put", "remove"])
def test_whatever_changes_a_project_settles_it_first(store: Store, change: str) -> None:
    put(store, wheels.sdist("x", "1.0"))
    (store.volume.project("x") / "x-2.0.tar.gz.upload").write_text("{}")
    pages.mark(store.volume, "x")
    changes: dict[str, Callable[[], object]] = {
        "refresh": lambda: store.refresh("x"),
        "status": lambda: store.set_status("x", "active"),
        "yank": lambda: store.yank("x", "1.0"),
        "put": lambda: put(store, wheels.sdist("x", "3.0")),
        "remove": lambda: store.remove("x", "1.0"),
    }
    changes[change]()
    assert not (store.volume.project("x") / "x-2.0.tar.gz.upload").exists()
    assert "x" not in pages.marked(store.volume)


def test_a_change_that_fails_leaves_no_mark_and_no_old_page(store: Store) -> None:
    """NotHere is raised in the middle of a change: the pages are then as the folder is."""
    put(store, wheels.wheel("x", "1.0"))
    (store.volume.pages("x") / pages.JSON_PAGE).unlink()
    with pytest.raises(NotHere):
        store.yank("x", "2.0")
    assert pages.marked(store.volume) == [".root"]
    assert listed(store, "x") == ["x-1.0-py3-none-any.whl"]


# what is told


def test_a_put_may_have_its_time_and_a_long_summary_is_cut(store: Store) -> None:
    record = put(
        store,
        wheels.wheel("x", "1.0", summary="s" * 600),
        upload_time="2020-01-02T03:04:05.000006Z",
        attestations='["attested"]',
    )
    assert record.upload_time == page(store, "x")["files"][0]["upload-time"] == "2020-01-02T03:04:05.000006Z"  # type: ignore[index]
    assert record.summary == "s" * 500
    assert store.volume.side_file("x", "x-1.0-py3-none-any.whl", ".attestations").read_text() == '["attested"]'


def test_a_project_that_is_known_leaves_the_list_as_it_is(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"))
    assert store.root_is_old.is_set()
    store.write_root()
    assert not store.root_is_old.is_set()
    put(store, wheels.wheel("x", "2.0"))
    assert not store.root_is_old.is_set()
    assert pages.marked(store.volume) == []
    put(store, wheels.wheel("y", "1.0"), show=False)
    assert store.root_is_old.is_set()
    assert pages.marked(store.volume) == [".root", "y"]
    assert store.projects() == ["x", "y"]


def test_what_holds_a_file_is_its_name_and_content(store: Store) -> None:
    made = wheels.wheel("x", "1.0")
    record = put(store, made)
    name = distribution.parse_filename(made[0])
    assert store.holds(name, record.sha256)
    assert not store.holds(name, "0" * 64)
    assert not store.holds(distribution.parse_filename("x-2.0-py3-none-any.whl"), record.sha256)
    store.volume.file("x", made[0]).unlink()
    assert not store.holds(name, record.sha256)
    store.volume.file("x", made[0]).touch()
    store.volume.side_file("x", made[0], ".upload").write_text("broken")
    assert not store.holds(name, record.sha256)


@pytest.mark.parametrize(
    ("was", "state", "may"),
    [
        ("active", "archived", True),
        ("archived", "active", True),
        ("active", "quarantined", False),
        ("quarantined", "active", False),
    ],
)
def test_a_status_may_be_limited_to_some(store: Store, was: str, state: str, may: bool) -> None:
    """An owner takes an environment out of use and back, and not out of the hands of an admin."""
    put(store, wheels.wheel("x", "1.0"))
    store.set_status("x", was, "because\n of  it")
    before = store.volume.status("x").read_bytes()
    assert json.loads(before) == {"state": was, "reason": "because of it"}
    if may:
        assert store.set_status("x", state, among=("active", "archived")) == project_folder.Status(state=state)
        assert store.read("x").status == project_folder.Status(state=state)
    else:
        with pytest.raises(Refused, match="Only an admin takes x out of, or into, the status quarantined") as refused:
            store.set_status("x", state, among=("active", "archived"))
        assert refused.value.status == 403
        assert store.volume.status("x").read_bytes() == before
    assert "x" not in pages.marked(store.volume)


def test_refusals_say_what_to_do(store: Store) -> None:
    made = wheels.wheel("x", "1.0")
    put(store, made)
    other = "is already in this index with other content; a published file never changes, publish a new version"
    cases: list[tuple[Callable[[], object], str, str]] = [
        (
            lambda: store.read("nope"),
            "There is no project 'nope' in this index.",
            "The folders of ROOT/packages name the projects.",
        ),
        (
            lambda: store.set_status("nope", "active"),
            "There is no project 'nope' in this index.",
            "The folders of ROOT/packages name the projects.",
        ),
        (
            lambda: store.yank("x", "x-9.tar.gz"),
            "x has no release or file 'x-9.tar.gz'.",
            "See its page in the index for what it has.",
        ),
        (
            lambda: store.set_status("x", "lost"),
            "'lost' is not a status.",
            "One of: active, archived, quarantined, deprecated (PEP 792).",
        ),
        (lambda: put(store, made), f"{made[0]} is already in this index, with the same content", ""),
        (
            lambda: put(store, wheels.wheel("x", "1.0", files={"x.py": b"other"})),
            f"{made[0]} {other}",
            "",
        ),
        (
            lambda: store.remove("x", "1.0") and put(store, made),
            f"{made[0]} was removed from this index and its name can't be used again",
            "Publish a new version.",
        ),
        (
            lambda: store.set_status("x", "archived") and put(store, wheels.wheel("x", "2.0")),
            "The project x is archived and takes no uploads",
            "",
        ),
    ]
    for change, message, hint in cases:
        with pytest.raises(PpmError) as failed:
            change()
        assert (failed.value.message, failed.value.hint) == (message, hint)
    assert not store.has_project("nope")


def test_of_two_that_hold_no_common_lock_one_wins(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without flock: whoever comes second is told so, and the first one's record stays."""
    made = wheels.wheel("x", "1.0")
    first = put(store, made)
    monkeypatch.setattr(store, "_refuse_put", lambda *_arguments: None)
    with pytest.raises(Refused, match="with the same content") as refused:
        put(store, made)
    assert refused.value.status == 409
    assert store.volume.file("x", made[0]).read_bytes() == made[1]
    assert listed(store, "x") == [made[0]]
    assert first.sha256 == store.read("x").files[0].record.sha256


def test_metadata_that_a_page_has_the_hash_of(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    from ppmctl.index.store import sha256_of

    assert sha256_of(tmp_path / "file") == digest
    made = wheels.wheel("x", "1.0", meta=wheels.metadata("x", "1.0"))
    put(store, made)
    beside = transaction.beside(store.volume.file("x", made[0]), ".metadata")
    assert page(store, "x")["files"][0]["core-metadata"] == {"sha256": sha256_of(beside)}  # type: ignore[index]
