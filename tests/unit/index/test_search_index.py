"""The search index: what it finds and in which order, what a search may cost, and that damage is repaired."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import wheels

from ppmctl import files
from ppmctl.distributions import distribution
from ppmctl.errors import UsageError
from ppmctl.index import (
    project_details,
    project_folder,
    rebuild,
    search_database,
    search_index,
    search_row,
    statistics,
    verify,
)
from ppmctl.index.changes import Changes
from ppmctl.index.layout import Volume
from ppmctl.index.search_index import ALL, SearchIndex, Totals, Unavailable
from ppmctl.index.statistics import Holding
from ppmctl.index.store import Store


def put(store: Store, made: tuple[str, bytes]) -> None:
    with store.area.new_file() as received:
        received.write(made[1])
        received.finish()
        store.put(received, distribution.inspect(received.path, made[0]), by="ann")


def metadata(name: str, version: str = "1.0", *, body: str = "Empty.", **fields: str) -> bytes:
    """Return core metadata with a description."""
    return wheels.metadata(name, version, **fields).partition(b"\n\n")[0] + f"\n\n{body}\n".encode()


def wheel(name: str, version: str = "1.0", **more: str) -> tuple[str, bytes]:
    return wheels.wheel(name, version, meta=metadata(name, version, **more))


@pytest.fixture(autouse=True)
def _without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no other process: none makes the index here."""
    monkeypatch.setattr(search_index, "_READY_WITHIN", 0.0)
    monkeypatch.setattr(verify, "_FOLLOWS_WITHIN", 0.0)


@pytest.fixture
def filled(store: Store) -> Store:
    for made in (
        wheel("acme-core", summary="Sails of ships", keywords="boat,harbour"),
        wheel("sails", summary="Cloth"),
        wheel("lighthouse", summary="Shines", body="# Light\n\nShows sailors the café on the quay. " * 40),
        wheel("cloth-sails", body="Sailing."),
        wheels.sdist("database-x", "2.0", meta=metadata("database-x", "2.0", summary="Übersicht", body="Fenders.")),
    ):
        put(store, made)
    SearchIndex(store).refresh()
    return store


def found(store: Store, text: str) -> list[str]:
    listed, number = SearchIndex(store).search(text, limit=50)
    assert number == len(listed)
    return [each.name for each in listed]


# what is found


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("core", ["acme-core"]),
        ("acme_core", ["acme-core"]),
        ("ACME.Core", ["acme-core"]),
        ("co", ["acme-core"]),
        ("harbour ships", ["acme-core"]),
        ("harb boa", ["acme-core"]),
        ("ships cloth", []),
        ("base", ["database-x"]),
        ("ubersicht", ["database-x"]),
        ("fenders", ["database-x"]),
        ("CAFE quay", ["lighthouse"]),
        ("quay shines", ["lighthouse"]),
        ("sails", ["sails", "cloth-sails", "acme-core"]),
        ("sail", ["sails", "cloth-sails", "acme-core", "lighthouse"]),
        ("cloth sails", ["cloth-sails", "sails"]),
    ],
)
def test_words_are_found_in_names_summaries_keywords_and_descriptions(
    filled: Store, text: str, names: list[str]
) -> None:
    """First the project of this name, then names that begin with it or have all words, then by the best match."""
    assert found(filled, text) == names


def test_the_project_of_this_name_comes_first(store: Store) -> None:
    put(store, wheel("mast", body="Long. " * 500))
    put(store, wheel("mast-mast", summary="mast", keywords="mast", body="mast"))
    SearchIndex(store).refresh()
    assert found(store, "Mast") == ["mast", "mast-mast"]


def test_one_letter_is_found_as_a_word_and_in_names_only(filled: Store) -> None:
    """Too much begins with a letter to look through all of it."""
    assert found(filled, "q") == []
    assert found(filled, "x") == ["database-x"]
    assert found(filled, "l") == ["lighthouse", "cloth-sails", "sails"]


ODD = (
    *("--", "-- " * 60, "\udcff", '"', "'", "*", "sails*x", "🚀", "\u0300", "%", "_", "-sails-x", "{name} : sails"),
    *("sails\0x", "name:sails", "ships OR cloth", "NOT sails", "NEAR(a b)", "sails AND"),
)


@pytest.mark.parametrize("text", ODD)
def test_nothing_in_a_search_is_an_operator(filled: Store, text: str) -> None:
    """Words of FTS5's language are words like others; what has no letter finds nothing."""
    assert found(filled, text) == []


@pytest.mark.parametrize("text", ['"sails', "^sails", "( sails )", "sails\0", "\0sails -- 🚀", "sails*", "'sails'"])
def test_signs_beside_a_word_do_not_count(filled: Store, text: str) -> None:
    assert found(filled, text) == found(filled, "sails") != []


def test_an_empty_search_lists_all_by_name(filled: Store) -> None:
    assert found(filled, " ") == found(filled, "") == filled.projects()


def test_a_search_has_limits(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, message in (("x" * 201, "200 characters"), ("a b c d e f g h i", "8 different words")):
        with pytest.raises(UsageError, match=message) as refused:
            SearchIndex(filled).search(text, limit=1)
        assert refused.value.status == 400
    assert found(filled, "a b c d e f g h " * 6) == []
    monkeypatch.setattr(search_index, "_SEARCH_WITHIN", -1.0)
    monkeypatch.setattr(search_index, "_LOOK_EVERY", 1)
    with pytest.raises(UsageError, match="takes too long"):
        SearchIndex(filled).search("sails", limit=1)


def test_a_row_has_the_latest_version_and_the_newest_upload(filled: Store) -> None:
    put(filled, wheel("sails", "2.0", summary="Linen"))
    put(filled, wheels.sdist("sails", "3.0rc1", summary="Later"))
    index = SearchIndex(filled)
    index.refresh()
    (listed,), _number = index.search("linen", limit=1)
    content = filled.read("sails")
    assert (listed.name, listed.version, listed.summary, listed.status) == ("sails", "2.0", "Linen", "active")
    assert (listed.files, listed.size) == (3, sum(file.record.size for file in content.files))
    assert listed.uploaded == content.files[-1].record.upload_time
    filled.yank("sails", "2.0")
    index.refresh()
    assert index.search("cloth", limit=ALL)[0][0].version == "1.0"
    assert found(filled, "linen") == []


def test_lists_and_searches_come_in_pages(filled: Store) -> None:
    index = SearchIndex(filled)
    put(filled, wheel("acme-core", "1.1"))
    index.update("acme-core")
    by_name, number = index.projects(order="name", limit=2, offset=1)
    assert ([each.name for each in by_name], number) == (["cloth-sails", "database-x"], 5)
    newest, number = index.projects(order="newest", limit=2)
    assert ([each.name for each in newest], number) == (["acme-core", "database-x"], 5)
    page, number = index.search("sails", limit=1, offset=1)
    assert ([each.name for each in page], number) == (["cloth-sails"], 2)
    assert index.search("sails", limit=1, offset=9) == ([], 2)
    assert index.search("nothing", limit=1, offset=9) == ([], 0)
    size = sum(file.record.size for name in filled.projects() for file in filled.read(name).files)
    assert index.totals() == Totals(projects=5, files=6, size=size)


def test_a_reader_sees_and_counts_only_what_it_may_read(filled: Store) -> None:
    index, asked = SearchIndex(filled), set()

    def may_read(name: str) -> bool:
        asked.add(name)
        return name != "sails"

    page, number = index.search("sail", may_read=may_read, limit=1)
    assert ([each.name for each in page], number) == (["cloth-sails"], 3)
    for order in ("name", "newest"):
        listed, number = index.projects(order=order, may_read=may_read, limit=9)  # type: ignore[arg-type] # of both
        assert ("sails" in {each.name for each in listed}, len(listed), number) == (False, 4, 4)
    assert index.totals(may_read).projects == index.totals().projects - 1
    assert asked == set(filled.projects())


CHANGES: dict[str, Callable[[Store], object]] = {
    "nothing": lambda store: None,
    "a release": lambda store: put(store, wheel("sails", "2.0")),
    "a file more": lambda store: put(store, wheels.sdist("sails", "1.0")),
    "a project": lambda store: put(store, wheel("mast")),
    "a yank": lambda store: store.yank("sails", "1.0"),
    "a removal": lambda store: store.remove("database-x", "2.0"),
    "a quarantine": lambda store: store.set_status("acme-core", "quarantined", "stolen"),
    "a rebuild after a change by hand": lambda store: (
        *(file.unlink() for file in store.volume.project("sails").iterdir()),
        rebuild.rebuild(store),
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_numbers_are_those_of_the_folders(
    filled: Store, change: Callable[[Store], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after a change by another process, which ended before it told anybody. They are read from rows alone."""
    old = filled.volume.side_file("sails", wheel("sails")[0], ".upload")
    old.write_bytes(re.sub(rb'"upload-time": "[0-9-]+', b'"upload-time": "2024-02-29', old.read_bytes()))
    filled.refresh("sails")
    index = SearchIndex(filled)
    index.update("sails")
    change(Store(filled.volume))
    index.refresh()
    pages = [project_details.page(filled.read(name)) for name in filled.projects()]
    folders = [Holding.of(page) for page in pages]
    largest = sorted(folders, key=lambda each: (-(each.size or 0), each.name))
    monkeypatch.setattr(project_folder, "read", None)
    assert index.statistics().to_json() == statistics.of_holdings(folders).to_json()
    assert index.uploads() == statistics.of_holdings(folders).uploads
    assert [(each.name, each.versions) for each in index.largest(3)] == [
        (each.name, each.versions) for each in largest[:3]
    ]
    one = index.statistics(lambda name: name == "sails")
    assert one.to_json() == statistics.of_holdings(each for each in folders if each.name == "sails").to_json()


def test_quarantined_projects_and_those_without_files_have_only_their_names(filled: Store) -> None:
    """As in the list of projects, which has them too."""
    filled.set_status("acme-core", "quarantined", "stolen")
    filled.remove("database-x", "2.0")
    index = SearchIndex(filled)
    assert index.refresh() == 2
    assert found(filled, "ships") == found(filled, "übersicht") == []
    for name, status in (("acme-core", "quarantined"), ("database-x", "active")):
        (row,), _number = index.search(name, limit=1)
        assert (row.version, row.summary, row.uploaded, row.files, row.size) == ("", "", "", 0, 0)
        assert row.status == status
    filled.set_status("acme-core", "active")
    index.refresh()
    assert found(filled, "ships") == ["acme-core"]


def test_making_the_index_keeps_no_records_in_memory(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of 10,000 files have 13 MB, which an idle server would keep."""
    project_folder._record.cache_clear()
    monkeypatch.setattr(search_index, "_AT_ONCE", 2)
    SearchIndex(filled).rebuild()
    assert project_folder._record.cache_info().currsize == 0
    SearchIndex(filled).update("sails")
    assert project_folder._record.cache_info().currsize == 1


def test_texts_are_cut_and_can_be_stored(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a pair of surrogates, a NUL, and what is longer than the limit."""
    texts = {"summary": "\ud800 \0 odd", "keywords": ["k" * 2000], "description": "first " + "x " * 40_000 + "last"}
    monkeypatch.setattr(distribution, "core_metadata", lambda _text: texts)
    put(store, wheel("odd"))
    record = store.volume.side_file("odd", wheel("odd")[0], ".upload")
    record.write_bytes(record.read_bytes().replace(b'"summary"', b'"was-summary"'))  # as of an older release
    SearchIndex(store).refresh()
    assert found(store, "odd first") == ["odd"]
    assert found(store, "last") == []
    row = search_row.read(store, "odd")
    assert row is not None
    assert (row.listed.summary, len(row.keywords)) == ("? odd", search_row.MAX_KEYWORDS)
    assert len(row.description) == search_row.MAX_DESCRIPTION


# updates


def test_each_change_is_noted_for_the_update(store: Store) -> None:
    """In one place, so whichever function makes it; also one that fails, which may have been seen halfway."""
    put(store, wheel("x"))
    assert store.changes.take(0) == {"x"}
    for change in (
        lambda: store.yank("x", "1.0"),
        lambda: store.unyank("x", "1.0"),
        lambda: store.set_status("x", "archived"),
        lambda: store.refresh("x"),
        lambda: store.set_status("x", "active"),
        lambda: put(store, wheel("x")),
        lambda: store.remove("x", "1.0"),
    ):
        change()
        assert store.changes
        assert store.changes.take(0) == {"x"}
    assert not store.changes


def test_an_update_brings_one_project_up_to_date(filled: Store) -> None:
    index = SearchIndex(filled)
    put(filled, wheel("sails", "2.0", summary="Linen"))
    put(filled, wheel("mast"))
    index.update("sails")
    assert (found(filled, "linen"), found(filled, "mast")) == (["sails"], [])
    index.update("mast")
    assert found(filled, "mast") == ["mast"]
    shutil.rmtree(filled.volume.project("mast"))
    index.update("mast")
    assert found(filled, "mast") == []


def test_a_start_finds_what_a_killed_process_left(filled: Store) -> None:
    """By the serials of pages: no change is written down twice."""
    put(filled, wheel("mast"))
    filled.yank("sails", "1.0")
    shutil.rmtree(filled.volume.project("database-x"))
    shutil.rmtree(filled.volume.pages("database-x"))
    index = SearchIndex(Store(filled.volume))
    assert index.refresh() == 3
    assert index.refresh() == 0
    assert found(filled, "mast") == ["mast"]
    assert "database-x" not in found(filled, "")


def test_a_change_while_a_project_is_read_is_found_later(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    original = project_folder.read
    changes = iter([wheel("sails", "2.0", summary="Linen")])

    def read(volume: Volume, project: str, **how: bool) -> object:
        content = original(volume, project, **how)
        for made in changes:
            put(filled, made)
        return content

    index = SearchIndex(filled)
    with monkeypatch.context() as changed:
        changed.setattr(project_folder, "read", read)
        index.update("sails")
    assert found(filled, "linen") == []
    assert index.refresh() == 1
    assert found(filled, "linen") == ["sails"]


def test_a_project_that_can_t_be_read_does_not_stop_the_others(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mast", "rope", "sea"):
        put(filled, wheel(name))
    original = search_row.read

    def read(volume: object, project: str, **how: bool) -> object:
        if project == "rope":
            raise PermissionError(13, "Permission denied", project)
        return original(volume, project, **how)  # type: ignore[arg-type] # passed on

    with monkeypatch.context() as broken:
        broken.setattr(search_row, "read", read)
        with pytest.raises(PermissionError):
            SearchIndex(filled).refresh()
    assert (found(filled, "mast"), found(filled, "rope"), found(filled, "sea")) == (["mast"], [], ["sea"])
    assert SearchIndex(filled).refresh() == 1


def test_a_project_with_a_damaged_status_is_not_found(filled: Store) -> None:
    filled.volume.status("sails").write_text("garbage")
    SearchIndex(filled).update("sails")
    assert "sails" not in found(filled, "")


def test_two_processes_and_threads_update_and_read_at_once(store: Store) -> None:
    """Each last row is that of the folder at the end, and no reader gets an error or half of a change."""
    names = [f"p{number}" for number in range(4)]
    for name in names:
        put(store, wheel(name, summary="version 0"))
    SearchIndex(store).refresh()

    def work(first: int) -> None:
        own = Store(store.volume)
        for number in range(1, 8):
            for name in names:
                with contextlib.suppress(Exception):  # the other one was first
                    put(own, wheel(name, f"1.{number}.{first}", summary=f"version {number}"))
                SearchIndex(own).update(name)
            if number % 3 == first % 3:
                SearchIndex(own).rebuild()
        own.area.close()

    children = []
    for first in (1, 2):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work(first)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    failures: list[BaseException] = []
    thread = threading.Thread(target=_caught(lambda: work(3), failures))
    thread.start()
    while thread.is_alive():
        assert len(found(store, "version")) == len(names)
    thread.join()
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert failures == []
    assert SearchIndex(store).differing() == []
    assert [each.version for each in SearchIndex(store).projects(order="name", limit=ALL)[0]] == ["1.7.3"] * 4


def _caught(work: Callable[[], None], failures: list[BaseException]) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        except BaseException as exc:
            failures.append(exc)

    return run


# damage


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage " * 1000)


def shortened(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def of_another_program(path: Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE projects (name)")


def of_another_release(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 9")


def without_a_table(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE texts")


def copied(path: Path) -> None:
    """Replace it by a copy, which could have been made in the middle of a change."""
    other = path.with_name("copy")
    shutil.copy(path, other)
    other.replace(path)


DAMAGES = (garbage, shortened, of_another_program, of_another_release, without_a_table, copied, Path.unlink,
           lambda path: os.truncate(path, 0))  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_made_again(filled: Store, damage: Callable[[Path], object]) -> None:
    damage(filled.volume.search)
    index = SearchIndex(filled)
    assert index.refresh() == len(filled.projects())
    assert found(filled, "sails") == ["sails", "cloth-sails", "acme-core"]
    assert index.refresh() == 0
    assert sorted(path.name for path in filled.volume.search.parent.glob("search*")) == ["search.sqlite3"]
    assert stat.S_IMODE(filled.volume.search.stat().st_mode) == 0o644


@pytest.mark.parametrize("damage", [garbage, Path.unlink, of_another_release])
def test_a_reader_of_a_damaged_index_is_told_and_lets_it_be_made_again(
    filled: Store, damage: Callable[[Path], object]
) -> None:
    damage(filled.volume.search)
    filled.changes.take(0)
    for read in (lambda index: index.search("sails", limit=1), lambda index: index.totals()):
        with pytest.raises(Unavailable) as told:
            read(SearchIndex(filled))
        assert told.value.status == 503
        assert filled.changes.take(0) is None
    SearchIndex(filled).update("sails")
    assert SearchIndex(filled).totals().projects == 5, "an update makes all of it"


def test_the_journal_of_a_damaged_index_is_not_applied_to_the_next(filled: Store) -> None:
    """A process is killed while it writes; then the file is damaged."""
    path = filled.volume.search
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.execute("UPDATE projects SET summary = 'stolen'")
        connection.execute("CREATE TABLE more AS SELECT * FROM projects, texts, projects AS others, made")
        shutil.copy(path.with_name("search.sqlite3-journal"), path.with_name("kept"))
        connection.execute("ROLLBACK")
    path.with_name("kept").replace(path.with_name("search.sqlite3-journal"))
    garbage(path)
    for number in range(3):
        put(filled, wheel(f"mast-{number}", body="other pages " * 2000))
    SearchIndex(filled).refresh()
    assert SearchIndex(filled).differing() == []
    assert not path.with_name("search.sqlite3-journal").exists()


def test_a_process_that_is_killed_while_it_writes_leaves_the_index_as_it_was(filled: Store) -> None:
    put(filled, wheel("mast"))
    child = os.fork()
    if child == 0:
        with contextlib.closing(search_database.opened(filled.volume.search)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM projects")
            os._exit(0)
    os.waitpid(child, 0)
    assert found(filled, "sails") == ["sails", "cloth-sails", "acme-core"]
    assert SearchIndex(filled).refresh() == 1


def test_the_old_index_is_read_until_the_new_one_is_whole(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    original, seen = search_row.read, []

    def read(volume: object, project: str, **how: bool) -> object:
        seen.append(found(filled, "sails"))
        return original(volume, project, **how)  # type: ignore[arg-type] # passed on

    with monkeypatch.context() as watched:
        watched.setattr(search_row, "read", read)
        assert SearchIndex(filled).rebuild() == 5
    assert seen == [["sails", "cloth-sails", "acme-core"]] * 5
    assert found(filled, "sails") == seen[0]


def test_a_full_disk_leaves_the_index_as_it_was(filled: Store) -> None:
    put(filled, wheel("mast", body="many different words " * 500))
    pages = filled.volume.search.stat().st_size // 4096
    with pytest.MonkeyPatch.context() as full:
        original = search_database._connect

        def connect(path: Path, *, writes: bool) -> sqlite3.Connection:
            connection = original(path, writes=writes)
            connection.execute(f"PRAGMA max_page_count = {pages}")
            return connection

        full.setattr(search_database, "_connect", connect)
        with pytest.raises(Unavailable, match="can't be written: database or disk is full"):
            SearchIndex(filled).update("mast")
    assert found(filled, "mast") == []
    SearchIndex(filled).update("mast")
    assert found(filled, "mast") == ["mast"]


def test_a_reader_needs_no_lock(filled: Store) -> None:
    with files.lock(filled.volume.search_lock), _transaction(filled):
        assert found(filled, "sails") == ["sails", "cloth-sails", "acme-core"]


@contextlib.contextmanager
def _transaction(store: Store) -> Iterator[None]:
    with contextlib.closing(search_database.opened(store.volume.search)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM projects")
        yield
        connection.execute("ROLLBACK")


# rebuild and check


def test_index_check_names_rows_that_differ_and_rebuild_repairs_them(filled: Store) -> None:
    def problems() -> list[str]:
        return [f"{each.where} {each.what} ({each.repair})" for each in verify.check(filled, hashes=False)]

    filled.write_root()
    assert problems() == []
    with contextlib.closing(sqlite3.connect(filled.volume.search)) as connection, connection:
        connection.execute("UPDATE projects SET version = '9' WHERE name = 'sails'")
        connection.execute("INSERT INTO projects SELECT 99, 'gone', '', '', '', 0, 0, '', 0, 0, '{}'")
        connection.execute("UPDATE texts SET description = 'other' WHERE name = 'cloth-sails'")
    repair = "as its folder is now (ppmctl index rebuild)"
    assert problems() == [
        f"index/search.sqlite3 does not have {name} {repair}" for name in ("cloth-sails", "gone", "sails")
    ]
    assert rebuild.rebuild(filled).problems == []
    assert problems() == []
    filled.changes.take(0)
    for damage in (garbage, Path.unlink):
        damage(filled.volume.search)
        assert problems() == ["index/search.sqlite3 is missing or damaged (ppmctl index rebuild)"]
        assert filled.volume.search.exists() == (damage is garbage)
        assert not filled.changes, "a check changes nothing, and lets nothing be changed"


def test_a_rebuild_reports_that_the_index_can_t_be_written(filled: Store) -> None:
    filled.volume.search.unlink()
    filled.volume.search.mkdir()
    (problem,) = rebuild.rebuild(filled).problems
    assert problem.startswith("The search index: ")


# what waits for an update


def test_changes_are_taken_once() -> None:
    changes = Changes()
    assert changes.take(0) is None, "after the time: any project may have changed"
    assert changes.wait_until_done(0) is False
    changes.add("a")
    changes.add("b")
    changes.add("a")
    assert changes.take(None) == {"a", "b"}
    assert changes.wait_until_done(0) is False
    taker = threading.Thread(target=lambda: changes.take(5))
    taker.start()
    assert changes.wait_until_done(5) is True
    changes.add_any()
    taker.join()
    changes.add("c")
    changes.add_any()
    assert changes.take(None) is None
