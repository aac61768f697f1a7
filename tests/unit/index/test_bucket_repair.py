"""`ppmctl index rebuild` of a bucket: it undoes no change that was acknowledged, also by another node."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
from support import wheels
from support.nodes import new_node

from ppmctl.distributions import distribution
from ppmctl.index import bucket_check
from ppmctl.index.bucket_repair import BucketRepair
from ppmctl.index.store import Store
from ppmctl.storage import head as heads
from ppmctl.storage import keys
from ppmctl.storage.bucket import Bucket, Unavailable

ONE, TWO = wheels.wheel("demo", "1.0"), wheels.wheel("demo", "2.0")


def put(store: Store, made: tuple[str, bytes]) -> None:
    with store.area.new_file() as received:
        received.write(made[1])
        received.finish()
        store.put(received, distribution.inspect(received.path, made[0]), by="tester")


def bucket_of(store: Store) -> Bucket:
    assert store.mirror is not None
    return store.mirror.bucket


def rebuilt(store: Store) -> BucketRepair:
    assert store.mirror is not None
    repair = BucketRepair(store.volume, store.mirror)
    repair.run()
    return repair


def test_a_lost_head_is_written_again(here: Store) -> None:
    put(here, ONE)
    bucket_of(here).delete(keys.head("demo"))
    assert rebuilt(here).written == [keys.head("demo")]
    here.pull("demo")
    assert [file.filename for file in here.read("demo").files] == [ONE[0]]


@pytest.mark.parametrize("change", ["publish", "remove"])
def test_a_lost_head_is_not_written_as_it_was_before_a_change_of_another_node(
    change: str, here: Store, other: Store
) -> None:
    put(here, ONE)
    if change == "publish":
        put(other, TWO)
    else:
        put(here, TWO)
        other.remove("demo", "1.0")
    bucket_of(here).delete(keys.head("demo"))
    assert rebuilt(here).written == []
    assert bucket_of(here).read(keys.head("demo")) is None
    assert rebuilt(other).written == [keys.head("demo")]


@pytest.mark.parametrize("names_are_lost", [False, True], ids=["named", "names lost too"])
def test_nothing_is_removed_of_a_project_that_lost_its_head_and_a_file(
    names_are_lost: bool, here: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another node may have removed the file, so it is not published again unless somebody sends it."""
    put(here, ONE)
    put(here, TWO)
    bucket, lost = bucket_of(here), keys.file("demo", hashlib.sha256(ONE[1]).hexdigest(), ONE[0])
    bucket.delete(keys.head("demo"), lost, *([keys.names(keys.shard("demo"))] if names_are_lost else []))
    monkeypatch.setattr(bucket_check, "STRAY_AFTER", timedelta(0))
    left = set(bucket.keys(keys.packages("demo")))
    assert here.mirror is not None
    with monkeypatch.context() as patched:
        patched.setattr(here.mirror, "applied", lambda _project: None)  # as after a reboot
        assert rebuilt(here).removed == []
    (found,) = bucket_check.check(here, here.mirror, hashes=False)
    repair = rebuilt(here)
    assert (repair.written, repair.removed) == ([], [])
    assert repair.problems == [f"{found.where} {found.what}: {found.repair}"]
    assert f"lacks {lost} too" in found.repair
    assert set(bucket.keys(keys.packages("demo"))) == left
    bucket.write(lost, ONE[1])
    assert keys.head("demo") in rebuilt(here).written
    assert list(bucket_check.check(here, here.mirror, hashes=True)) == []


def test_a_file_that_is_uploaded_again_while_its_old_rest_is_removed_stays(
    here: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = new_node(tmp_path / "elsewhere", f"memory://{tmp_path.name}-elsewhere")
    put(elsewhere, ONE)
    put(here, TWO)
    bucket, rest = bucket_of(here), list(bucket_of(elsewhere).keys(keys.packages("demo")))
    for key in rest:  # as an upload that failed has left it
        bucket.write(key, b"".join(bucket_of(elsewhere).stream(key)))
    delete = bucket.delete

    def late(key: str) -> None:
        put(here, ONE)
        delete(key)

    monkeypatch.setattr(bucket_check, "STRAY_AFTER", timedelta(0))
    monkeypatch.setattr(bucket, "delete", late)
    repair = rebuilt(here)
    assert sorted(repair.written) == sorted(repair.removed) == rest
    assert set(rest) <= set(bucket.keys(keys.packages("demo")))


@pytest.mark.parametrize("is_read", [False, True], ids=["right before the commit", "read by the node"])
def test_a_file_that_is_named_after_its_old_rest_was_removed_is_sent_again(
    is_read: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is removed by a node that does not have the file, between the upload's sending and its commit."""
    here, other = (new_node(tmp_path / name, f"memory://{tmp_path.name}") for name in ("here", "other"))
    put(here, ONE)
    commit, removed = heads.commit, list[str]()

    def away(*_arguments: object, **_options: object) -> NoReturn:
        raise Unavailable("The bucket does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(heads, "commit", away)
        with pytest.raises(Unavailable):
            put(here, TWO)
    monkeypatch.setattr(bucket_check, "STRAY_AFTER", timedelta(0))
    assert here.mirror is not None
    send = here.mirror.send

    def rebuild_once() -> None:
        if not removed:
            removed.append("")  # the rebuild commits too
            removed[:] = rebuilt(other).removed
            if is_read:
                here.pull("demo")

    def send_early(*arguments: Any) -> None:
        send(*arguments)
        rebuild_once()

    def commit_late(*arguments: Any, **options: Any) -> heads.Version:
        rebuild_once()
        return commit(*arguments, **options)

    if is_read:
        monkeypatch.setattr(here.mirror, "send", send_early)
    else:
        monkeypatch.setattr(heads, "commit", commit_late)
    put(here, TWO)
    assert len(removed) == 2, "the file and its metadata"
    other.pull("demo")
    assert other.mirror is not None
    assert other.mirror.fetch("demo", TWO[0]).read_bytes() == TWO[1]
    bucket_of(here).counts.clear()
    put(here, wheels.wheel("demo", "3.0"))
    assert bucket_of(here).counts == {"write": 3}


def test_what_a_failed_upload_left_is_removed(here: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(here, ONE)
    bucket_of(here).write(key := keys.file("demo", "0" * 64, TWO[0]), b"rest")
    assert rebuilt(here).removed == [], "an upload may still be about to name it"
    monkeypatch.setattr(bucket_check, "STRAY_AFTER", timedelta(0))
    repair = rebuilt(here)
    assert (repair.removed, repair.written, repair.problems) == ([key], [], [])
