"""Tests of volumes that are really full: 507 and no leftovers, whole files or none; and of unusable volumes."""

from __future__ import annotations

import itertools
import json
import os
import random
import shlex
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import requests
from support import crashing, evidence, namespaces, servers, streams, wheels
from support.crashing import Plan
from support.namespaces import Disk
from support.servers import PPMCTL, ppmctl
from support.slow import SlowUpload
from support.streams import Made

_READ_ONLY = "mount --bind '{root}' '{root}'; mount -o remount,bind,ro '{root}'"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., Disk]]:
    """Serve an index on a small file system: `disk(size="24m", files=0)`."""
    started: list[Disk] = []
    numbers = itertools.count()

    def start(*, size: str = "24m", files: int = 0) -> Disk:
        folder = tmp_path / f"disk{next(numbers)}"
        made = namespaces.serve_on_disk(folder, size=size, files=files, options=("--upstream", "none"))
        started.append(made)
        return made

    yield start
    for made in started:
        with suppress(ProcessLookupError):
            made.server.kill()


def outcomes_of(attempts: int, work: Callable[[Iterable[int]], list[int]], *, new: bool) -> set[int]:
    """Call `work` with the numbers of attempts, each time on a new disk; return the status codes.

    Attempts with new projects use three disks at once: each waits for a list of projects, written once a second.
    """
    disks = 3 if new else 1
    with ThreadPoolExecutor(disks) as pool:
        return set(itertools.chain.from_iterable(pool.map(work, (range(n, attempts, disks) for n in range(disks)))))


def test_an_upload_that_does_not_fit_leaves_nothing(disk: Callable[..., Disk]) -> None:
    """507 with the reason, no leftovers, and reads work; with free space again the same upload works.

    Guards against pypiserver's truncated file, which is listed with a valid hash and blocks its name.
    """
    full, chance = disk(), random.Random(1)
    server = full.server
    first = streams.dist(chance, "here", "1.0", size=100_000)
    assert server.upload(first.file).status_code == 200
    evidence.nothing_is_left(full.root)
    before, pages = names(full), server.page("here")
    for made in (
        streams.dist(chance, "here", "2.0", size=8 << 20),
        streams.dist(chance, "new", "1.0", size=8 << 20),
        streams.dist(chance, "new", "1.0", kind="sdist", size=8 << 20),
    ):
        full.fill(leave=4 << 20)
        answer = server.upload(made.file)
        assert (answer.status_code, answer.reason, answer.text) == (507, answer.text.strip(), answer.text)
        assert "no space left" in answer.text
        assert names(full) == before
        assert server.page("here") == pages
        assert evidence.served(server, "here", first.filename) == first.content
        assert server.get("/simple/new/").status_code == 404
        full.empty()
        evidence.agrees(full.root, searches=False)
    made = streams.dist(chance, "new", "1.0", size=8 << 20)
    assert server.upload(made.file).status_code == 200
    assert evidence.served(server, "new", made.filename) == made.content
    evidence.nothing_is_left(full.root)
    evidence.agrees(full.root, searches=False)


@pytest.mark.parametrize("new", [True, False], ids=["new-project", "grown-project"])
def test_a_disk_that_fills_at_any_write_of_an_upload(new: bool, disk: Callable[..., Disk]) -> None:
    """With any free space, for the file, its record, the pages or the audit: 200 and all, or 507 and nothing.

    The space grows from none to enough by blocks, so that it ends at each of an upload's writes.
    """

    def fill_up(numbers: Iterable[int]) -> list[int]:
        full, chance = disk(), random.Random(2)
        if not new:
            for minor in range(20):
                made = streams.dist(chance, "p", f"0.0.{minor}")
                assert full.server.upload(made.file).status_code == 200
        outcomes = []
        for blocks in numbers:
            project = f"p{blocks}" if new else "p"
            made = streams.dist(chance, project, f"1.{blocks}", size=chance.choice((1_000, 9_000)))
            outcomes.append(_attempt(full, made, partial(full.fill, leave=4096 * blocks)))
        _all_audited(full)
        return outcomes

    outcomes = outcomes_of(17 if new else 30, fill_up, new=new)  # more for a project whose pages grow
    assert outcomes == {507, 200}, "the disk was never full, or always"


@pytest.mark.parametrize("new", [True, False], ids=["new-project", "grown-project"])
def test_a_disk_without_free_inodes(new: bool, disk: Callable[..., Disk]) -> None:
    """The same if inodes, not bytes, run out: at a mark, a folder, the link itself, a page."""

    def fill_up(numbers: Iterable[int]) -> list[int]:
        full, chance = disk(files=600), random.Random(3)
        if not new:
            for minor in range(8):
                assert full.server.upload(streams.dist(chance, "p", f"0.0.{minor}").file).status_code == 200
        outcomes = []
        for leave in numbers:
            made = streams.dist(chance, f"p{leave}" if new else "p", f"1.{leave}")
            outcomes.append(_attempt(full, made, partial(full.fill_names, leave=leave)))
        return outcomes

    assert outcomes_of(14, fill_up, new=new) == {507, 200}, "the disk was never full, or always"


def test_parallel_uploads_that_fill_a_disk(disk: Callable[..., Disk]) -> None:
    """Several clients compete for the last megabytes: each uploads its whole file, or nothing.

    Readers see no failure.
    """
    full, chance = disk(), random.Random(4)
    server = full.server
    projects = [f"crowd-{number}" for number in range(3)]
    made = [
        streams.dist(chance, chance.choice(projects), f"1.{number}", size=streams.some_size(chance, largest=2 << 20))
        for number in range(60)
    ]
    full.fill(leave=8 << 20)
    assert sum(len(file.content) for file in made) > 10 << 20
    with evidence.readers([server], lambda: projects), ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(lambda file: server.upload(file.file).status_code, made))
    assert set(statuses) == {200, 507}
    acknowledged = [file for file, status in zip(made, statuses, strict=True) if status == 200]
    for project in projects:
        expected = {file.filename: file.sha256 for file in acknowledged if file.project == project}
        assert evidence.listing(server, project) == expected
    for file in acknowledged:
        assert evidence.served(server, file.project, file.filename) == file.content
    full.empty()
    evidence.nothing_is_left(full.root)
    evidence.agrees(full.root, searches=False)
    assert server.upload(streams.dist(chance, "crowd-0", "2.0").file).status_code == 200
    _all_audited(full)


def test_a_slow_upload_that_meets_a_full_disk(disk: Callable[..., Disk]) -> None:
    """A disk fills while a body arrives: the client that still sends reads 507, and its part is deleted."""
    full, chance = disk(), random.Random(5)
    made = streams.dist(chance, "slow", "1.0", size=6 << 20)
    full.fill(leave=4 << 20)
    with SlowUpload(full.server, made) as upload:
        upload.send(0.4)
        evidence.until(lambda: full.free < 3 << 20, "a part of the body on disk")
        upload.send(0.4)
        assert upload.answer() == 507
    full.empty()
    evidence.nothing_is_left(full.root)
    assert full.server.upload(made.file).status_code == 200
    evidence.agrees(full.root, searches=False)


def test_lines_of_the_audit_are_whole_on_a_full_disk(disk: Callable[..., Disk]) -> None:
    """A line that does not fit is left out, instead of being cut off and damaging the next one too."""
    full = disk()
    done = ppmctl("user", "add", "eve", "--role", "reader", "--root", str(full.root))
    made = streams.dist(random.Random(7), "p", "1.0")
    full.fill(leave=4096)
    for _ in range(60):  # more than fits: refused early, so that only the audit is written
        assert full.server.upload(made.file, auth=("eve", done.stdout.strip())).status_code == 403
    assert full.free == 0
    full.empty()
    assert full.server.upload(made.file, auth=("eve", done.stdout.strip())).status_code == 403
    _all_audited(full)


def test_a_server_on_a_full_disk_starts_after_a_crash(tmp_path: Path) -> None:
    """A killed server starts on a disk that is still full: it serves the files, and repairs later.

    Guards against a start-up that fails if it can't write a page.
    """
    plan = Plan(tmp_path / "plan")
    chance = random.Random(6)
    with namespaces.lasting_disk(tmp_path / "disk", size="8m") as (root, command):
        server = servers.start(
            root, options=("--upstream", "none"), command=(*command, *crashing.COMMAND), environ=plan.environ
        )
        try:
            full = Disk(server=server)
            full.log_in()
            made = [streams.dist(chance, "p", f"1.{minor}") for minor in range(30)]
            for file in made[:-1]:
                assert server.upload(file.file).status_code == 200
            evidence.nothing_is_left(full.root)
            plan.arm("open", r"packages/p$")  # the file is linked into place, and on no page yet
            with pytest.raises(requests.ConnectionError):
                server.upload(made[-1].file)
            server.process.wait(timeout=60)
            assert plan.disarm()

            auth = server.auth
            namespaces.run(command, "dd", "if=/dev/zero", f"of={root}/ballast", "bs=4096", expect=1)
            server.start_again()
            server.user, server.secret = auth
            assert len(evidence.listing(server, "p")) == len(made) - 1, "repaired, though there is no room"
            for file in made:
                assert evidence.served(server, "p", file.filename) == file.content
            assert server.upload(streams.dist(chance, "p", "2.0").file).status_code == 507

            full.empty()
            last = streams.dist(chance, "p", "2.0")
            assert server.upload(last.file).status_code == 200
            assert set(evidence.listing(server, "p")) == {file.filename for file in (*made, last)}
            evidence.nothing_is_left(full.root)
            evidence.agrees(full.root, searches=False)
        finally:
            server.kill()


@pytest.mark.parametrize("how", ["mount -t tmpfs tmpfs '{}'", "mount --bind '{}' '{}'"], ids=["another", "the-same"])
@pytest.mark.parametrize("folder", ["packages", "incoming"])
def test_a_mount_within_the_volume_is_refused(how: str, folder: str, tmp_path: Path) -> None:
    """Separately mounted folders can't share hard links, even of one file system: the start fails with the reason.

    Otherwise the first upload would fail.
    """
    root = tmp_path / "root"
    (root / folder).mkdir(parents=True)
    printed = namespaces.run(namespaces.command(how.replace("{}", str(root / folder))), *_serve(root), expect=1)
    assert "can't share a file by a hard link" in printed
    assert f"Mount the whole of {root} as one volume" in printed
    _is_short(printed)


def test_a_read_only_volume_is_refused(tmp_path: Path) -> None:
    """A volume that is mounted read-only is named, with the remedy and without a traceback."""
    root = tmp_path / "root"
    root.mkdir()
    printed = namespaces.run(namespaces.command(_READ_ONLY.format(root=root)), *_serve(root), expect=1)
    assert f"The volume {root} can't be used: {root} is mounted read-only" in printed
    assert "It must be writable" in printed
    _is_short(printed)


@pytest.mark.parametrize("folder", [".", "packages", "index/pending"])
def test_a_volume_without_write_permission_is_refused(folder: str, tmp_path: Path) -> None:
    """A folder without write permission is named, with the process's user; no traceback, and nothing is created."""
    root = tmp_path / "root"
    closed = root / folder
    closed.mkdir(parents=True)
    before = sorted(root.rglob("*"))
    closed.chmod(0o555)
    # root may write anywhere: drop that capability
    powerless = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    try:
        printed = namespaces.run(powerless, *_serve(root), expect=1)
    finally:
        closed.chmod(0o755)
    assert f"The volume {root} can't be used: {closed} belongs to this process (uid {os.geteuid()}, " in printed
    assert f"its mode is 0555: `chmod -R u+rwX {root}`" in printed
    assert sorted(root.rglob("*")) == before
    _is_short(printed)


def names(disk: Disk) -> set[str]:
    """Return all names on the volume, without the ballast, the folders of processes and the search index."""
    others = ("ballast", "names", "incoming/", "locks/", "index/search.sqlite3", "requests", "stats")
    paths = {str(path.relative_to(disk.root)) for path in disk.root.rglob("*")}
    return {name for name in paths if not name.startswith(others)}


def _attempt(disk: Disk, made: Made, fill: Callable[[], None]) -> int:
    """Upload to a nearly full disk; assert that all or nothing is there, and that the name works with free space."""
    server = disk.server
    evidence.nothing_is_left(disk.root)
    before, listed = names(disk), evidence.listing(server, made.project)
    fill()
    answer = server.upload(made.file)
    assert answer.status_code in {200, 507}, answer.text
    done = answer.status_code == 200
    expected = listed | ({made.filename: made.sha256} if done else {})
    assert evidence.listing(server, made.project) == expected
    if not done:
        assert names(disk) - {"index/pending/.root", "audit.jsonl"} == before - {"audit.jsonl"}
    disk.empty()
    evidence.nothing_is_left(disk.root)
    evidence.agrees(disk.root, searches=False)
    if not done:
        again = server.upload(made.file)
        assert again.status_code == 200, again.text
    assert evidence.listing(server, made.project) == listed | {made.filename: made.sha256}
    assert evidence.served(server, made.project, made.filename) == made.content
    return answer.status_code


def _all_audited(disk: Disk) -> None:
    """Assert that each line of the audit is whole."""
    for line in (disk.root / "audit.jsonl").read_text().splitlines():
        assert json.loads(line)["result"], line


def _serve(root: Path) -> tuple[str, ...]:
    return (*PPMCTL, "serve", "--root", str(root), "--port", str(servers.free_port()))


def _is_short(output: str) -> None:
    assert "Traceback" not in output
    lines = output.splitlines()
    assert len(lines) <= 2, output
    assert lines[0].startswith("ppmctl: ")


def test_every_command_names_a_full_disk(tmp_path: Path) -> None:
    """A full disk is no bug of ppm: the message names it, and how to go on; afterwards the same command works."""
    typed = (
        *("init", "user first --host localhost", "user add ann --role reader", "user invite eve --role reader"),
        *("user import htpasswd", "index adopt old", "index rebuild", "operation record backup"),
    )
    (tmp_path / "htpasswd").write_text("bob:{SSHA}" + "A" * 32 + "\n")
    (tmp_path / "old").mkdir()
    name, content = wheels.wheel("full", "1.0")
    (tmp_path / "old" / name).write_bytes(content)
    with namespaces.lasting_disk(tmp_path / "disk", size="24m") as (root, on_disk):
        root_option = ("--root", str(root))
        namespaces.run((*on_disk, *PPMCTL), "init", *root_option)
        ballast = shlex.quote(str(root / "ballast"))
        filled = (
            f"cat /dev/zero >{ballast} 2>/dev/null; rm -f {root}/ppm.yml; cat /dev/zero >>{ballast} 2>/dev/null; true"
        )
        namespaces.run(on_disk, "sh", "-c", filled)
        for words in typed:
            arguments = [str(tmp_path / word) if word in ("htpasswd", "old") else word for word in words.split()]
            printed = namespaces.run((*on_disk, *PPMCTL), *arguments, *root_option, expect=1)
            assert "no space left" in printed.lower(), words
            assert "bug" not in printed, words
        namespaces.run(on_disk, "sh", "-c", f"rm {ballast}")
        for words in typed[:3]:
            namespaces.run((*on_disk, *PPMCTL), *words.split(), *root_option)


def test_a_command_names_a_read_only_disk(tmp_path: Path) -> None:
    root = tmp_path / "root"
    ppmctl("init", "--root", str(root))
    read_only = namespaces.command(_READ_ONLY.format(root=root))
    printed = namespaces.run((*read_only, *PPMCTL), "user", "first", "--root", str(root), expect=1)
    assert "read-only" in printed.lower()
    assert "bug" not in printed
