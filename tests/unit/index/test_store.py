"""Changes of an index, on a real volume in a temporary folder."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from support import wheels
from support.evidence import until

from ppmctl import exchange, files
from ppmctl.distributions import distribution
from ppmctl.errors import PpmError, Refused
from ppmctl.index import change_rules, pages, project_folder, rebuild, together, transaction
from ppmctl.index.layout import Volume
from ppmctl.index.lookup import NotHere
from ppmctl.index.recovery import repair
from ppmctl.index.store import Store


def put(store: Store, made: tuple[str, bytes], **options: Any) -> project_folder.Record:
    with store.area.new_file() as received:
        received.write(made[1])
        received.finish()
        dist = distribution.inspect(received.path, made[0])
        record = store.put(received, dist, by="tester", **options)
    assert record is not None, "it was there already"
    return record


def is_there(store: Store, made: tuple[str, bytes]) -> bool:
    """Return whether putting a file finds it there; `Store.confirm` has to say the same."""
    with store.area.new_file() as received:
        received.write(made[1])
        received.finish()
        dist = distribution.inspect(received.path, made[0])
        confirmed = store.confirm(dist.name, received.sha256)
        assert (store.put(received, dist, by="another", attestations="[]") is None) is confirmed
    return confirmed


def page(store: Store, project: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((store.volume.pages(project) / pages.JSON_PAGE).read_bytes())
    return loaded


def listed(store: Store, project: str) -> list[str]:
    return [file["filename"] for file in page(store, project)["files"]]


def test_a_put_writes_the_file_its_record_its_metadata_and_pages(store: Store) -> None:
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
    assert "core-metadata" not in page(store, "thing")["files"][0]


def test_a_put_leaves_nothing_in_incoming(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"))
    left = [path for path in store.volume.incoming.rglob("*") if path.is_file() and path.name != ".lock"]
    assert left == []


def test_a_file_name_is_published_once(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"))
    with pytest.raises(Refused, match="with other content") as other:
        put(store, wheels.wheel("x", "1.0", files={"x.py": b"other"}))
    assert other.value.status == 409
    assert store.volume.file("x", "x-1.0-py3-none-any.whl").read_bytes() == wheels.wheel("x", "1.0")[1]


def test_the_same_content_again_changes_nothing(store: Store) -> None:
    """A client that did not get the first answer sends it again. A yanked file stays yanked."""
    made = wheels.wheel("x", "1.0")
    put(store, made, attestations='["first"]')
    store.yank("x", "1.0", "broken")
    before = {path.name: path.read_bytes() for path in store.volume.project("x").iterdir()}
    assert is_there(store, made)
    assert {path.name: path.read_bytes() for path in store.volume.project("x").iterdir()} == before
    assert "x" not in pages.marked(store.volume)
    for state in ("archived", "quarantined"):
        store.set_status("x", state)
        for again in (lambda: put(store, made), lambda: is_there(store, made)):
            with pytest.raises(Refused, match=f"{state} and takes no uploads") as refused:
                again()
            assert refused.value.status == 403
    store.set_status("x", "active")
    store.remove("x", "1.0")
    with pytest.raises(Refused, match="was removed") as refused:
        is_there(store, made)
    assert refused.value.status == 409


@pytest.mark.parametrize("kind", ["a folder", "a FIFO", "a link to nowhere"])
def test_a_name_of_something_that_is_not_a_file_is_refused_and_nothing_is_left(store: Store, kind: str) -> None:
    """It was created by hand; no record may be written for it, and no mark may stay that start-up can't remove."""
    put(store, wheels.wheel("x", "1.0"))
    store.write_root()
    made = wheels.wheel("x", "2.0")
    path = store.volume.file("x", made[0])
    {"a folder": path.mkdir, "a FIFO": lambda: os.mkfifo(path), "a link to nowhere": lambda: path.symlink_to("no")}[
        kind
    ]()
    with pytest.raises(
        Refused, match=f"packages/x/{made[0]} exists but is not a regular file; ask an administrator"
    ) as refusal:
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


def test_of_many_concurrent_puts_one_wins(store: Store) -> None:
    """This fails if existence is checked before the write and not by it (pypiserver: four of four got 200)."""
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


def put_together(store: Store, several: list[tuple[str, bytes]]) -> list[project_folder.Record | Exception]:
    """Put files of the project x at the same moment: all wait for its lock. Return their outcomes."""
    outcomes: dict[int, project_folder.Record | Exception] = {}

    def upload(number: int, made: tuple[str, bytes]) -> None:
        try:
            outcomes[number] = put(store, made)
        except (OSError, Refused, AssertionError) as exc:
            outcomes[number] = exc

    threads = [threading.Thread(target=upload, args=each) for each in enumerate(several)]
    with store.locked("x"):
        for number, thread in enumerate(threads, start=1):
            thread.start()
            until(lambda: len(store._queue._waiting.get("x", [])) == number, "it waits")  # noqa: B023 - not later
    for thread in threads:
        thread.join()
    return [outcomes[number] for number in range(len(several))]


def test_files_that_wait_for_a_project_are_published_together(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One write of the pages for all; a refused one among them changes nothing for the others."""
    put(store, wheels.wheel("x", "0.1"))
    several = [wheels.wheel("x", f"1.{number}") for number in range(6)]
    refused = wheels.wheel("x", "0.1", files={"x.py": b"other"})
    written: list[str] = []
    original = pages.refresh
    monkeypatch.setattr(pages, "refresh", lambda *arguments: written.append("pages") or original(*arguments))
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_folder", synced.append)
    outcomes = put_together(store, [*several, refused])
    assert [type(outcome) for outcome in outcomes] == [project_folder.Record] * 6 + [Refused]
    assert listed(store, "x") == ["x-0.1-py3-none-any.whl", *(filename for filename, _content in several)]
    assert (written, synced) == (["pages"], [store.volume.project("x")])
    assert "x" not in pages.marked(store.volume)


def test_a_disk_that_is_full_for_the_pages_takes_all_files_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, wheels.wheel("x", "0.1"))
    before = contents(store)
    several = [wheels.wheel("x", f"1.{number}") for number in range(4)]
    with monkeypatch.context() as full:
        full.setattr(files, "replacement", contextlib.contextmanager(fails))
        outcomes = put_together(store, several)
    assert [getattr(outcome, "errno", None) for outcome in outcomes] == [errno.ENOSPC] * 4
    assert contents(store) == before
    assert all(isinstance(outcome, project_folder.Record) for outcome in put_together(store, several))


def test_files_that_wait_are_answered_when_the_page_lists_them(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """So are the same file again, and others of its name: who is refused reads the page next."""
    waiting: list[together.Waiting] = []
    answered: list[bool] = []
    publish, refresh = together.publish, pages.refresh

    def publish_these(volume: Volume, project: str, files: list[together.Waiting]) -> bool:
        waiting.extend(files)
        return publish(volume, project, files)

    def look(volume: Volume, project: str) -> None:
        answered.extend(file.is_new.done() for file in waiting)
        refresh(volume, project)

    monkeypatch.setattr(together, "publish", publish_these)
    monkeypatch.setattr(pages, "refresh", look)
    made = wheels.wheel("x", "1.0")
    outcomes = put_together(store, [made, made, wheels.wheel("x", "1.0", files={"x.py": b"other"})])
    assert answered == [False] * 3
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["AssertionError", "Record", "Refused"]


def test_a_file_that_is_taken_back_is_an_answer_to_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file that waited with it was not published either, and another one of its name may be."""
    made = wheels.wheel("x", "1.0")
    with monkeypatch.context() as full:
        full.setattr(files, "replacement", contextlib.contextmanager(fails))
        outcomes = put_together(store, [made, made, wheels.wheel("x", "1.0", files={"x.py": b"other"})])
    assert [getattr(outcome, "errno", None) for outcome in outcomes] == [errno.ENOSPC] * 3


@pytest.mark.parametrize("failures", [1, 2])
def test_a_removal_that_failed_halfway_is_completed(
    failures: int, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, or if that fails too, by the next change: the file is neither listed nor there."""
    made = wheels.wheel("x", "1.0")
    put(store, made)
    unlink, left = transaction.unlink, [True] * failures

    def fail(*arguments: Any) -> None:
        if left:
            left.pop()
            fails()
        unlink(*arguments)

    monkeypatch.setattr(transaction, "unlink", fail)
    with pytest.raises(OSError, match="No space left"):
        store.remove("x", "1.0")
    assert store.has_file("x", made[0]) is (failures == 2)
    assert ("x" in pages.marked(store.volume)) is (failures == 2)
    put(store, wheels.wheel("x", "2.0"))
    assert not store.has_file("x", made[0])
    assert listed(store, "x") == ["x-2.0-py3-none-any.whl"]


def test_what_a_crash_left_is_durable_before_it_is_confirmed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = wheels.wheel("x", "1.0")
    with monkeypatch.context() as killed:
        killed.setattr(transaction, "sync", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            put(store, made)
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_folder", synced.append)
    assert is_there(store, made)
    assert {store.volume.packages, store.volume.project("x")} <= set(synced)


def test_a_file_that_is_confirmed_is_on_its_page_also_after_a_power_failure(store: Store) -> None:
    """Which leaves pages empty that were not synced; the rebuild after the boot has not reached them yet."""
    made = wheels.wheel("x", "1.0")
    put(store, made)
    (store.volume.pages("x") / pages.JSON_PAGE).write_bytes(b"")
    assert is_there(store, made)
    assert listed(store, "x") == [made[0]]


def test_a_project_that_is_made_during_a_rebuild_keeps_its_pages(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.volume.pages("x").mkdir(parents=True)  # of a project that does not exist
    stray_pages = rebuild.stray_pages

    def find(volume: Volume, projects: set[str]) -> dict[Path, str]:
        found = stray_pages(volume, projects)
        put(store, wheels.wheel("x", "1.0"))
        return found

    monkeypatch.setattr(rebuild, "stray_pages", find)
    rebuild.rebuild(store)
    assert listed(store, "x") == ["x-1.0-py3-none-any.whl"]


def test_a_process_that_ends_while_another_starts_is_no_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ending = Store(store.volume)
    ending.area.new_file().discard()
    try_lock = files.try_lock

    def end(path: Path) -> int | None:
        ending.area.close()
        return try_lock(path)

    monkeypatch.setattr(files, "try_lock", end)
    repair(store)


def test_an_error_of_all_files_that_wait_is_raised_for_each(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    several = [wheels.wheel("x", f"1.{number}") for number in range(3)]
    monkeypatch.setattr(change_rules, "is_published", fails)
    assert [getattr(outcome, "errno", None) for outcome in put_together(store, several)] == [errno.ENOSPC] * 3
    monkeypatch.undo()
    monkeypatch.setattr(store, "settle", fails)
    assert [getattr(outcome, "errno", None) for outcome in put_together(store, several)] == [errno.ENOSPC] * 3
    monkeypatch.undo()
    assert all(isinstance(outcome, project_folder.Record) for outcome in put_together(store, several))


def test_a_rebuild_begins_with_the_project_that_changed_last(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power failure its pages may be empty."""
    for number, name in enumerate(("c", "a", "b"), start=1):
        put(store, wheels.wheel(name, "1.0"))
        os.utime(store.volume.project(name), (number, number))
    written: list[str] = []
    monkeypatch.setattr(
        pages, "write_project", lambda _volume, content, **_options: written.append(content.project) or False
    )
    rebuild.rebuild(store)
    assert written == ["b", "a", "c"]


@pytest.mark.parametrize("content", [b"same", b"other"])
def test_the_next_upload_writes_the_page_that_a_dead_one_did_not_write(store: Store, content: bytes) -> None:
    """Before it is answered: neither a success nor a conflict may name a file that no page lists."""
    made = wheels.wheel("x", "1.0", files={"x.py": b"same"})
    put(store, made, show=False)
    assert not store.volume.pages("x").exists()
    if content == b"same":
        assert store.confirm(distribution.parse_filename(made[0]), store.read("x").files[0].record.sha256)
    else:
        with pytest.raises(Refused):
            put(store, wheels.wheel("x", "1.0", files={"x.py": content}))
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
    assert [file["yanked"] for file in page(store, "x")["files"]] == ["broken on arm", False, False]


def test_a_yank_without_a_reason_is_true_in_json_and_empty_in_html(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"))
    store.yank("x", "1.0")
    assert page(store, "x")["files"][0]["yanked"] is True
    assert 'data-yanked=""' in (store.volume.pages("x") / pages.HTML_PAGE).read_text()


def test_removal_leaves_a_tombstone(store: Store) -> None:
    made = wheels.wheel("x", "1.0")
    put(store, made)
    store.yank("x", "1.0")
    assert store.remove("x", "1.0") == [made[0]]
    assert [path.name for path in store.volume.project("x").iterdir()] == [made[0] + ".removed"]
    assert listed(store, "x") == []
    assert store.has_project("x")
    with pytest.raises(Refused, match="its name can't be used again") as refusal:
        put(store, made)
    assert refusal.value.status == 409


OTHER_NAMES = {
    "Foo.Bar-1.0.tar.gz": ("foo_bar-1.0.tar.gz", "foo-bar-1.0.0.tar.gz", "FOO_BAR-v1.0.tar.gz", "foo_bar-1.0.zip"),
    "Foo_Bar-1.0-py3-none-any.whl": (
        "foo_bar-1.0-py3-none-any.whl",
        "foo.bar-1.0.0-py3-none-any.whl",
        "foo_bar-v1.0-PY3-none-any.whl",
    ),
}
OTHER_BUILDS = (
    "foo_bar-1.0-1-py3-none-any.whl",
    "foo_bar-1-2abc-py3-none-any.whl",
    "foo_bar-1.0-py2.py3-none-any.whl",
)
LOCAL_VERSIONS = ("foo_bar-1.0+evil-py3-none-any.whl", "Foo.Bar-1+evil.1.tar.gz")
OTHER_FILES = (
    "foo_bar-1.0-cp311-cp311-linux_x86_64.whl",
    "foo_bar-1.0.post1.tar.gz",
    "foo_bar-1.0.1-py3-none-any.whl",
)


def named(filename: str) -> tuple[str, bytes]:
    """Return a valid file of the project foo-bar with this name."""
    if filename.endswith(".whl"):
        project, version, tag = filename.removesuffix(".whl").split("-", 2)
        return wheels.wheel(project, version, tag=tag)
    top = filename.removesuffix(".zip").removesuffix(".tar.gz")
    pack = wheels.zip_of if filename.endswith(".zip") else wheels.tar_of
    return filename, pack({f"{top}/PKG-INFO": wheels.metadata("foo-bar", top.rpartition("-")[2])})


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_a_file_has_one_name(store: Store, name: str) -> None:
    """`==1.0` would install either of two; the first one wins, also a name that is not normalised."""
    put(store, named(name))
    for other in OTHER_NAMES[name]:
        with pytest.raises(Refused) as refused:
            put(store, named(other))
        assert refused.value.status == 409
        assert refused.value.message.startswith(f"{other} is another name of {name}, which is in this index")
    assert listed(store, "foo-bar") == [name]
    others = [other for other in (*OTHER_FILES, *OTHER_NAMES) if other != name]
    others += [*OTHER_BUILDS, *LOCAL_VERSIONS]
    for other in others:
        put(store, named(other))
    assert len(listed(store, "foo-bar")) == 1 + len(others)


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_no_other_name_or_build_brings_a_removed_file_back(store: Store, name: str) -> None:
    put(store, named(name))
    store.remove("foo-bar", name)
    for other in (*OTHER_NAMES[name], *(OTHER_BUILDS if name.endswith(".whl") else ()), *LOCAL_VERSIONS):
        with pytest.raises(Refused) as refused:
            put(store, named(other))
        assert refused.value.status == 409
        expected = f"{other} would replace {name}, which was removed from this index"
        assert refused.value.message.startswith(expected)
    assert listed(store, "foo-bar") == []
    for other in (*OTHER_FILES, *(each for each in OTHER_NAMES if each != name)):
        put(store, named(other))


def test_a_local_version_for_another_platform_follows_the_removal_of_one_wheel(store: Store) -> None:
    windows, linux = (f"foo_bar-1.0-cp311-cp311-{platform}.whl" for platform in ("win_amd64", "linux_x86_64"))
    for filename in (windows, linux):
        put(store, named(filename))
    store.remove("foo-bar", windows)
    put(store, named("foo_bar-1.0+cu118-cp311-cp311-linux_x86_64.whl"))
    with pytest.raises(Refused, match=r"would replace .* which was removed"):
        put(store, named("foo_bar-1.0+cu118-cp311-cp311-win_amd64.whl"))
    store.remove("foo-bar", linux)
    with pytest.raises(Refused, match=r"would replace .* which was removed"):
        put(store, named("foo_bar-1.0+cu118-cp311-cp311-macosx_11_0_arm64.whl"))


@pytest.mark.parametrize("state", ["archived", "quarantined"])
def test_a_closed_project_takes_no_uploads(store: Store, state: str) -> None:
    put(store, wheels.wheel("x", "1.0"))
    store.set_status("x", state, "see y")
    with pytest.raises(Refused, match=f"{state} and takes no uploads: see y") as refusal:
        put(store, wheels.wheel("x", "2.0"))
    assert refusal.value.status == 403
    assert page(store, "x")["project-status"] == {"status": state, "reason": "see y"}
    assert listed(store, "x") == ([] if state == "quarantined" else ["x-1.0-py3-none-any.whl"])
    store.set_status("x", "active")
    put(store, wheels.wheel("x", "2.0"))


def test_missing_projects_releases_and_files_are_reported(store: Store) -> None:
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


def test_a_changed_page_gets_a_later_mtime(store: Store) -> None:
    """nginx makes the ETag of mtime and size: two changes of equal length in one second must differ."""
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


def test_an_unchanged_page_is_not_written(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"))
    page = store.volume.pages("x") / pages.JSON_PAGE
    before = page.stat()
    store.refresh("x")
    after = page.stat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns), "apart from reading"


def test_repair_writes_pages_after_a_crash(store: Store) -> None:
    """The upload died after the commit: start-up lists the file, and touches no other project."""
    put(store, wheels.wheel("other", "1.0"))
    before = (store.volume.pages("other") / pages.JSON_PAGE).stat()
    put(store, wheels.wheel("x", "1.0"), show=False)
    assert "x" in pages.marked(store.volume)
    assert repair(store).projects == ("x",)
    assert listed(store, "x") == ["x-1.0-py3-none-any.whl"]
    assert (store.volume.pages("other") / pages.JSON_PAGE).stat() == before
    store.write_root()
    assert pages.marked(store.volume) == []


def test_repair_removes_side_files_without_a_file(store: Store) -> None:
    """The upload died before the commit: its side files are removed, and the folder that it created."""
    where = store.volume.project("x")
    where.mkdir()
    (where / "x-1.0.tar.gz.upload").write_text("{}")
    pages.mark(store.volume, "x")
    repair(store)
    assert not where.exists()
    assert not store.volume.pages("x").exists()


def test_repair_finishes_a_removal(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"))
    store.volume.side_file("x", "x-1.0-py3-none-any.whl", ".removed").write_text("removed\n")
    pages.mark(store.volume, "x")
    repair(store)
    assert [path.name for path in store.volume.project("x").iterdir()] == ["x-1.0-py3-none-any.whl.removed"]
    assert listed(store, "x") == []


def test_repair_removes_only_folders_of_dead_processes(store: Store) -> None:
    mine = store.area.new_file()
    dead = store.volume.incoming / "1-dead"
    dead.mkdir()
    (dead / ".lock").touch()
    (dead / "half").write_bytes(b"half a file")
    assert repair(Store(store.volume)).swept == 1
    assert not dead.exists()
    assert mine.path.exists()
    mine.discard()


def test_the_index_folder_may_be_deleted(store: Store) -> None:
    import shutil

    put(store, wheels.wheel("x", "1.0"))
    shutil.rmtree(store.volume.root / "index")
    put(store, wheels.wheel("x", "2.0"))
    assert listed(store, "x") == ["x-1.0-py3-none-any.whl", "x-2.0-py3-none-any.whl"]
    put(store, wheels.wheel("y", "1.0"))
    store.write_root()
    root = json.loads((store.volume.simple / pages.JSON_PAGE).read_bytes())
    assert [project["name"] for project in root["projects"]] == ["x", "y"]


def test_a_damaged_status_is_repaired_by_setting_one(store: Store) -> None:
    put(store, wheels.wheel("x", "1.0"))
    store.volume.status("x").write_text("garbage")
    with pytest.raises(project_folder.BrokenRecord) as broken:
        put(store, wheels.wheel("x", "2.0"))
    assert broken.value.hint == "ppmctl package status x active"
    store.set_status("x", "active")
    put(store, wheels.wheel("x", "2.0"))
    assert len(listed(store, "x")) == 2


def test_a_first_upload_that_was_killed_leaves_no_project_whose_status_can_be_set(store: Store) -> None:
    """The folder would keep the name reserved for ever, with a status and without a file."""
    pages.mark(store.volume, "x")
    store.volume.project("x").mkdir()
    store.volume.side_file("x", wheels.wheel("x", "1.0")[0], ".metadata").write_bytes(b"")
    with pytest.raises(NotHere):
        store.set_status("x", "archived")
    assert not store.has_project("x")


# the order of one put


@contextlib.contextmanager
def recorded(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Record what is synced, renamed and linked on the volume; a temporary name is "new"."""
    done: list[str] = []

    def shown(path: Any) -> str:
        relative = str(Path(os.fsdecode(path)).relative_to(store.volume.root))
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
    monkeypatch.setattr(exchange, "_renameat2", None)  # pages are renamed too
    yield done
    monkeypatch.undo()


def test_a_put_is_durable_before_it_is_visible_and_visible_before_it_returns(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/decisions.md, "Power cuts": content, side files and names are synced; derived pages are not."""
    put(store, wheels.sdist("other", "1.0"))  # creates the process's folder in incoming/
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


def test_a_removal_updates_the_page_before_it_deletes_the_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader of the page finds all its files; what a crash leaves in between is removed at the next start."""
    made = wheels.wheel("x", "1.0")
    put(store, made)
    refresh, seen = pages.refresh, []

    def look(*arguments: Any) -> None:
        refresh(*arguments)
        seen.append((listed(store, "x"), store.has_file("x", made[0])))

    monkeypatch.setattr(pages, "refresh", look)
    store.remove("x", "1.0")
    assert seen[0] == ([], True)
    assert not store.has_file("x", made[0])
    removed = store.volume.side_file("x", made[0], ".removed").read_text()
    assert re.fullmatch(r"removed \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\n", removed)


def test_a_repair_updates_the_page_before_it_completes_a_removal(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The removal was killed before it wrote the page; the repair may be killed as well."""
    made = wheels.wheel("x", "1.0")
    put(store, made)
    pages.mark(store.volume, "x")
    store.volume.side_file("x", made[0], ".removed").write_bytes(b"removed\n")
    unlink, seen = Path.unlink, []

    def look(path: Path, missing_ok: bool = False) -> None:
        if path.name == made[0]:
            seen.append(listed(store, "x"))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", look)
    repair(store)
    assert seen == [[]]
    assert not store.has_file("x", made[0])


# a disk that fills up


def fails(*_arguments: object, **_options: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("at", ["a side file", "the link", "the pages"])
@pytest.mark.parametrize("is_new", [True, False], ids=["new project", "known project"])
def test_a_put_on_a_full_disk_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, at: str, is_new: bool
) -> None:
    """docs/decisions.md, "A full disk is taken back": no page has listed the file, and the next try works."""
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
    """Return the files of the volume without locks and marks, and the folders of projects."""
    root = store.volume.root
    paths = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    own = {path for path in paths if not path.startswith(("locks/", "index/pending/")) and not path.endswith(".lock")}
    return {path: paths[path].read_bytes() for path in own} | {
        f"{folder.relative_to(root)}/": b"" for folder in store.volume.packages.iterdir()
    }


def test_a_disk_that_fills_up_between_two_pages_changes_neither(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, wheels.wheel("x", "1.0"))
    before = contents(store)
    original, made = files.replacement, []

    @contextlib.contextmanager
    def replacement(path: Path, *arguments: Any, **options: Any) -> Iterator[Path]:
        made.append(path.name)
        if pages.HTML_PAGE in made:  # and the disk stays full
            fails()
        with original(path, *arguments, **options) as temporary:
            yield temporary

    monkeypatch.setattr(files, "replacement", replacement)
    with pytest.raises(OSError, match="No space left"):
        put(store, wheels.wheel("x", "2.0"))
    assert made[:2] == [pages.JSON_PAGE, pages.HTML_PAGE]
    assert contents(store) == before


# leftovers


def test_side_files_of_a_dead_upload_are_replaced_by_the_next(store: Store) -> None:
    """Its mark may be deleted with index/: its side files are replaced or removed."""
    made = wheels.wheel("x", "1.0")
    put(store, wheels.wheel("x", "0.1"))
    for suffix in (".attestations", ".metadata", ".upload"):
        store.volume.side_file("x", made[0], suffix).write_text("of a dead upload")
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
def test_every_change_repairs_what_a_dead_process_left(store: Store, left: list[str], stays: list[str]) -> None:
    """A change removes the mark, so no later start-up would repair the project: docs/volume.md."""
    put(store, wheels.sdist("x", "1.0"))
    store.volume.pages("x").joinpath(".index.json.0123456789ab.tmp").touch()
    for name in left:
        (store.volume.project("x") / name).write_text('{"state": "active"}')
    pages.mark(store.volume, "x")
    store.write_root()
    store.root_is_old.clear()
    store.unyank("x", "1.0")
    names = sorted(path.name for path in store.volume.project("x").iterdir())
    assert names == sorted(["x-1.0.tar.gz", "x-1.0.tar.gz.upload", *stays])
    assert sorted(path.name for path in store.volume.pages("x").iterdir()) == ["index.html", "index.json"]
    assert pages.marked(store.volume) == [".root"]
    assert store.root_is_old.is_set()


@pytest.mark.parametrize("change", ["refresh", "status", "yank", "put", "remove"])
def test_every_kind_of_change_repairs_the_project_first(store: Store, change: str) -> None:
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
    """NotHere is raised in the middle of a change: the pages then match the folder."""
    put(store, wheels.wheel("x", "1.0"))
    (store.volume.pages("x") / pages.JSON_PAGE).unlink()
    with pytest.raises(NotHere):
        store.yank("x", "2.0")
    assert pages.marked(store.volume) == [".root"]
    assert listed(store, "x") == ["x-1.0-py3-none-any.whl"]


# answers


def test_a_put_can_set_the_upload_time_and_cuts_a_long_summary(store: Store) -> None:
    record = put(
        store,
        wheels.wheel("x", "1.0", summary="s" * 600),
        upload_time="2020-01-02T03:04:05.000006Z",
        attestations='["attested"]',
    )
    assert record.upload_time == page(store, "x")["files"][0]["upload-time"] == "2020-01-02T03:04:05.000006Z"
    assert record.summary == "s" * 500
    assert store.volume.side_file("x", "x-1.0-py3-none-any.whl", ".attestations").read_text() == '["attested"]'


def test_a_put_into_a_known_project_does_not_change_the_list(store: Store) -> None:
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


def test_holds_compares_the_name_and_the_content(store: Store) -> None:
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
def test_a_status_change_may_be_limited_to_some_statuses(store: Store, was: str, state: str, may: bool) -> None:
    """The owner of an environment may archive and unarchive it, but not change the status that an admin set."""
    put(store, wheels.wheel("x", "1.0"))
    store.set_status("x", was, "because\n of  it")
    before = store.volume.status("x").read_bytes()
    assert json.loads(before) == {"state": was, "reason": "because of it"}
    if may:
        assert store.set_status("x", state, among=("active", "archived")) == project_folder.Status(state=state)
        assert store.read("x").status == project_folder.Status(state=state)
    else:
        with pytest.raises(Refused, match="Only an admin may set or unset the status quarantined of x") as refused:
            store.set_status("x", state, among=("active", "archived"))
        assert refused.value.status == 403
        assert store.volume.status("x").read_bytes() == before
    assert "x" not in pages.marked(store.volume)


def test_messages_and_hints_of_refusals(store: Store) -> None:
    made = wheels.wheel("x", "1.0")
    put(store, made)
    other = "is already in this index with other content; a published file never changes, publish a new version"
    cases: list[tuple[Callable[[], object], str, str]] = [
        (
            lambda: store.read("nope"),
            "There is no project 'nope' in this index.",
            "List all projects: ppmctl package list --root ROOT",
        ),
        (
            lambda: store.set_status("nope", "active"),
            "There is no project 'nope' in this index.",
            "List all projects: ppmctl package list --root ROOT",
        ),
        (
            lambda: store.yank("x", "x-9.tar.gz"),
            "x has no release or file 'x-9.tar.gz'.",
            "List its files: ppmctl package show x --root ROOT",
        ),
        (
            lambda: store.set_status("x", "lost"),
            "'lost' is not a status.",
            "One of: active, archived, quarantined, deprecated (PEP 792).",
        ),
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


def test_without_a_working_lock_the_first_of_two_puts_wins(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without flock the second put is refused, and the record of the first one stays."""
    made = wheels.wheel("x", "1.0")
    first = put(store, made)
    monkeypatch.setattr(change_rules, "is_published", lambda *_arguments: False)
    with pytest.raises(Refused, match="by another upload at the same moment") as refused:
        put(store, made)
    assert refused.value.status == 409
    assert store.volume.file("x", made[0]).read_bytes() == made[1]
    assert listed(store, "x") == [made[0]]
    assert first.sha256 == store.read("x").files[0].record.sha256


def test_the_page_has_the_hash_of_the_metadata_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256_of(tmp_path / "file") == digest
    made = wheels.wheel("x", "1.0", meta=wheels.metadata("x", "1.0"))
    put(store, made)
    beside = transaction.beside(store.volume.file("x", made[0]), ".metadata")
    assert page(store, "x")["files"][0]["core-metadata"] == {"sha256": files.sha256_of(beside)}
