"""Tests of kill -9 of the whole server, and of commands: no acknowledged change is lost, and none is half done.

Each change is made once while its file operations are recorded (`support.crashing`). Then it is made again for each
recorded operation that changes the disk, and killed right before that operation. The expected state follows from the
operation's place in the record: the change is complete after the operation that commits it, and absent before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import random
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests
from support import evidence, servers, streams, warm, wheels
from support.crashing import Operation, Plan
from support.servers import Server
from support.slow import SlowUpload
from support.streams import Made

from ppmctl.index import pages
from ppmctl.index.layout import Volume

LANES = 4  # servers at once, as most of the time is waiting

# The operations whose order makes a crash harmless, by names for these tests. Each record must have them in this
# order, so that renaming, moving or losing one is noticed even if no crash shows it.
PAGES = {
    "pages-write-json": "open index/simple/{project}/.index.json.*.tmp",
    "pages-write-html": "open index/simple/{project}/.index.html.*.tmp",
    "page-json": "os.rename index/simple/{project}/.index.json.*.tmp -> index/simple/{project}/index.json",
    "page-html": "os.rename index/simple/{project}/.index.html.*.tmp -> index/simple/{project}/index.html",
}
_PACKED = "index/simple/{project}/.index.html.gz.*.tmp"
PACKED = {"page-html-packed": f"os.rename {_PACKED} -> index/simple/{{project}}/index.html.gz"}
MARK = {"mark-pending": "open index/pending/{project}"}
UNMARK = {"unmark": "os.remove index/pending/{project}"}
AUDIT = {"audit": "open audit.jsonl"}

# once per process, at its first upload
OWN_FOLDER = {
    "receive-own-folder": "os.mkdir incoming/*",
    "receive-own-lock": "open incoming/*/.lock",
}
RECEIVE = {
    "receive-file": "open incoming/*/*",
    # a child process, in which nothing is recorded, reads the file here
    "side-file-record": "open incoming/*/* (2)",
    "side-file-metadata": "open incoming/*/* (3)",
    "side-file-attestations": "open incoming/*/* (4)",
    "side-file-provenance": "open incoming/*/* (5)",
    "lock": "open locks/*",
    "tombstone-check-made": "open packages/{project}/.status",
    **MARK,
}
NEW_PROJECT = {
    "mark-root": "open index/pending/.root",
    "make-project": "os.mkdir packages/{project}",
}
LINK = {
    "place-metadata": "os.rename incoming/*/* -> packages/{project}/{file}.metadata",
    "place-record": "os.rename incoming/*/* -> packages/{project}/{file}.upload",
    "place-attestations": "os.rename incoming/*/* -> packages/{project}/{file}.attestations",
    "place-provenance": "os.rename incoming/*/* -> packages/{project}/{file}.provenance",
    "link": "os.link incoming/*/* -> packages/{project}/{file}",
}
NEW_PROJECT_LINKED = {"linked-sync-packages": "open packages"}
NEW_PAGES = {"pages-folder": "os.mkdir index/simple/{project}"}
LINKED = {"linked-sync-project": "open packages/{project}"}
UPLOADED = {**UNMARK, "unmarked-drop-incoming": "os.remove incoming/*/*", **AUDIT}
UPLOAD_NEW = {
    **OWN_FOLDER,
    **RECEIVE,
    **NEW_PROJECT,
    **LINK,
    **NEW_PROJECT_LINKED,
    **LINKED,
    **NEW_PAGES,
    **PAGES,
    **UPLOADED,
}
UPLOAD_KNOWN = {**RECEIVE, **LINK, **LINKED, **PAGES, **PACKED, **UPLOADED}
ROOT_LIST = {  # by another thread
    "root-writing": "open index/pending/.root-writing",
    "root-mark-taken": "os.remove index/pending/.root",
    "root-write": "open index/simple/.index.html.*.tmp",
    "root-page-json": "os.rename index/simple/.index.json.*.tmp -> index/simple/index.json",
    "root-page-html": "os.rename index/simple/.index.html.*.tmp -> index/simple/index.html",
    "root-unmark": "os.remove index/pending/.root-writing",
}
REMOVE = {
    **MARK,
    "tombstone-write": "open packages/{project}/.{file}.removed.*.tmp",
    "tombstone": "os.rename packages/{project}/.{file}.removed.*.tmp -> packages/{project}/{file}.removed",
    "tombstone-sync": "open packages/{project}",
    **PAGES,
    "unlink-file": "os.remove packages/{project}/{file}",
    "unlink-record": "os.remove packages/{project}/{file}.upload",
    "unlink-metadata": "os.remove packages/{project}/{file}.metadata",
    "unlink-attestations": "os.remove packages/{project}/{file}.attestations",
    "unlink-provenance": "os.remove packages/{project}/{file}.provenance",
    **UNMARK,
    **AUDIT,
}
DROP = {
    "take": "open incoming/*/*",
    **MARK,
    "link": LINK["link"],
    **PAGES,
    **UNMARK,
    **AUDIT,
    "leave": "os.remove drop/{file}",
}
SWEEP = {"sweep": "shutil.rmtree incoming/*"}
MEND_LINKED = {
    "page-json": PAGES["page-json"],
    "page-html": PAGES["page-html"],
    "mark-root": "os.utime index/pending/.root",
    **UNMARK,
    **SWEEP,
}
MEND_UNLINKED = {
    "orphan-record": "os.remove packages/{project}/{file}.upload",
    "orphan-metadata": "os.remove packages/{project}/{file}.metadata",
    "empty-project": "os.rmdir packages/{project}",
    **UNMARK,
    **SWEEP,
}

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Point:
    """The moment before an operation; `done`: the change is complete after a crash there."""

    operation: Operation
    done: bool

    def __str__(self) -> str:
        return str(self.operation)


def in_order(recorded: Iterable[Operation], expected: Mapping[str, str]) -> None:
    """Fail unless the `expected` operations are recorded in this order; others may be between them."""
    operations = [str(operation) for operation in recorded]
    rest = iter(operations)
    for name, operation in expected.items():
        assert operation in rest, f"{name} ({operation}) is not where it has to be in:\n" + "\n".join(operations)


def points_of(recorded: Sequence[Operation], order: Mapping[str, str], *, commit: str) -> list[Point]:
    """Return the points of a change from the first operation of `order`, after checking the order.

    `commit` is the name of the operation that completes it. The list of projects, which another thread writes, is
    part of the change; operations of the server's other threads, and lines in the log of requests, are not.
    """
    at = [str(operation) for operation in recorded].index(order[commit])
    thread = recorded[at].thread
    own = [operation for operation in recorded if operation.thread == thread]
    in_order(own, order)
    begin = [str(operation) for operation in recorded].index(next(iter(order.values())))
    points = [
        Point(operation=operation, done=number > at)
        for number, operation in enumerate(recorded)
        if number >= begin and operation.changes and operation.thread in {thread, "root list"}
        if not operation.path.startswith("requests/")
    ]
    print(f"{len(points)} points, {sum(not point.done for point in points)} of them before the commit")
    return points


def names(made: Made) -> dict[str, str]:
    """Return the placeholders for an upload's names in recorded operations."""
    return {"file": made.filename, "project": made.project}


@dataclass(kw_only=True)
class Victim:
    """A server that is killed at the operation of its plan."""

    server: Server
    plan: Plan
    chance: random.Random
    published: list[Made] = field(default_factory=list)
    _made: int = 0

    @property
    def environ(self) -> dict[str, str]:
        """Return the environment of a command that is killed at the plan's operation."""
        return {**os.environ, **self.plan.environ}

    def new(self, project: str, *, size: int = 1024) -> Made:
        """Make a file of a new version."""
        self._made += 1
        return streams.dist(self.chance, project, f"1.{self._made}", size=size)

    def publish(self, made: Made, **options: Any) -> None:
        answer = self.server.upload(made.file, **options)
        assert answer.status_code == 200, answer.text
        self.published.append(made)

    def dies_in(self, change: Callable[[], requests.Response], point: Point, made: Made) -> None:
        """Make a change; assert that it is killed at the point, and acknowledged only if it is done."""
        self.plan.arm_at(point.operation, names(made))
        answer = lost(change)
        self.died(point.operation)
        assert answer is None or (answer.status_code, point.done) == (200, True)

    def died(self, operation: Operation) -> None:
        """Assert that it was killed at that operation."""
        code = self.server.process.wait(timeout=60)
        reached = self.plan.disarm()
        assert code == -signal.SIGKILL, self.server.log.read_text()[-3000:]
        assert reached.startswith(operation.event), f"{reached or 'nothing'} was reached"

    def start_again(self, *, living: Collection[Server] = ()) -> None:
        """Start it; assert that nothing partial is left and all is consistent. `living` servers share the volume."""
        evidence.wait_for_locks_of_killed(self.server.root, living=living)
        self.server.start_again()
        evidence.nothing_is_left(self.server.root)
        evidence.agrees(self.server.root)

    def shows(self, project: str, *, server: Server | None = None) -> None:
        """Assert that the project's pages, from this or another server of the volume, list the published files."""
        expected = {made.filename: made.sha256 for made in self.published if made.project == project}
        assert evidence.listing(server or self.server, project) == expected


Victims = Callable[[str], Victim]


@pytest.fixture
def victims(serve: Callable[..., Server], tmp_path: Path) -> Victims:
    """Make a victim, with its own root."""

    def make(name: str) -> Victim:
        root = tmp_path / name
        plan = Plan(tmp_path / f"{name}.plan", root=root)
        server = serve("--upstream", "none", root=root, environ=plan.environ, warm=True)
        return Victim(server=server, plan=plan, chance=random.Random(name))

    return make


def in_lanes(items: Iterable[Item], work: Callable[[Item], None], *, lanes: int = LANES) -> None:
    """Call `work` for each item, a few at once. A failure names its item, and ends the others."""
    left = deque(items)

    def lane() -> None:
        while left:
            try:
                item = left.popleft()
            except IndexError:  # another lane took it
                return
            try:
                work(item)
            except BaseException as exc:
                left.clear()
                where = item if isinstance(item, tuple) else (item,)
                exc.add_note(f"killed right before {', then '.join(map(str, where))}")
                raise

    with ThreadPoolExecutor(lanes) as pool:
        running = [pool.submit(lane) for _ in range(lanes)]
    for done in running:
        done.result()


def victims_die(
    victims: Victims, items: Sequence[Item], kill: Callable[[Victim, Item], None], *, lanes: int = LANES
) -> None:
    """Call `kill` for each item with one of a few victims, which run at once."""
    made = threading.local()
    numbers = itertools.count()

    def with_victim(item: Item) -> None:
        if not hasattr(made, "victim"):
            made.victim = victims(f"lane{next(numbers)}")
        kill(made.victim, item)

    in_lanes(items, with_victim, lanes=lanes)


def lost(request: Callable[[], requests.Response]) -> requests.Response | None:
    """Make a request during which the server dies; return the answer, if there is one."""
    try:
        return request()
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        return None


def upload(server: Server, made: Made) -> Callable[[], requests.Response]:
    """Return a function that uploads `made` with all kinds of side files."""
    return lambda: server.upload(made.file, fields={"attestations": wheels.attestations(made.file)})


def whole(server: Server, made: Made) -> None:
    """Assert that the file is on its page and is served as it was sent."""
    assert evidence.listing(server, made.project)[made.filename] == made.sha256
    assert evidence.served(server, made.project, made.filename) == made.content


def is_taken(server: Server, made: Made) -> None:
    """Assert that its name is used: the same bytes are there already, others are a conflict."""
    again = server.upload(made.file)
    assert (again.status_code, "same content" in again.text) == (200, True), again.text
    other = server.upload(streams.dist(random.Random(), made.project, made.version).file)
    assert (other.status_code, "other content" in other.text) == (409, True), other.text


def grow(victim: Victim, project: str) -> None:
    """Publish enough of a project that all forms of its pages exist, including the compressed ones."""
    while len(victim.published) < 6:
        victim.publish(victim.new(project))


def recorded_upload(victim: Victim, made: Made) -> list[Operation]:
    """Upload, and return the operations until the list of projects is written."""
    evidence.nothing_is_left(victim.server.root)
    with victim.plan.recording(names(made)) as recorded:
        assert upload(victim.server, made)().status_code == 200
        evidence.nothing_is_left(victim.server.root)
    return recorded


@pytest.fixture
def known_points(victims: Victims) -> list[Point]:
    """Return the points of an upload to an existing project."""
    victim = victims("recorded")
    grow(victim, "kno-wn")
    recorded = recorded_upload(victim, victim.new("kno-wn"))
    return points_of(recorded, UPLOAD_KNOWN, commit="link")


@pytest.fixture
def new_points(victims: Victims) -> list[Point]:
    """Return the points of a server's first upload, which creates a project."""
    victim = victims("recorded")
    recorded = recorded_upload(victim, victim.new("ne-w"))
    in_order((operation for operation in recorded if operation.thread == "root list"), ROOT_LIST)
    return points_of(recorded, UPLOAD_NEW, commit="link")


def and_afterwards(points: Iterable[Point]) -> list[tuple[Point, str]]:
    """Return each point with the next upload: other bytes, and, if the killed upload is not done, also the same."""
    return [(point, then) for point in points for then in (("others",) if point.done else ("the same", "others"))]


def after_the_crash(victim: Victim, made: Made, point: Point, then: str) -> None:
    """Assert that an upload left no file, or a whole one with record and page; and that its name is not blocked."""
    victim.start_again()
    if point.done:
        victim.published.append(made)
    victim.shows(made.project)
    if not point.done:
        is_there = any(file.project == made.project for file in victim.published)
        assert (victim.server.root / "packages" / made.project).exists() == is_there, "a project without a file"
        if then == "others":  # no part of the first attempt may be mixed in
            made = streams.dist(victim.chance, made.project, made.version)
        victim.publish(made)
        victim.shows(made.project)
    assert evidence.served(victim.server, made.project, made.filename) == made.content
    is_taken(victim.server, made)


def test_killed_during_an_upload_of_a_new_project(new_points: list[Point], victims: Victims) -> None:
    """A crash at any operation of a commit leaves no file and no project, or a whole file on its page.

    Guards the order of the commit, the repairs of a start-up, and that a dead uploader never blocks a name.
    """

    def kill(victim: Victim, item: tuple[Point, str]) -> None:
        point, then = item
        made = victim.new(f"ne-w-{len(victim.published)}", size=streams.some_size(victim.chance, largest=100_000))
        if str(point) in {*OWN_FOLDER.values(), "open locks/incoming"}:
            victim.server.kill()
            evidence.wait_for_locks_of_killed(victim.server.root)
            victim.server.start_again()
        evidence.nothing_is_left(victim.server.root)  # later operations on the list of projects are this upload's
        victim.dies_in(upload(victim.server, made), point, made)
        after_the_crash(victim, made, point, then)

    victims_die(victims, and_afterwards(new_points), kill)


def test_killed_during_an_upload_to_an_existing_project(known_points: list[Point], victims: Victims) -> None:
    """The same if the project has files, which stay on its pages: all forms of the pages are replaced."""

    def kill(victim: Victim, item: tuple[Point, str]) -> None:
        point, then = item
        grow(victim, "kno-wn")
        made = victim.new("kno-wn", size=streams.some_size(victim.chance, largest=100_000))
        victim.dies_in(upload(victim.server, made), point, made)
        after_the_crash(victim, made, point, then)

    victims_die(victims, and_afterwards(known_points), kill)


def test_killed_while_receiving_an_upload(victims: Victims) -> None:
    """A server that dies during a body leaves no part of it, and the upload works afterwards."""

    def kill(victim: Victim, share: float) -> None:
        server, made = victim.server, victim.new(f"share-{share}".replace(".", "-"), size=3 << 20)
        with SlowUpload(server, made) as sending:
            sending.send(share)
            evidence.until(lambda: _bytes_incoming(server.root), "a part of the body on disk")
            server.kill()
        victim.start_again()
        victim.shows(made.project)
        victim.publish(made)
        whole(server, made)

    victims_die(victims, (0.2, 0.5, 0.8, 0.99), kill)


def test_killed_during_a_removal(victims: Victims) -> None:
    """A file whose removal was killed is whole and listed, or removed with its side files; never half removed."""

    def remove(victim: Victim, made: Made) -> Callable[[], requests.Response]:
        form = {":action": "remove_pkg", "name": made.project, "version": made.version}
        server = victim.server
        return lambda: requests.post(server.url + "/", data=form, auth=server.auth, timeout=60)

    def published(victim: Victim) -> Made:
        grow(victim, "remo-val")
        made = victim.new("remo-val")
        victim.publish(made, fields={"attestations": wheels.attestations(made.file)})
        return made

    def kill(victim: Victim, point: Point) -> None:
        server, made = victim.server, published(victim)
        victim.dies_in(remove(victim, made), point, made)
        if point.done:
            victim.published.remove(made)
        victim.start_again()
        victim.shows(made.project)
        if not point.done:
            assert evidence.served(server, made.project, made.filename) == made.content
            is_taken(server, made)
            return
        assert server.get(f"/packages/{made.project}/{made.filename}").status_code == 404
        assert sorted(_beside(server.root, made)) == [made.filename + ".removed"]
        again = server.upload(made.file)
        assert (again.status_code, "was removed" in again.text) == (409, True), again.text

    victim = victims("recorded")
    made = published(victim)
    with victim.plan.recording(names(made)) as recorded:
        assert remove(victim, made)().status_code == 200
    victims_die(victims, points_of(recorded, REMOVE, commit="tombstone"), kill)


@dataclass(frozen=True, kw_only=True)
class Command:
    """A change by a command: its arguments, the order of its operations, and its effect on the project's page."""

    arguments: tuple[str, ...]
    commit: str
    order: Mapping[str, str]
    before: tuple[object, object]
    after: tuple[object, object]
    first: tuple[str, ...] = ()


COMMANDS = {
    "yank": Command(
        arguments=("yank", "{project}", "{version}", "--reason", "bad"),
        commit="reason",
        order={
            "lock": "open locks/*",
            **MARK,
            "reason-write": "open packages/{project}/.{file}.yanked.*.tmp",
            "reason": "os.rename packages/{project}/.{file}.yanked.*.tmp -> packages/{project}/{file}.yanked",
            **PAGES,
            **UNMARK,
            **AUDIT,
        },
        before=(False, "active"),
        after=("bad", "active"),
    ),
    "unyank": Command(
        first=("yank", "{project}", "{version}", "--reason", "bad"),
        arguments=("unyank", "{project}", "{version}"),
        commit="reason",
        order={
            "lock": "open locks/*",
            **MARK,
            "reason": "os.remove packages/{project}/{file}.yanked",
            **PAGES,
            **UNMARK,
            **AUDIT,
        },
        before=("bad", "active"),
        after=(False, "active"),
    ),
    "status": Command(
        arguments=("status", "{project}", "archived"),
        commit="status",
        order={
            "lock": "open locks/*",
            **MARK,
            "status": "os.rename packages/{project}/..status.*.tmp -> packages/{project}/.status",
            **PAGES,
            **UNMARK,
            **AUDIT,
        },
        before=(False, "active"),
        after=(False, "archived"),
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_during_a_command(name: str, victims: Victims) -> None:
    """The change of a killed command is complete, on the page and for uploads, or absent.

    The command can be repeated, also while a server runs.
    """
    command = COMMANDS[name]
    victim = victims("root")
    server = victim.server

    def run(arguments: Iterable[str], made: Made, *, expect: int = 0) -> None:
        typed = [argument.format(project=made.project, version=made.version) for argument in arguments]
        warm.run("package", *typed, "--root", str(server.root), expect=expect, environ=victim.environ)

    def published(project: str) -> Made:
        made = victim.new(project)
        victim.publish(made)
        if command.first:
            run(command.first, made)
        return made

    made = published("com-mand")
    evidence.nothing_is_left(server.root)
    with victim.plan.recording(names(made)) as recorded:
        run(command.arguments, made)
    points = points_of(recorded, command.order, commit=command.commit)
    changed = [published(f"com-mand-{number}") for number in range(len(points))]
    evidence.nothing_is_left(server.root)
    for point, made in zip(points, changed, strict=True):
        victim.plan.arm_at(point.operation, names(made))
        run(command.arguments, made, expect=-signal.SIGKILL)
        assert victim.plan.disarm().startswith(point.operation.event)
        pages.write_root(Volume(root=server.root))  # so that the next one finds no marks of this one
    server.kill()
    victim.start_again()
    for point, made in zip(points, changed, strict=True):
        page = server.page(made.project)
        shown = (page["files"][0]["yanked"], page["project-status"]["status"])
        assert shown == (command.after if point.done else command.before), f"killed right before {point}"
        whole(server, made)
        takes_uploads = server.upload(victim.new(made.project).file).status_code == 200
        assert takes_uploads == (shown[1] == "active")
    run(command.arguments, changed[0])
    page = server.page(changed[0].project)
    assert (page["files"][0]["yanked"], page["project-status"]["status"]) == command.after


_KEPT, _SERVED = "quarantine/{project}/{file}", "packages/{project}/{file}"
QUARANTINE = {
    "quarantined": {
        "kept-folder": "os.mkdir quarantine/{project}",
        "file": f"os.rename {_SERVED} -> {_KEPT}",
        "metadata": f"os.rename {_SERVED}.metadata -> {_KEPT}.metadata",
    },
    "active": {
        "file": f"os.rename {_KEPT} -> {_SERVED}",
        "metadata": f"os.rename {_KEPT}.metadata -> {_SERVED}.metadata",
        "kept-folder": "os.rmdir quarantine/{project}",
    },
}


@pytest.mark.parametrize("state", QUARANTINE)
def test_killed_at_the_begin_or_the_end_of_a_quarantine(state: str, victims: Victims) -> None:
    """Afterwards the file is offered and served, or neither, and it has its record."""
    victim = victims("root")
    server = victim.server

    def set_status(made: Made, state: str, *, expect: int = 0) -> None:
        typed = ("package", "status", made.project, state, "--root", str(server.root))
        warm.run(*typed, expect=expect, environ=victim.environ)

    def published(project: str) -> Made:
        made = victim.new(project)
        victim.publish(made, fields={"attestations": wheels.attestations(made.file)})
        if state == "active":
            set_status(made, "quarantined")
        return made

    made = published("isola-ted")
    evidence.nothing_is_left(server.root)
    with victim.plan.recording(names(made)) as recorded:
        set_status(made, state)
    status = {"status": "os.rename packages/{project}/..status.*.tmp -> packages/{project}/.status"}
    order = {"lock": "open locks/*", **MARK, **status, **QUARANTINE[state], **PAGES, **UNMARK, **AUDIT}
    points = points_of(recorded, order, commit="status")
    changed = [published(f"isola-ted-{number}") for number in range(len(points))]
    for point, made in zip(points, changed, strict=True):
        victim.plan.arm_at(point.operation, names(made))
        set_status(made, state, expect=-signal.SIGKILL)
        assert victim.plan.disarm().startswith(point.operation.event)
        pages.write_root(Volume(root=server.root))  # so that the next one finds no marks of this one
    server.kill()
    victim.start_again()
    for point, made in zip(points, changed, strict=True):
        is_quarantined = point.done == (state == "quarantined")
        shown = server.page(made.project)["project-status"]["status"]
        assert (shown == "quarantined") == is_quarantined, f"killed right before {point}"
        if is_quarantined:
            assert evidence.listing(server, made.project) == {}
            for suffix in ("", ".metadata"):
                assert server.get(f"/packages/{made.project}/{made.filename}{suffix}").status_code == 404
            kept = server.root / "quarantine" / made.project / made.filename
            assert kept.read_bytes() == made.content
            set_status(made, "active")
        whole(server, made)
        is_taken(server, made)
    evidence.agrees(server.root)


def test_killed_during_the_repair_at_start_up(victims: Victims, serve: Callable[..., Server], tmp_path: Path) -> None:
    """A start-up that dies at any of its operations leaves the remaining repairs to the next one.

    Two killed servers left the volume to repair: one had linked its file, the other had not. Each point uses a copy
    of that volume.
    """
    linked_by, other = victims("crashed"), Plan(tmp_path / "other.plan", root=tmp_path / "crashed")
    root = tmp_path / "crashed"
    port = servers.free_port()
    server = serve("--upstream", "none", root=root, port=port, environ=other.environ, warm=True)
    victims_of_one = (linked_by, Victim(server=server, plan=other, chance=random.Random(2)))
    recorded = recorded_upload(linked_by, linked_by.new("ne-w"))
    points = {str(point): point for point in points_of(recorded, UPLOAD_NEW, commit="link")}
    linked, unlinked = linked_by.new("lin-ked"), linked_by.new("unlin-ked")
    for victim, made, step in zip(
        victims_of_one, (linked, unlinked), (PAGES["page-json"], LINK["link"]), strict=True
    ):
        victim.dies_in(upload(victim.server, made), points[step], made)
    evidence.wait_for_locks_of_killed(root)

    def copy(name: str) -> Victim:
        shutil.copytree(root, tmp_path / name)
        plan = Plan(tmp_path / f"{name}.plan", root=tmp_path / name)
        places = {"root": tmp_path / name, "log": tmp_path / f"{name}.log", "environ": plan.environ}
        server = dataclasses.replace(linked_by.server, port=servers.free_port(), **places)
        return Victim(server=server, plan=plan, chance=random.Random(name))

    def recovers(victim: Victim) -> None:
        victim.start_again()
        try:
            server = victim.server
            assert evidence.listing(server, unlinked.project) == {}
            assert server.upload(unlinked.file).status_code == 200
            for made in (linked, unlinked):
                whole(server, made)
                is_taken(server, made)
        finally:
            victim.server.kill()

    undisturbed = copy("recorded")
    with undisturbed.plan.recording({}) as start_up:
        recovers(undisturbed)
    # the main thread logs requests later
    load = [each for each in start_up if each.thread == "MainThread" and not each.path.startswith("requests/")]
    for made, order in ((linked, MEND_LINKED), (unlinked, MEND_UNLINKED)):
        in_order(load, {name: operation.format(**names(made)) for name, operation in order.items()})

    numbers = itertools.count()

    def kill(operation: Operation) -> None:
        victim = copy(f"copy{next(numbers)}")
        victim.plan.arm_at(operation, {})
        with pytest.raises(AssertionError, match="did not come up"):
            victim.server.start_again()
        assert victim.plan.disarm().startswith(operation.event)
        recovers(victim)
        shutil.rmtree(victim.server.root)

    points = [operation for operation in load if operation.changes]
    assert len(points) > 30
    in_lanes(points, kill)


def test_one_of_two_servers_killed_during_an_upload(
    known_points: list[Point], victims: Victims, serve: Callable[..., Server]
) -> None:
    """The next change of the project, also by another process, repairs what a dead process left half done.

    Otherwise that change would delete the mark, and a start-up would never check the project again.
    """
    lives: dict[Path, Server] = {}

    def kill(victim: Victim, point: Point) -> None:
        root = victim.server.root
        if root not in lives:
            lives[root] = serve("--upstream", "none", root=root, port=servers.free_port(), warm=True)
        grow(victim, "kno-wn")
        made, last = victim.new("kno-wn"), victim.new("kno-wn")
        victim.dies_in(upload(victim.server, made), point, made)
        assert lives[root].upload(last.file).status_code == 200
        victim.published += [last, made] if point.done else [last]
        evidence.agrees(root)
        victim.shows("kno-wn", server=lives[root])
        victim.start_again(living=[lives[root]])
        if not point.done:
            victim.publish(made)
        is_taken(victim.server, made)

    at = {str(point): number for number, point in enumerate(known_points)}
    half_done = known_points[at[MARK["mark-pending"]] + 1 : at[UNMARK["unmark"]] + 1]
    victims_die(victims, half_done, kill)


def test_one_of_two_servers_killed_during_a_removal(victims: Victims) -> None:
    """A file whose removal was killed is whole, or is removed with the next change of its project."""
    victim = victims("root")
    server = victim.server
    grow(victim, "remo-val")

    def published() -> tuple[Made, tuple[str, ...]]:
        made = victim.new("remo-val")
        victim.publish(made)
        return made, ("package", "remove", made.project, made.version, "--yes", "--root", str(server.root))

    made, command = published()
    with victim.plan.recording(names(made)) as recorded:
        warm.run(*command, environ=victim.environ)
    victim.published.remove(made)
    for point in points_of(recorded, {"lock": "open locks/*", **REMOVE}, commit="tombstone"):
        made, command = published()
        victim.plan.arm_at(point.operation, names(made))
        warm.run(*command, environ=victim.environ, expect=-signal.SIGKILL)
        assert victim.plan.disarm().startswith(point.operation.event)
        victim.publish(victim.new("remo-val"))
        if point.done:
            victim.published.remove(made)
        evidence.agrees(server.root)
        victim.shows("remo-val")
        assert server.get(f"/packages/remo-val/{made.filename}").status_code == (404 if point.done else 200)


def test_killed_while_publishing_a_dropped_file(victims: Victims) -> None:
    """A file copied into drop/ is published once and deleted from it, at whatever operation the server dies.

    The operations of an upload have the same order here: one of each stage is enough.
    """

    def drop(victim: Victim, made: Made) -> None:
        (victim.server.root / "drop" / made.filename).write_bytes(made.content)

    def is_taken_up(victim: Victim) -> None:
        evidence.until(lambda: not os.listdir(victim.server.root / "drop"), "an empty drop/")
        evidence.nothing_is_left(victim.server.root)

    def kill(victim: Victim, point: Point) -> None:
        made = victim.new("drop-ped", size=50_000)
        victim.plan.arm_at(point.operation, names(made))
        drop(victim, made)
        victim.died(point.operation)
        evidence.wait_for_locks_of_killed(victim.server.root)
        victim.server.start_again()
        is_taken_up(victim)
        evidence.agrees(victim.server.root)
        whole(victim.server, made)
        is_taken(victim.server, made)

    victim = victims("recorded")
    made = victim.new("drop-ped")
    with victim.plan.recording(names(made)) as recorded:
        drop(victim, made)
        is_taken_up(victim)
    points = points_of(recorded, DROP, commit="link")
    chosen = {DROP[name] for name in ("take", "link", "page-html", "unmark", "audit", "leave")}
    victims_die(victims, [point for point in points if str(point) in chosen], kill, lanes=len(chosen))


@dataclass(kw_only=True)
class _Stream:
    """Uploads of several threads to one server until it dies, with what was sent and what was acknowledged."""

    server: Server
    name: str
    sent: list[Made] = field(default_factory=list)
    acknowledged: list[Made] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def upload(self, chance: random.Random) -> None:
        while True:
            project = f"{self.name}-{chance.randrange(6)}"
            kind = chance.choice(("wheel", "sdist"))
            size = streams.some_size(chance, largest=1 << 20)
            made = streams.dist(chance, project, f"1.{chance.getrandbits(40)}", kind=kind, size=size)
            self.sent.append(made)
            answer = lost(upload(self.server, made))
            if answer is None:
                return
            if answer.status_code == 200:
                self.acknowledged.append(made)
            else:
                self.refused.append(f"{made.filename}: {answer.status_code} {answer.text}")


KILLS = 30


def test_killed_at_random_moments_of_a_stream_of_uploads(new_points: list[Point], victims: Victims) -> None:
    """After each of 30 kills, all acknowledged files are whole, no file is partial, and every name can be used.

    Covers several uploads at once, some to one project, which the points of single uploads do not.
    Two of three kills are at a recorded operation, the others at any moment, also while the server starts.
    """
    chance = random.Random(evidence.seed())
    victim = victims("root")
    server, root = victim.server, victim.server.root
    hashes: dict[str, dict[str, str]] = {}
    sent = cut_off = at_points = 0
    for number in range(KILLS):
        stream = _Stream(server=server, name=f"str-eam-{number // 2}")  # half of the time its projects exist
        if number % 3:
            point = chance.choice([point for point in new_points if str(point) not in OWN_FOLDER.values()])
            victim.plan.arm_at(point.operation, {}, count=chance.randrange(1, 6))
        with ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(stream.upload, random.Random(chance.random())) for _ in range(4)]
            with contextlib.suppress(subprocess.TimeoutExpired):  # not every operation occurs that often in a second
                server.process.wait(timeout=chance.uniform(0, 0.4) if number % 3 == 0 else 1)
            with contextlib.suppress(ProcessLookupError):
                server.kill()
        for client in clients:
            client.result()
        at_points += bool(victim.plan.disarm())
        if number % 6 == 0:
            _start_and_kill(server, chance.uniform(0, 0.2))
        victim.start_again()
        assert not stream.refused, stream.refused
        listed = {project: evidence.listing(server, project) for project in {made.project for made in stream.sent}}
        for made in stream.sent:
            is_there = made.filename in listed[made.project]
            if made in stream.acknowledged:
                assert is_there, f"{made.filename} was acknowledged and is lost"
            else:
                cut_off += 1
                again = server.upload(made.file)
                assert again.status_code == 200, f"{made.filename}: {again.text}"
                assert ("same content" in again.text) is is_there
            assert evidence.served(server, made.project, made.filename) == made.content
            hashes.setdefault(made.project, {})[made.filename] = made.sha256
        sent += len(stream.sent)
    print(f"{sent} files, of which {cut_off} were not acknowledged; {at_points} kills at an operation")
    assert cut_off > KILLS, "the stream was none"
    assert sent - cut_off > KILLS, "the stream was none"
    assert at_points > KILLS // 4, "the operations were never reached"
    for project, expected in hashes.items():
        assert evidence.listing(server, project) == expected
    evidence.agrees(root)


def _start_and_kill(server: Server, after: float) -> None:
    arguments = ["serve", "--root", str(server.root), "--port", str(server.port), *server.options]
    with open(os.devnull, "wb") as nowhere:
        process = warm.start(arguments, environ=os.environ, stdout=nowhere, stderr=nowhere)
    threading.Event().wait(after)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=60)


def _beside(root: Path, made: Made) -> Iterator[str]:
    return (name for name in os.listdir(root / "packages" / made.project) if name.startswith(made.filename))


def _bytes_incoming(root: Path) -> bool:
    return any(file.stat().st_size for file in (root / "incoming").glob("*/[0-9a-f]*"))
