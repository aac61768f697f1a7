"""kill -9 of the whole server, and of commands beside it: nothing acknowledged is lost, nothing is half there."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from support import crashing, evidence, servers, streams
from support.crashing import Plan
from support.servers import Server, ppmctl
from support.slow import SlowUpload
from support.streams import Made

KILLS = 20  # inside each step
LANES = 4  # so many servers at once

# Patterns have {project} and {file} for what is uploaded.
_INCOMING = r"incoming/[0-9]+-[0-9a-f]+/[0-9a-f]+$"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A moment of a change, right before a file operation, and what a crash at it leaves.

    `done` is whether the change stands afterwards; None where the operation is not the change's own, so that
    either is right. `new` is for what happens only to a project that is new, or only to one that is not.
    """

    name: str
    event: str
    pattern: str
    done: bool | None
    count: int = 1
    new: bool | None = None

    def arm(self, plan: Plan, made: Made) -> None:
        pattern = self.pattern.replace("{project}", re.escape(made.project))
        plan.arm(self.event, pattern.replace("{file}", re.escape(made.filename)), count=self.count)


UPLOAD = (
    Step(name="receive-own-folder", event="os.mkdir", pattern=r"incoming/[0-9]+-[0-9a-f]+$", done=False),
    Step(name="receive-own-lock", event="open", pattern=r"incoming/[0-9]+-[0-9a-f]+/\.lock$", done=False),
    Step(name="receive-file", event="open", pattern=_INCOMING, done=False),
    Step(name="inspect", event="open", pattern=_INCOMING, count=2, done=False),
    Step(name="side-file-record", event="open", pattern=_INCOMING, count=3, done=False),
    Step(name="side-file-metadata", event="open", pattern=_INCOMING, count=4, done=False),
    Step(name="side-file-attestations", event="open", pattern=_INCOMING, count=5, done=False),
    Step(name="lock", event="open", pattern=r"locks/[0-9a-f]{2}$", done=False),
    Step(name="tombstone-check-made", event="open", pattern=r"packages/{project}/\.status$", done=False),
    Step(name="mark-pending", event="open", pattern=r"pending/{project}$", done=False),
    Step(name="mark-root", event="open", pattern=r"pending/\.root$", done=False, new=True),
    Step(name="make-project", event="os.mkdir", pattern=r"packages/{project}$", done=False, new=True),
    Step(name="place-metadata", event="os.rename", pattern=r"{file}\.metadata$", done=False),
    Step(name="place-record", event="os.rename", pattern=r"{file}\.upload$", done=False),
    Step(name="place-attestations", event="os.rename", pattern=r"{file}\.attestations$", done=False),
    Step(name="link", event="os.link", pattern=r"packages/{project}/{file}$", done=False),
    Step(name="linked-sync-packages", event="open", pattern=r"packages$", done=True, new=True),
    Step(name="linked-sync-project", event="open", pattern=r"packages/{project}$", done=True),
    Step(name="pages-folder", event="os.mkdir", pattern=r"simple/{project}$", done=True, new=True),
    Step(name="pages-write-json", event="open", pattern=r"simple/{project}/\.index\.json\.[^/]+$", done=True),
    Step(name="pages-write-html", event="open", pattern=r"simple/{project}/\.index\.html\.[^/]+$", done=True),
    Step(name="page-json", event="os.rename", pattern=r"simple/{project}/index\.json$", done=True),
    Step(name="page-html", event="os.rename", pattern=r"simple/{project}/index\.html$", done=True),
    Step(
        name="page-html-packed", event="os.rename", pattern=r"simple/{project}/index\.html\.gz$", done=True, new=False
    ),
    Step(name="unmark", event="os.remove", pattern=r"pending/{project}$", done=True),
    Step(name="unmarked-drop-incoming", event="os.remove", pattern=_INCOMING, done=True),
    Step(name="audit", event="open", pattern=r"audit\.jsonl$", done=True),
    Step(name="root-mark-taken", event="os.remove", pattern=r"pending/\.root$", done=None, new=True),
    Step(name="root-write", event="open", pattern=r"simple/\.index\.html\.[^/]+$", done=None, new=True),
    Step(name="root-page-json", event="os.rename", pattern=r"simple/index\.json$", done=None, new=True),
    Step(name="root-page-html", event="os.rename", pattern=r"simple/index\.html$", done=None, new=True),
    Step(name="root-unmark", event="os.remove", pattern=r"pending/\.root-writing$", done=None, new=True),
)

REMOVE = (
    Step(name="mark-pending", event="open", pattern=r"pending/{project}$", done=False),
    Step(name="tombstone-write", event="open", pattern=r"{project}/\.{file}\.removed\.[^/]+$", done=False),
    Step(name="tombstone", event="os.rename", pattern=r"{file}\.removed$", done=False),
    Step(name="tombstone-sync", event="open", pattern=r"packages/{project}$", done=True),
    Step(name="page-json", event="os.rename", pattern=r"simple/{project}/index\.json$", done=True),
    Step(name="page-html", event="os.rename", pattern=r"simple/{project}/index\.html$", done=True),
    Step(name="unlink-file", event="os.remove", pattern=r"packages/{project}/{file}$", done=True),
    Step(name="unlink-record", event="os.remove", pattern=r"{file}\.upload$", done=True),
    Step(name="unlink-metadata", event="os.remove", pattern=r"{file}\.metadata$", done=True),
    Step(name="unmark", event="os.remove", pattern=r"pending/{project}$", done=True),
    Step(name="audit", event="open", pattern=r"audit\.jsonl$", done=True),
)

YANK = (
    Step(name="mark-pending", event="open", pattern=r"pending/{project}$", done=False),
    Step(name="reason-write", event="open", pattern=r"{project}/\.{file}\.yanked\.[^/]+$", done=False),
    Step(name="reason", event="os.rename", pattern=r"{file}\.yanked$", done=False),
    Step(name="page-json", event="os.rename", pattern=r"simple/{project}/index\.json$", done=True),
    Step(name="page-html", event="os.rename", pattern=r"simple/{project}/index\.html$", done=True),
    Step(name="unmark", event="os.remove", pattern=r"pending/{project}$", done=True),
    Step(name="audit", event="open", pattern=r"audit\.jsonl$", done=True),
)

STATUS = (
    Step(name="mark-pending", event="open", pattern=r"pending/{project}$", done=False),
    Step(name="status", event="os.rename", pattern=r"{project}/\.status$", done=False),
    Step(name="page-json", event="os.rename", pattern=r"simple/{project}/index\.json$", done=True),
    Step(name="unmark", event="os.remove", pattern=r"pending/{project}$", done=True),
)

# `done` is whether the upload that start-up has to mend had been linked when the server died
MEND = (
    Step(name="lock", event="open", pattern=r"locks/[0-9a-f]{2}$", done=True),
    Step(name="page-json", event="os.rename", pattern=r"simple/{project}/index\.json$", done=True),
    Step(name="page-html", event="os.rename", pattern=r"simple/{project}/index\.html$", done=True),
    Step(name="mark-root", event="os.utime", pattern=r"pending/\.root$", done=True),
    Step(name="unmark", event="os.remove", pattern=r"pending/{project}$", done=True),
    Step(name="sweep", event="shutil.rmtree", pattern=r"incoming/", done=True),
    Step(name="orphan-record", event="os.remove", pattern=r"{file}\.upload$", done=False),
    Step(name="orphan-metadata", event="os.remove", pattern=r"{file}\.metadata$", done=False),
    Step(name="empty-project", event="os.rmdir", pattern=r"packages/{project}$", done=False),
    Step(name="unmark-nothing", event="os.remove", pattern=r"pending/{project}$", done=False),
)


def _named(steps: tuple[Step, ...]) -> Callable[..., object]:
    return pytest.mark.parametrize("step", [pytest.param(step, id=step.name) for step in steps])


@dataclass(kw_only=True)
class Victim:
    """A server that dies where its plan says."""

    server: Server
    plan: Plan
    chance: random.Random

    def died(self, step: Step) -> None:
        """It was killed, and at that step."""
        assert self.server.process.wait(timeout=60) == -signal.SIGKILL, self.server.log.read_text()[-3000:]
        reached = self.plan.disarm()
        assert reached.startswith(step.event), f"{step.name} was never reached"

    def start_again(self, *, living: Collection[Server] = ()) -> None:
        """Start it, and see that nothing half is left and that all agrees. Others may be at the same volume."""
        evidence.the_dead_let_go(self.server.root, living=living)
        self.server.start_again()
        evidence.nothing_is_left(self.server.root)
        evidence.agrees(self.server.root)


@pytest.fixture
def victims(serve: Callable[..., Server], tmp_path: Path) -> Callable[[str], Victim]:
    """Make a victim, with a root of its own."""

    def make(name: str) -> Victim:
        plan = Plan(tmp_path / f"{name}.plan")
        server = serve("--upstream", "none", root=tmp_path / name, command=crashing.COMMAND, environ=plan.environ)
        return Victim(server=server, plan=plan, chance=random.Random(name))

    return make


def often(victims: Callable[[str], Victim], kill: Callable[[Victim, int], None], *, times: int = KILLS) -> None:
    """Call `kill` so many times, on a few victims at once: most of the time goes by with waiting for a start."""

    def lane(first: int) -> None:
        victim = victims(f"root{first}")
        for number in range(first, times, LANES):
            kill(victim, number)

    with ThreadPoolExecutor(LANES) as pool:
        lanes = [pool.submit(lane, first) for first in range(LANES)]
    for done in lanes:
        done.result()


def unanswered(server: Server, made: Made, **options: object) -> requests.Response | None:
    """Upload, and lose the server meanwhile: the answer, if one still came."""
    try:
        return server.upload(made.file, **options)  # type: ignore[arg-type]
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        return None


def whole(server: Server, made: Made) -> None:
    """The file is on its page and is served as it was sent."""
    assert evidence.listing(server, made.project)[made.filename] == made.sha256
    assert evidence.served(server, made.project, made.filename) == made.content


def is_taken(server: Server, made: Made) -> None:
    """Its name is: the same bytes are answered as already here, others as too late."""
    again = server.upload(made.file)
    assert (again.status_code, "same content" in again.text) == (409, True), again.text
    other = server.upload(streams.dist(random.Random(), made.project, made.version).file)
    assert (other.status_code, "other content" in other.text) == (409, True), other.text


@_named(UPLOAD)
def test_killed_inside_an_upload(step: Step, victims: Callable[[str], Victim]) -> None:
    """A crash at any operation of a commit leaves no file, or a whole one with its record on its page.

    Guards the order of the commit, what start-up mends, and that a name never stays blocked by a dead uploader.
    """

    def kill(victim: Victim, number: int) -> None:
        server, chance, project = victim.server, victim.chance, f"p{number}"
        is_new = step.new if step.new is not None else number // LANES % 2 == 0
        before = [] if is_new else [streams.dist(chance, project, f"0.{minor}") for minor in range(3)]
        for earlier in before:
            assert server.upload(earlier.file).status_code == 200
        if step.name.startswith("receive-own"):  # made once a process, at its first upload
            server.kill()
            evidence.the_dead_let_go(server.root)
            server.start_again()
        if step.done is None:  # what comes then is this upload's
            evidence.nothing_is_left(server.root)
        made = streams.dist(chance, project, "1.0", size=streams.some_size(chance, largest=300_000))

        step.arm(victim.plan, made)
        answer = unanswered(server, made, fields={"attestations": "[]"})
        victim.died(step)
        victim.start_again()

        listed = evidence.listing(server, project)
        here = made.filename in listed
        if answer is not None:
            assert (answer.status_code, here, step.done) == (200, True, None)
        assert step.done in {None, here}
        assert set(listed) - {made.filename} == {earlier.filename for earlier in before}
        assert bool(listed) == (server.root / "packages" / project).exists(), "a project that never had a file"
        if not here:
            if number % 3:  # other bytes than before: nothing of the first attempt may be mixed into it
                made = streams.dist(chance, project, "1.0")
            again = server.upload(made.file)
            assert again.status_code == 200, again.text
        for file in (*before, made):
            whole(server, file)
        is_taken(server, made)

    often(victims, kill)


def test_killed_while_it_receives(victims: Callable[[str], Victim]) -> None:
    """A server that dies in the middle of a body leaves nothing of it, and the upload works afterwards."""

    def kill(victim: Victim, number: int) -> None:
        server = victim.server
        made = streams.dist(victim.chance, f"p{number}", "1.0", size=3 << 20)
        with SlowUpload(server, made) as upload:
            upload.send(0.2 + 0.7 * victim.chance.random())
            evidence.until(lambda: _bytes_incoming(server.root), "a part of the body on disk")
            server.kill()
        victim.start_again()
        assert evidence.listing(server, made.project) == {}
        assert server.upload(made.file).status_code == 200
        whole(server, made)

    often(victims, kill)


@_named(REMOVE)
def test_killed_inside_a_removal(step: Step, victims: Callable[[str], Victim]) -> None:
    """A file whose removal died is whole and listed, or gone for good with its side files; never half of that."""

    def kill(victim: Victim, number: int) -> None:
        server, project = victim.server, f"p{number}"
        kept, made = (streams.dist(victim.chance, project, version) for version in ("0.9", "1.0"))
        for file in (kept, made):
            assert server.upload(file.file).status_code == 200

        step.arm(victim.plan, made)
        form = {":action": "remove_pkg", "name": project, "version": "1.0"}
        with pytest.raises(requests.ConnectionError):
            requests.post(server.url + "/", data=form, auth=server.auth, timeout=60)
        victim.died(step)
        victim.start_again()

        whole(server, kept)
        if not step.done:
            whole(server, made)
            is_taken(server, made)
            return
        assert set(evidence.listing(server, project)) == {kept.filename}
        assert server.get(f"/packages/{project}/{made.filename}").status_code == 404
        assert sorted(_beside(server.root, made)) == [made.filename + ".removed"]
        again = server.upload(made.file)
        assert (again.status_code, "was removed" in again.text) == (409, True), again.text

    often(victims, kill)


@_named(YANK)
def test_killed_inside_a_yank(step: Step, victims: Callable[[str], Victim]) -> None:
    """A yank that died is on the page or is not there at all, and can be done again, also while a server runs."""
    victim = victims("root")
    server, made = victim.server, _some_projects(victim)
    for file in made:
        step.arm(victim.plan, file)
        arguments = ("package", "yank", file.project, "1.0", "--reason", "bad", "--root", str(server.root))
        _command_dies(victim, step, *arguments)
    server.kill()
    victim.start_again()
    for file in made:
        (entry,) = server.page(file.project)["files"]
        assert entry["yanked"] == ("bad" if step.done else False)
        whole(server, file)
    ppmctl("package", "yank", made[0].project, "1.0", "--reason", "worse", "--root", str(server.root))
    assert server.page(made[0].project)["files"][0]["yanked"] == "worse"


@_named(STATUS)
def test_killed_inside_a_change_of_status(step: Step, victims: Callable[[str], Victim]) -> None:
    """A status whose setting died is the old one or the new one, on the page and for uploads alike."""
    victim = victims("root")
    server, made = victim.server, _some_projects(victim)
    for file in made:
        step.arm(victim.plan, file)
        _command_dies(victim, step, "package", "status", file.project, "archived", "--root", str(server.root))
    server.kill()
    victim.start_again()
    for file in made:
        state = "archived" if step.done else "active"
        assert server.page(file.project)["project-status"] == {"status": state}
        more = streams.dist(victim.chance, file.project, "2.0")
        assert server.upload(more.file).status_code == (403 if step.done else 200)


@_named(MEND)
def test_killed_while_it_mends(step: Step, victims: Callable[[str], Victim]) -> None:
    """A start-up that dies while it mends after a crash leaves the rest to the next one."""
    crash = next(other for other in UPLOAD if other.name == ("page-json" if step.done else "link"))

    def kill(victim: Victim, number: int) -> None:
        server = victim.server
        made = streams.dist(victim.chance, f"p{number}", "1.0")
        crash.arm(victim.plan, made)
        assert unanswered(server, made) is None
        victim.died(crash)

        step.arm(victim.plan, made)
        evidence.the_dead_let_go(server.root)
        with pytest.raises(AssertionError, match="did not come up"):
            server.start_again()
        assert victim.plan.disarm().startswith(step.event), f"{step.name} was never reached"
        victim.start_again()

        if not step.done:
            assert evidence.listing(server, made.project) == {}
            assert server.upload(made.file).status_code == 200
        whole(server, made)
        is_taken(server, made)

    often(victims, kill, times=8)


@pytest.mark.parametrize("name", ["place-record", "link", "linked-sync-project", "page-html", "unmark"])
def test_one_of_two_killed_inside_an_upload(
    name: str, victims: Callable[[str], Victim], serve: Callable[..., Server]
) -> None:
    """What a dead process left half done is mended by the next change of the project, also another process's.

    Otherwise that change would take the mark back, and start-up would never look at the project again.
    """
    step = next(step for step in UPLOAD if step.name == name)
    victim = victims("root")
    lives = serve("--upstream", "none", root=victim.server.root, port=servers.free_port())
    for number in range(3):
        first, made, last = (streams.dist(victim.chance, f"p{number}", version) for version in ("1.0", "2.0", "3.0"))
        assert lives.upload(first.file).status_code == 200
        step.arm(victim.plan, made)
        assert unanswered(victim.server, made) is None
        victim.died(step)
        assert lives.upload(last.file).status_code == 200
        evidence.agrees(lives.root)
        expected = {first, last, made} if step.done else {first, last}
        assert evidence.listing(lives, first.project) == {file.filename: file.sha256 for file in expected}
        victim.start_again(living=[lives])
        if not step.done:
            assert lives.upload(made.file).status_code == 200
        is_taken(victim.server, made)


def test_one_of_two_killed_inside_a_removal(victims: Callable[[str], Victim]) -> None:
    """A file whose removal died before it was unlinked goes with the next change of its project."""
    step = next(step for step in REMOVE if step.name == "unlink-file")
    victim = victims("root")
    server = victim.server
    first, made, last = (streams.dist(victim.chance, "two", version) for version in ("1.0", "2.0", "3.0"))
    for file in (first, made):
        assert server.upload(file.file).status_code == 200
    step.arm(victim.plan, made)
    _command_dies(victim, step, "package", "remove", "two", "2.0", "--yes", "--root", str(server.root))
    assert server.upload(last.file).status_code == 200
    evidence.agrees(server.root)
    assert server.get(f"/packages/two/{made.filename}").status_code == 404
    assert set(evidence.listing(server, "two")) == {first.filename, last.filename}


def test_killed_while_it_takes_a_dropped_file(victims: Callable[[str], Victim]) -> None:
    """A file copied into drop/ is published once and leaves the folder, wherever the server dies meanwhile."""
    steps = (
        Step(name="take", event="open", pattern=_INCOMING, done=False),
        Step(name="link", event="os.link", pattern=r"packages/{project}/{file}$", done=False),
        Step(name="page", event="os.rename", pattern=r"simple/{project}/index\.html$", done=True),
        Step(name="leave", event="os.remove", pattern=r"drop/{file}$", done=True),
    )

    def kill(victim: Victim, number: int) -> None:
        server, step = victim.server, steps[number]
        made = streams.dist(victim.chance, f"drop-{step.name}", "1.0", size=50_000)
        step.arm(victim.plan, made)
        (server.root / "drop" / made.filename).write_bytes(made.content)
        victim.died(step)
        evidence.the_dead_let_go(server.root)
        server.start_again()
        evidence.until(lambda: not os.listdir(server.root / "drop"), "an empty drop/")
        evidence.nothing_is_left(server.root)
        evidence.agrees(server.root)
        whole(server, made)
        is_taken(server, made)

    often(victims, kill, times=len(steps))


@dataclass
class _Stream:
    """Uploads of several threads into one server until it dies: what was sent, and what was acknowledged."""

    server: Server
    chance: random.Random
    sent: list[Made] = field(default_factory=list)
    acknowledged: list[Made] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def run(self, threads: int) -> None:
        """Start, kill at a random moment, and wait for the clients to see it."""
        kill_after = self.chance.uniform(0, 0.5)
        with ThreadPoolExecutor(threads) as pool:
            clients = [pool.submit(self._upload, random.Random(self.chance.random())) for _ in range(threads)]
            threading.Event().wait(kill_after)
            self.server.kill()
        for client in clients:
            client.result()

    def _upload(self, chance: random.Random) -> None:
        while True:
            project = f"stream-{chance.randrange(6)}"
            kind = chance.choice(("wheel", "sdist"))
            made = streams.dist(
                chance, project, f"1.{chance.getrandbits(40)}", kind=kind, size=streams.some_size(chance)
            )
            self.sent.append(made)
            answer = unanswered(self.server, made)
            if answer is None:
                return
            if answer.status_code == 200:
                self.acknowledged.append(made)
            else:
                self.refused.append(f"{made.filename}: {answer.status_code} {answer.text}")


@dataclass
class _Tally:
    """What a stream of kills came to: how many there were, files sent, acknowledged, and cut off by a kill."""

    kills: int = 0
    sent: int = 0
    acknowledged: int = 0
    cut_off: int = 0
    kept: int = 0


def test_killed_at_random_moments_of_a_stream_of_uploads(tmp_path: Path) -> None:
    """200 times kill -9: every acknowledged file is there whole, none is half, every name can be had.

    Guards whatever the table of steps does not foresee.
    """
    seed = evidence.seed()
    with ThreadPoolExecutor(2) as pool:
        lanes = [pool.submit(_lane, tmp_path / f"lane{number}", random.Random(seed + number)) for number in range(2)]
    tallies = [lane.result() for lane in lanes]
    print(*tallies, sep="\n")
    assert sum(tally.kills for tally in tallies) >= 200
    assert all(tally.acknowledged > 100 and tally.cut_off > 100 for tally in tallies), "the stream was none"


def _lane(folder: Path, chance: random.Random) -> _Tally:
    tally = _Tally()
    for number in range(5):
        server = servers.start(folder / f"root{number}", options=("--upstream", "none"))
        try:
            _kill_often(server, chance, tally, rounds=20)
        finally:
            server.kill()
        shutil.rmtree(server.root)
    return tally


def _kill_often(server: Server, chance: random.Random, tally: _Tally, *, rounds: int) -> None:
    hashes: dict[str, dict[str, str]] = {}
    for _ in range(rounds):
        stream = _Stream(server, chance)
        stream.run(threads=4)
        tally.kills += 1
        if chance.random() < 0.2:  # and while it starts
            _start_and_kill(server, chance.uniform(0, 0.25))
            tally.kills += 1
        evidence.the_dead_let_go(server.root)
        server.start_again()
        evidence.nothing_is_left(server.root)
        evidence.agrees(server.root, hashes=False)
        assert not stream.refused, stream.refused
        listed = {project: evidence.listing(server, project) for project in {made.project for made in stream.sent}}
        for made in stream.sent:
            acknowledged = made in stream.acknowledged
            here = made.filename in listed[made.project]
            assert here or not acknowledged, f"{made.filename} was acknowledged and is lost"
            if not acknowledged:
                tally.cut_off += 1
                tally.kept += here
                again = server.upload(made.file)
                assert again.status_code == (409 if here else 200), f"{made.filename}: {again.text}"
                assert not here or "same content" in again.text
            whole(server, made)
            hashes.setdefault(made.project, {})[made.filename] = made.sha256
        tally.sent += len(stream.sent)
        tally.acknowledged += len(stream.acknowledged)
    evidence.agrees(server.root)
    for project, expected in hashes.items():
        assert evidence.listing(server, project) == expected
        for filename, digest in expected.items():
            assert evidence.sha256((server.root / "packages" / project / filename).read_bytes()) == digest


def _start_and_kill(server: Server, after: float) -> None:
    process = subprocess.Popen(
        [*server.command, "serve", "--root", str(server.root), "--port", str(server.port), *server.options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    threading.Event().wait(after)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=60)


def _some_projects(victim: Victim) -> list[Made]:
    made = [streams.dist(victim.chance, f"p{number}", "1.0") for number in range(KILLS)]
    for file in made:
        assert victim.server.upload(file.file).status_code == 200
    evidence.nothing_is_left(victim.server.root)
    return made


def _command_dies(victim: Victim, step: Step, *arguments: str) -> None:
    done = subprocess.run(
        [*crashing.COMMAND, *arguments],
        env={**os.environ, **victim.plan.environ},
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
    )
    assert done.returncode == -signal.SIGKILL, f"{arguments} exited {done.returncode}: {done.stderr}"
    assert victim.plan.disarm().startswith(step.event), f"{step.name} was never reached"


def _beside(root: Path, made: Made) -> Iterator[str]:
    return (name for name in os.listdir(root / "packages" / made.project) if name.startswith(made.filename))


def _bytes_incoming(root: Path) -> bool:
    return any(file.stat().st_size for file in (root / "incoming").glob("*/[0-9a-f]*"))
