"""Changes at several nodes on one bucket: what one acknowledges, the others show; of two at once one succeeds."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import pytest
from support import wheels
from support.environments import revision
from support.folder_bucket import FolderBucket
from support.nodes import new_node

from ppmctl import files, thread_limit
from ppmctl.distributions import distribution, inspection
from ppmctl.errors import PpmError, Refused
from ppmctl.index import eviction, pages, project_folder, recovery
from ppmctl.index.freshness import ROOT, Freshness
from ppmctl.index.layout import Volume
from ppmctl.index.lookup import NotHere
from ppmctl.index.project_folder import Record
from ppmctl.index.store import Store
from ppmctl.storage import configured, keys
from ppmctl.storage import head as heads
from ppmctl.storage.bucket import Unavailable
from ppmctl.storage.names import SharedNames

ONE, TWO = wheels.wheel("demo", "1.0"), wheels.wheel("demo", "2.0")


@pytest.fixture
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{tmp_path.name}-{request.node.originalname}"


@pytest.fixture
def here(tmp_path: Path, address: str) -> Store:
    return new_node(tmp_path / "here", address)


@pytest.fixture
def other(tmp_path: Path, address: str) -> Store:
    return new_node(tmp_path / "other", address)


def put(store: Store, made: tuple[str, bytes], **options: Any) -> Record | None:
    with store.area.new_file() as received:
        received.write(made[1])
        received.finish()
        dist = distribution.inspect(received.path, made[0])
        return store.put(received, dist, by="tester", **options)


def away(*_arguments: object, **_options: object) -> NoReturn:
    raise Unavailable("The bucket does not answer.")


def listed(store: Store, project: str = "demo") -> list[str]:
    """Return the files on the project's page at a node that compares it with the bucket first."""
    store.pull(project)
    page = json.loads((store.volume.pages(project) / pages.JSON_PAGE).read_bytes())
    return [file["filename"] for file in page["files"]]


def test_what_one_node_publishes_is_listed_and_fetched_at_another(here: Store, other: Store) -> None:
    record = put(here, ONE)
    assert record is not None
    assert listed(here) == listed(other) == [ONE[0]]
    path = other.volume.file("demo", ONE[0])
    assert not path.exists(), "files are fetched when they are read"
    assert other.has_file("demo", ONE[0])
    assert other.read("demo").files[0].record == record
    assert other.mirror is not None
    assert other.mirror.fetch("demo", ONE[0]).read_bytes() == ONE[1]
    assert path.stat().st_mode & 0o777 == 0o644
    kept = here.volume.file("demo", ONE[0] + ".metadata").read_bytes()
    assert other.mirror.fetch("demo", ONE[0] + ".metadata").read_bytes() == kept
    assert here.volume.file("demo", ONE[0]).read_bytes() == ONE[1]
    assert pages.marked(other.volume) == [".root"]


def test_a_side_file_makes_room_for_itself_alone(here: Store, other: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    record = put(here, ONE)
    assert record is not None
    other.pull("demo")
    assert other.mirror is not None
    made: list[int] = []
    monkeypatch.setattr(eviction, "make_room", lambda _volume, size: made.append(size))

    def fail(_descriptor: int) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    for name in (ONE[0], f"{ONE[0]}.metadata"):
        with pytest.raises(OSError, match="No space left"):
            other.mirror.fetch("demo", name)
    assert made == [record.size, 0]


def test_an_upload_is_refused_at_once_while_the_bucket_is_known_to_be_away(
    here: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that comes after the bucket is back is stored."""
    assert here.mirror is not None
    assert here.cache.freshness is not None
    bucket = here.mirror.bucket
    with monkeypatch.context() as patched:
        patched.setattr(bucket, "read", away)
        assert not here.cache.compare("demo")
        patched.setattr(bucket, "upload", lambda *_arguments: pytest.fail("it would wait"))
        with pytest.raises(Unavailable, match="nothing was stored"):
            put(here, ONE)
    assert put(here, ONE) is not None


def test_files_that_are_sent_or_inspected_leave_threads_for_reads(
    here: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is one limit for both: two of them would let all threads of a server be in uploads."""
    assert here.mirror is not None
    monkeypatch.setattr(thread_limit, "_BRIEFLY", 0.01)
    monkeypatch.setattr(inspection._pool(os.getpid()), "uploads", thread_limit.ThreadLimit(2, inspection.Busy))
    upload, is_sending, goes_on = here.mirror.bucket.upload, threading.Event(), threading.Event()

    def send_slowly(key: str, path: Path) -> None:
        is_sending.set()
        goes_on.wait(10)
        upload(key, path)

    monkeypatch.setattr(here.mirror.bucket, "upload", send_slowly)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(put, here, ONE)
        assert is_sending.wait(10)
        with pytest.raises(inspection.Busy, match="at the same time"):
            put(here, TWO)
        with pytest.raises(inspection.Busy), inspection.uploading():
            pytest.fail("it is inspected beside a file that is sent")
        goes_on.set()
        assert first.result(10) is not None
    assert put(here, TWO) is not None


def test_an_upload_takes_at_most_five_requests_besides_the_audit(here: Store, other: Store) -> None:
    for store in (here, other):  # a node looks at the bucket once when it starts
        store.pull("anything")
    assert here.mirror is not None
    counts = here.mirror.bucket.counts
    for made, most in ((ONE, 5), (TWO, 4)):
        counts.clear()
        put(here, made, attestations=wheels.attestations(made))
        assert counts == {"write": most}
    counts.clear()
    other.pull("demo")
    assert counts == {"read": 2}
    counts.clear()
    other.pull("demo")
    assert counts == {"read": 1}


def test_an_upload_after_a_change_of_another_node_takes_two_requests_more(here: Store, other: Store) -> None:
    """The lost condition and the new head; for the first look at a project of the other the same with its name."""
    for store in (here, other):
        store.pull("anything")

    def cost(store: Store, made: tuple[str, bytes]) -> int:
        assert store.mirror is not None
        store.mirror.bucket.counts.clear()
        put(store, made)
        return store.mirror.bucket.counts.total()

    made = [wheels.wheel("demo", f"{number}.0") for number in range(4)]
    assert [cost(store, each) for store, each in zip((here, other, here, other), made, strict=True)] == [4, 6, 5, 5]
    sdists = [wheels.sdist("other", f"{number}.0") for number in range(3)]
    assert cost(here, sdists[0]) == 3
    assert other.mirror is not None
    other.mirror.names()
    assert cost(other, sdists[1]) == 3, "the name is known"
    assert cost(here, sdists[2]) == 4


def test_pages_have_the_same_serial_and_etag_at_every_node(here: Store, other: Store) -> None:
    put(here, ONE)
    for store, reason in ((here, "a"), (other, "b"), (here, "c")):
        store.yank("demo", "1.0", reason)
        here.pull("demo")
        other.pull("demo")
        one, two = (each.volume.pages("demo") / pages.JSON_PAGE for each in (here, other))
        assert one.read_bytes() == two.read_bytes()
        assert one.stat().st_mtime == two.stat().st_mtime


def test_a_name_is_taken_once_whatever_a_node_knows(here: Store, other: Store) -> None:
    put(here, ONE)
    changed = (ONE[0], wheels.wheel("demo", "1.0", summary="other")[1])
    with pytest.raises(Refused, match="already in this index with other content"):
        put(other, changed)
    assert put(other, ONE) is None
    assert put(other, TWO) is not None
    assert put(here, TWO) is None
    assert listed(here) == listed(other) == [ONE[0], TWO[0]]


@pytest.mark.parametrize("fate", ["lost", "cut"])
def test_a_head_whose_answer_is_lost_is_written_once(
    fate: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = FolderBucket("memory://lost", tmp_path / "bucket")
    monkeypatch.setattr(configured, "opened", lambda _address: bucket)
    store = new_node(tmp_path / "node", "memory://lost")
    store.pull("demo")
    bucket.trouble(**{fate: [4]})  # file, metadata, name, head
    record = put(store, ONE)
    assert record is not None
    bucket.trouble(**{fate: [1]})
    assert store.yank("demo", "1.0", "broken") == [ONE[0]]
    head = heads.read(bucket, "demo")
    assert head is not None
    assert (head.head.serial, head.head.files[ONE[0]].yanked) == (2, "broken")
    assert listed(store) == [ONE[0]]


def test_without_the_bucket_a_change_is_refused_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = FolderBucket("memory://away", tmp_path / "bucket")
    monkeypatch.setattr(configured, "opened", lambda _address: bucket)
    store = new_node(tmp_path / "node", "memory://away")
    put(store, ONE)
    bucket.is_away = True
    for change in (lambda: put(store, TWO), lambda: store.yank("demo", "1.0"), lambda: store.pull("demo")):
        with pytest.raises(Unavailable) as refused:
            change()
        assert refused.value.status == 503
    bucket.is_away = False
    assert listed(store) == [ONE[0]]
    assert store.read("demo").files[0].yanked is None


def test_a_node_does_not_use_a_bucket_that_was_emptied(here: Store) -> None:
    put(here, ONE)
    assert here.mirror is not None
    here.mirror.bucket.delete(*here.mirror.bucket.keys(""))
    again = Store(here.volume)
    with pytest.raises(PpmError, match="cache of another bucket"):
        put(again, TWO)
    assert list(here.mirror.bucket.keys("")) == []


def test_yanks_removals_and_states_follow(here: Store, other: Store) -> None:
    put(here, ONE)
    put(here, TWO)
    assert other.yank("demo", "1.0", "broken") == [ONE[0]]
    here.pull("demo")
    assert [file.yanked for file in here.read("demo").files] == ["broken", None]
    here.unyank("demo", "1.0")
    assert here.remove("demo", "2.0") == [TWO[0]]
    assert listed(other) == [ONE[0]]
    assert other.read("demo").files[0].yanked is None
    with pytest.raises(Refused, match="was removed"):
        put(other, TWO)
    other.set_status("demo", "quarantined", "malware")
    assert listed(here) == []
    assert not here.has_file("demo", ONE[0])
    assert not here.volume.file("demo", ONE[0]).exists()
    with pytest.raises(Refused, match="quarantined"):
        put(here, wheels.wheel("demo", "3.0"))
    here.set_status("demo", "active")
    assert listed(other) == [ONE[0]]
    assert here.volume.file("demo", ONE[0]).exists()


def test_a_removed_file_leaves_the_bucket_and_every_node(here: Store, other: Store) -> None:
    attestations = wheels.attestations(ONE)
    put(here, ONE, attestations=attestations)
    other.pull("demo")
    assert other.mirror is not None
    assert other.mirror.fetch("demo", ONE[0] + ".provenance").exists()
    other.mirror.fetch("demo", ONE[0])
    assert len(list(other.mirror.bucket.keys(keys.PACKAGES))) == 3
    here.remove("demo", ONE[0])
    assert list(other.mirror.bucket.keys(keys.PACKAGES)) == []
    other.pull("demo")
    assert sorted(path.name for path in other.volume.project("demo").iterdir()) == [ONE[0] + ".removed"]


def test_a_file_that_another_node_removed_meanwhile_is_not_found(here: Store, other: Store) -> None:
    put(here, ONE)
    other.pull("demo")
    here.remove("demo", "1.0")
    assert other.mirror is not None
    with pytest.raises(FileNotFoundError):
        other.mirror.fetch("demo", ONE[0])
    assert other.read("demo").files == ()


def test_a_project_that_does_not_exist(here: Store, other: Store) -> None:
    here.pull("demo")
    assert not here.has_project("demo")
    for change in (lambda: here.yank("demo", "1.0"), lambda: here.set_status("demo", "archived")):
        with pytest.raises(NotHere):
            change()
    put(other, ONE)
    assert here.yank("demo", "1.0") == [ONE[0]]


def test_a_claim_is_known_everywhere(here: Store, other: Store) -> None:
    claim = here.claim("demo", by="admin")
    assert other.claim("demo", by="another") == claim
    assert other.claim_of("demo") == claim
    other.unclaim("demo")
    assert here.claim_of("demo") is None


def test_names_of_projects_that_nobody_read_here_are_listed(here: Store, other: Store) -> None:
    put(here, ONE)
    assert other.mirror is not None
    assert other.mirror.names() == {"demo"}
    assert other.root_is_old.is_set()
    assert other.projects() == ["demo"]


def test_a_name_whose_first_upload_failed_is_in_no_list(here: Store, other: Store) -> None:
    assert here.mirror is not None
    here.mirror.join()
    SharedNames(here.mirror.bucket, here.volume.names).add("demo")
    assert other.mirror is not None
    assert other.mirror.names() == {"demo"}
    other.pull("demo")
    assert not other.has_project("demo")
    assert other.projects() == []
    put(here, ONE)
    other.pull("demo")
    assert other.projects() == ["demo"]


@pytest.mark.parametrize("is_repeated", [False, True], ids=["read before the commit", "repeated after a failure"])
def test_a_name_without_a_project_is_listed_when_it_has_one(
    is_repeated: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if nobody asks this node for the project itself again, and no audit event tells of it."""
    here, other = (new_node(tmp_path / name, f"memory://{tmp_path.name}") for name in ("here", "other"))
    commit = heads.commit

    def late(*arguments: Any, **options: Any) -> heads.Version:
        other.cache._pull("demo")
        other.cache._pull(ROOT)
        if is_repeated:
            raise Unavailable("The bucket does not answer.")
        return commit(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(heads, "commit", late)
        with pytest.raises(Unavailable) if is_repeated else contextlib.nullcontext():
            put(here, ONE)
    assert other.projects() == []
    if is_repeated:
        put(here, ONE)
    other.root_is_old.clear()
    other.cache._pull(ROOT)
    root = json.loads((other.volume.simple / pages.JSON_PAGE).read_bytes())
    assert [project["name"] for project in root["projects"]] == other.projects() == ["demo"]
    assert other.root_is_old.is_set()


def test_names_without_a_project_are_looked_at_in_turn_and_cost_nothing_without_one(here: Store) -> None:
    assert here.mirror is not None
    here.mirror.names()
    bucket = here.mirror.bucket
    bucket.counts.clear()
    here.mirror.names()
    assert bucket.counts == {"read": 16}
    names = SharedNames(bucket, here.volume.names)
    missing = [f"p{number:02}" for number in range(20)]
    for name in missing:
        names.add(name)
        here.pull(name)
    bucket.counts.clear()
    here.mirror.names()
    assert bucket.counts == {"read": 16 + 16}
    bucket.write(keys.head(missing[-1]), b"")
    here.mirror.names()
    assert here.projects() == [missing[-1]]
    assert names.missing(7) == missing[:7]
    assert names.missing(20) == [*missing[7:19], *missing[:7]]


@pytest.mark.parametrize("changes", [1, 3], ids=["an earlier serial", "a later serial"])
def test_every_node_follows_a_head_that_was_restored_and_changed(changes: int, tmp_path: Path) -> None:
    """Files that the node knew with other content, and its tombstones, go."""
    here, other = (new_node(tmp_path / name, f"memory://{tmp_path.name}") for name in ("here", "other"))
    put(here, ONE)
    assert here.mirror is not None
    bucket, key = here.mirror.bucket, keys.head("demo")
    restored = bucket.read(key)
    assert restored is not None
    put(here, TWO)
    here.remove("demo", "1.0")
    bucket.write(key, restored.content)
    bucket.write(keys.file("demo", hashlib.sha256(ONE[1]).hexdigest(), ONE[0]), ONE[1])
    assert listed(other) == [ONE[0]]
    for number in range(changes - 1):
        other.yank("demo", "1.0", f"reason {number}")
    another = wheels.wheel("demo", "2.0", summary="other")
    put(other, another)
    assert listed(here) == listed(other) == [ONE[0], TWO[0]]
    for made in (ONE, another):
        assert here.mirror.fetch("demo", made[0]).read_bytes() == made[1]


def test_a_head_that_was_restored_is_followed_by_a_change(here: Store, other: Store) -> None:
    put(here, ONE)
    assert here.mirror is not None
    restored = here.mirror.bucket.read(keys.head("demo"))
    assert restored is not None
    here.yank("demo", "1.0", "broken")
    here.mirror.bucket.write(keys.head("demo"), restored.content)
    put(here, TWO)
    assert listed(here) == listed(other) == [ONE[0], TWO[0]]
    assert here.read("demo").files[0].yanked is None


def test_a_change_of_a_project_whose_head_is_lost_says_so(here: Store) -> None:
    put(here, ONE)
    assert here.mirror is not None
    here.mirror.bucket.delete(keys.head("demo"))
    with pytest.raises(Unavailable, match="lost the head of demo"):
        put(here, TWO)


def test_an_older_head_that_a_thread_read_before_another_is_not_applied(here: Store, other: Store) -> None:
    put(other, ONE)
    assert here.mirror is not None
    older = here.mirror._newer("demo", None)
    assert older is not None
    put(other, TWO)
    assert listed(here) == [ONE[0], TWO[0]]
    assert not here.mirror._apply("demo", older, None)
    assert listed(here) == [ONE[0], TWO[0]]


def test_an_interrupted_update_is_completed_by_the_next(here: Store, other: Store) -> None:
    put(here, ONE)
    other.pull("demo")
    here.yank("demo", "1.0", "broken")
    other.pull("demo")
    # as if a process had been killed after the yank of a newer head was written, and before the head was noted
    other.volume.side_file("demo", ONE[0], ".yanked").write_text("newer\n", encoding="utf-8")
    pages.mark(other.volume, "demo")
    put(here, TWO)
    assert listed(other) == [ONE[0], TWO[0]]
    assert other.read("demo").files[0].yanked == "broken"
    assert "demo" not in pages.marked(other.volume)


def test_an_update_that_was_killed_right_before_its_end_is_completed_without_a_newer_head(
    here: Store, other: Store
) -> None:
    put(here, ONE)
    other.pull("demo")
    pages.mark(other.volume, "demo")  # the head was noted, and the mark not removed
    assert listed(other) == [ONE[0]]
    assert pages.marked(other.volume) == [".root"]


def no_space(*_arguments: object, **_options: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each write of a small file below a node's volume fail."""
    replacement = files.replacement

    def replaced(path: Path, content: bytes, **options: Any) -> contextlib.AbstractContextManager[Path]:
        return (no_space if path.is_relative_to(store.volume.root) else replacement)(path, content, **options)

    monkeypatch.setattr(files, "replacement", replaced)


def names_served(store: Store) -> set[str]:
    """Return the names of files in a project's folder, with those that a request would fetch."""
    return set(project_folder.served_names(store.volume, "demo") or ()) & {ONE[0], TWO[0], ONE[0] + ".metadata"}


@pytest.mark.parametrize("change", ["removed", "quarantined"])
@pytest.mark.parametrize("can_mark", [True, False])
def test_a_node_with_a_full_disk_serves_nothing_that_was_taken_away(
    change: str, can_mark: bool, here: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither from the disk nor from the bucket. With space it follows, and what comes back is served."""
    for made in (ONE, TWO):
        put(here, made)
    assert listed(other) == [ONE[0], TWO[0]]
    assert other.mirror is not None
    for name in (ONE[0], ONE[0] + ".metadata", TWO[0]):
        other.mirror.fetch("demo", name)
    if change == "removed":
        here.remove("demo", "1.0")
    else:
        here.set_status("demo", "quarantined", "malware")
    with monkeypatch.context() as patched:
        full_disk(other, patched)
        if not can_mark:
            patched.setattr(pages, "mark", no_space)
        for _ in range(2):
            other.cache.freshness = Freshness(other.volume, other.mirror.pull)
            assert not other.cache.compare("demo")
            assert names_served(other) == ({TWO[0]} if change == "removed" else set())
            with pytest.raises(OSError, match="No space left"):
                other.mirror.fetch("demo", ONE[0])
            assert not other.volume.file("demo", ONE[0]).exists()
            assert other.has_project("demo"), "its name stays in use"
    assert listed(other) == ([TWO[0]] if change == "removed" else [])
    assert other.volume.file("demo", TWO[0]).exists() == (change == "removed")
    assert "demo" not in pages.marked(other.volume)
    if change == "quarantined":
        here.set_status("demo", "active")
        assert listed(other) == [ONE[0], TWO[0]]
        assert other.mirror.fetch("demo", ONE[0]).read_bytes() == ONE[1]


def test_a_change_makes_room_for_itself_once(here: Store, other: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(here, ONE)
    other.pull("demo")
    here.yank("demo", "1.0", "broken")
    made: list[int] = []

    def make_room(_volume: Volume, size: int) -> bool:
        made.append(size)
        if len(made) == 2:  # the first time it was too little
            monkeypatch.undo()
        return True

    full_disk(other, monkeypatch)
    monkeypatch.setattr(eviction, "make_room", make_room)
    with pytest.raises(OSError, match="No space left"):
        other.pull("demo")
    assert made == [0]
    other.pull("demo")
    assert made == [0, 0]
    assert other.read("demo").files[0].yanked == "broken"
    assert "demo" not in pages.marked(other.volume)


def test_a_full_disk_shows_no_environment_that_is_quarantined(
    here: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(here, revision("ml", 1, "numpy"))
    other.pull("ppm-env-ml")
    top = other.volume.environment("ml")
    assert (top / "latest" / "requirements.txt").exists()
    here.set_status("ppm-env-ml", "quarantined")
    with monkeypatch.context() as patched:
        full_disk(other, patched)
        with pytest.raises(OSError, match="No space left"):
            other.pull("ppm-env-ml")
        assert not top.exists()
    other.pull("ppm-env-ml")
    assert sorted(path.name for path in top.iterdir()) == ["log.json"]
    here.set_status("ppm-env-ml", "active")
    other.pull("ppm-env-ml")
    assert (top / "latest" / "requirements.txt").exists()


def test_a_start_with_a_full_disk_brings_nothing_back(
    here: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(here, ONE)
    assert listed(other) == [ONE[0]]
    here.set_status("demo", "quarantined")
    with monkeypatch.context() as patched:
        full_disk(other, patched)
        with pytest.raises(OSError, match="No space left"):
            other.pull("demo")
        recovery.repair(other)
        assert names_served(other) == set()
        with pytest.raises(OSError, match="No space left"):
            other.pull("demo")
        assert names_served(other) == set()
    assert listed(other) == []
    assert other.has_project("demo")
    here.set_status("demo", "active")
    assert listed(other) == [ONE[0]]


def test_a_volume_is_the_cache_of_one_bucket(here: Store) -> None:
    put(here, ONE)
    again = new_node(here.volume.root, f"{here.volume.bucket}-another")
    with pytest.raises(PpmError, match="cache of another bucket"):
        put(again, TWO)
