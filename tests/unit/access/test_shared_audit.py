"""The audit of several nodes on one bucket: each node has the lines of all, once, and reports what others changed."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from collections.abc import Callable, Set
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ppmctl import files
from ppmctl.access import audit_follower, audit_log, audit_query, shared_audit
from ppmctl.access.audit_follower import AuditFollower
from ppmctl.index.layout import Volume
from ppmctl.storage import configured, keys
from ppmctl.storage.bucket import Bucket, Found, Unavailable
from ppmctl.webhooks import event


class Node:
    """A node: its volume, and what its follower reported."""

    def __init__(self, root: Path) -> None:
        self.volume = Volume(root=root)
        self.volume.prepare()
        self.name = configured.node(root)
        self.changed: list[Set[str] | None] = []
        self.now = 0.0
        self.start_again()

    def start_again(self) -> None:
        self.follower = AuditFollower(self.volume, self.changed.append, clock=lambda: self.now)

    def write(self, what: str, *, result: str = "done", action: str = "publish") -> None:
        audit_log.write(self.volume, action=action, by="ann", origin="192.0.2.1", what=what, result=result)

    def follow(self) -> int:
        self.now += 3600
        return self.follower.step()

    def lines(self) -> list[tuple[str, str | None]]:
        """Return what each line is about, and its node."""
        text = self.volume.audit.read_text() if self.volume.audit.exists() else ""
        return [(values["what"], values.get("node")) for values in map(json.loads, text.splitlines())]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setenv("PPM_STORAGE", f"memory://{secrets.token_hex(8)}")
    return configured.opened(configured.address_of(Path()))


@pytest.fixture
def new_node(bucket: Bucket, tmp_path: Path) -> Callable[[str], Node]:
    return lambda name: Node(tmp_path / name)


def away(*_arguments: object, **_options: object) -> NoReturn:
    raise Unavailable("The bucket can't be used now.")


def in_bucket(bucket: Bucket, node: Node) -> list[list[str]]:
    """Return what the lines of each object of a node are about."""
    found = []
    for key in bucket.keys(keys.audit_of(node.name)):
        stored = bucket.read(key)
        assert stored is not None
        found.append([json.loads(line)["what"] for line in stored.content.splitlines()])
    return found


def test_a_change_is_in_the_bucket_when_it_is_acknowledged(bucket: Bucket, new_node: Callable[[str], Node]) -> None:
    a = new_node("a")
    bucket.counts.clear()
    a.write("one-1.tar.gz")
    assert in_bucket(bucket, a) == [["one-1.tar.gz"]]
    a.write("no-1.tar.gz", result="it is there")  # soon, with the next
    assert in_bucket(bucket, a) == [["one-1.tar.gz"]]
    bucket.counts.clear()
    a.write("two-1.tar.gz")
    assert dict(bucket.counts) == {"write": 1}
    assert in_bucket(bucket, a) == [["one-1.tar.gz"], ["no-1.tar.gz", "two-1.tar.gz"]]


def test_every_node_has_all_lines_once_and_reports_projects(new_node: Callable[[str], Node]) -> None:
    a, b = new_node("a"), new_node("b")
    a.follow()
    a.write("one-1.tar.gz")
    a.write("two-1.tar.gz", result="refused")
    a.write("ann as reader", action="user add")
    b.write("three-1.tar.gz")
    assert a.follow() == 1
    assert a.changed == [None, {"three"}]  # the first time all projects of the bucket
    assert a.lines()[-1] == ("three-1.tar.gz", b.name)
    b.follow()
    assert b.lines() == [
        ("three-1.tar.gz", None),
        *((what, a.name) for what in ("one-1.tar.gz", "two-1.tar.gz", "ann as reader")),
    ]
    for node in (a, b):
        assert node.follow() == 0
        node.start_again()
        assert node.follow() == 0
    newest = new_node("c")
    newest.follow()
    assert sorted(newest.lines()) == sorted((what, node or b.name) for what, node in b.lines())
    assert newest.changed == [None, {"one", "three"}]


def test_lines_of_other_nodes_are_not_sent_again_and_are_no_events(
    bucket: Bucket, new_node: Callable[[str], Node]
) -> None:
    a, b = new_node("a"), new_node("b")
    a.write("one-1.tar.gz")
    b.follow()
    b.write("two-1.tar.gz")
    assert in_bucket(bucket, b) == [["two-1.tar.gz"]]
    first, second = b.volume.audit.read_bytes().splitlines()
    assert event.of(first, "x") is None
    assert event.of(second, "x") is not None
    assert [entry.is_elsewhere for entry in audit_query.read(b.volume).entries] == [True, False]


def test_an_index_that_moves_to_a_bucket_brings_its_audit(
    bucket: Bucket, new_node: Callable[[str], Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_audit, "MOST_LINES", 2)
    a = new_node("a")
    for number in range(5):
        a.write(f"old-{number}.tar.gz", result="refused")
    a.write("new-1.tar.gz")
    assert in_bucket(bucket, a) == [
        ["old-0.tar.gz", "old-1.tar.gz"],
        ["old-2.tar.gz", "old-3.tar.gz"],
        ["old-4.tar.gz", "new-1.tar.gz"],
    ]


def test_lines_survive_a_bucket_that_is_away(
    bucket: Bucket,
    new_node: Callable[[str], Node],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    a, b = new_node("a"), new_node("b")

    with monkeypatch.context() as patched:
        patched.setattr(bucket, "create", away)
        a.write("one-1.tar.gz")
    assert "not in the bucket yet" in caplog.text
    assert in_bucket(bucket, a) == []
    shared_audit.send(a.volume)
    assert in_bucket(bucket, a) == [["one-1.tar.gz"]]
    assert b.follow() == 1


@pytest.mark.parametrize("answers", [Unavailable("lost"), SystemExit()], ids=["lost answer", "killed"])
def test_a_line_that_was_sent_is_not_sent_again(
    answers: BaseException, bucket: Bucket, new_node: Callable[[str], Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    a = new_node("a")
    create = bucket.create

    def lose(key: str, content: bytes) -> str:
        create(key, content)
        raise answers

    with monkeypatch.context() as patched:
        patched.setattr(bucket, "create", lose)
        with contextlib.suppress(SystemExit):
            a.write("one-1.tar.gz")
    a.write("two-1.tar.gz")
    assert in_bucket(bucket, a) == [["one-1.tar.gz"], ["two-1.tar.gz"]]


def test_a_restored_volume_goes_on_behind_its_later_lines(bucket: Bucket, new_node: Callable[[str], Node]) -> None:
    a = new_node("a")
    a.write("one-1.tar.gz")
    before = {path: path.read_bytes() for path in (a.volume.audit, a.volume.audit_sent)}
    a.write("lost-1.tar.gz")
    a.write("lost-2.tar.gz")
    for path, content in before.items():
        path.write_bytes(content)
    a.write("two-1.tar.gz")
    assert in_bucket(bucket, a) == [["one-1.tar.gz"], ["lost-1.tar.gz"], ["lost-2.tar.gz"], ["two-1.tar.gz"]]


def test_a_part_that_the_log_lacks_is_reported_once(
    bucket: Bucket, new_node: Callable[[str], Node], caplog: pytest.LogCaptureFixture
) -> None:
    a = new_node("a")
    a.write("one-1.tar.gz")
    before = a.volume.audit.read_bytes()
    a.write("two-1.tar.gz")
    a.volume.audit.write_bytes(before)
    for _time in range(3):
        shared_audit.send(a.volume)
    assert caplog.text.count("lacks the part") == 1
    a.write("three-1.tar.gz")
    assert in_bucket(bucket, a) == [["one-1.tar.gz"], ["two-1.tar.gz"], ["three-1.tar.gz"]]


def test_threads_share_a_request(bucket: Bucket, new_node: Callable[[str], Node]) -> None:
    a = new_node("a")
    a.write("first-1.tar.gz")
    threads = [threading.Thread(target=a.write, args=(f"one-{number}.tar.gz",)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(what for each in in_bucket(bucket, a) for what in each) == sorted(what for what, _node in a.lines())


def test_a_killed_follower_repeats_no_line(new_node: Callable[[str], Node], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = new_node("a"), new_node("b")
    a.write("one-1.tar.gz")
    b.follow()
    a.write("two-1.tar.gz")
    a.write("three-1.tar.gz")

    def die(*_arguments: object, **_options: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_atomic", die)  # right after it appended
        with pytest.raises(SystemExit):
            b.follow()
    a.write("four-1.tar.gz")
    b.start_again()
    b.follow()
    assert [what for what, _node in b.lines()] == [f"{name}-1.tar.gz" for name in ("one", "two", "three", "four")]


def test_a_change_that_could_not_be_followed_is_followed_again(new_node: Callable[[str], Node]) -> None:
    a, b = new_node("a"), new_node("b")
    b.follow()
    a.write("one-1.tar.gz")
    refusals = [Unavailable("The bucket can't be used now.")]

    def changed(projects: Set[str] | None) -> None:
        if refusals:
            raise refusals.pop()
        b.changed.append(projects)

    b.follower = AuditFollower(b.volume, changed, clock=lambda: b.now)
    with pytest.raises(Unavailable):
        b.follow()
    assert b.lines() == []
    assert b.follow() == 1
    assert b.changed == [None, {"one"}]


def test_a_new_node_has_all_projects_before_it_reads_the_audit(
    bucket: Bucket, new_node: Callable[[str], Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = new_node("a"), new_node("b")
    a.write("one-1.tar.gz")
    monkeypatch.setattr(bucket, "read", away)
    with pytest.raises(Unavailable):
        b.follow()
    assert b.changed == [None]
    b.start_again()
    with pytest.raises(Unavailable):
        b.follow()
    assert b.changed == [None], "once"


def test_a_new_node_asks_once_for_what_an_old_audit_says(
    new_node: Callable[[str], Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_follower, "_MOST_LINES", 2)
    monkeypatch.setattr(audit_follower, "_CLOCKS_DIFFER", timedelta(0))
    a, b = new_node("a"), new_node("b")
    for number in range(5):
        a.write(f"old-{number}.tar.gz")
    b.follow()
    a.write("new-1.tar.gz")
    while b.follow():
        pass
    assert b.changed[0] is None
    assert set().union(*filter(None, b.changed)) == {"new"}
    assert len(b.lines()) == 6
    a.write("old-6.tar.gz")
    b.follow()
    assert b.changed[-1] == {"old"}


def test_what_was_read_of_a_long_audit_is_not_read_again(
    bucket: Bucket, new_node: Callable[[str], Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failure, and a part at a time: other nodes are followed meanwhile."""
    monkeypatch.setattr(audit_follower, "_MOST_LINES", 20)
    a, b = new_node("a"), new_node("b")
    for number in range(50):
        a.write(f"one-{number}.tar.gz")
    read = bucket.read

    def fail_at_ten(key: str, *, unless: str | None = None) -> Found | None:
        return away() if key == keys.audit(a.name, 10) else read(key, unless=unless)

    with monkeypatch.context() as patched:
        patched.setattr(bucket, "read", fail_at_ten)
        assert b.follow() == 9
        with pytest.raises(Unavailable):
            b.follow()
    assert 20 <= b.follow() < 41, "a part"
    while b.follow():
        pass
    assert [what for what, _node in b.lines()] == [f"one-{number}.tar.gz" for number in range(50)]


def test_a_node_goes_on_after_old_objects_were_deleted(bucket: Bucket, new_node: Callable[[str], Node]) -> None:
    a, b = new_node("a"), new_node("b")
    for number in range(4):
        a.write(f"one-{number}.tar.gz")
    b.follow()
    for number in range(4, 8):
        a.write(f"one-{number}.tar.gz")
    bucket.delete(*(keys.audit(a.name, number) for number in range(1, 7)))
    b.start_again()
    b.follow()
    assert [what for what, _node in b.lines()] == [f"one-{number}.tar.gz" for number in (0, 1, 2, 3, 6, 7)]


def test_idle_nodes_are_asked_seldom(bucket: Bucket, new_node: Callable[[str], Node]) -> None:
    a, b = new_node("a"), new_node("b")
    a.write("one-1.tar.gz")
    b.follower.step()
    bucket.counts.clear()
    for _second in range(3600):
        b.now += 1
        b.follower.step()
    assert bucket.counts["read"] < 150
    assert bucket.counts["list"] == 120


def test_an_invalid_line_is_left_out(bucket: Bucket, new_node: Callable[[str], Node]) -> None:
    a = new_node("a")
    line: dict[str, Any] = {
        "time": "2026-11-30T10:00:00.000000Z",
        "what": "one-1.tar.gz",
        "action": "yank",
        "by": "x",
    }
    bucket.create(keys.audit("n", 1), b"{\n[]\n" + json.dumps(line).encode() + b"\n")
    assert a.follow() == 1
    assert a.lines() == [("one-1.tar.gz", "n")]
