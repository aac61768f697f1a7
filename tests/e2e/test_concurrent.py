"""Tests of many clients at once, with one server and with two on the same volume, while others read."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import requests
from support import evidence, servers, streams, warm
from support.evidence import at_once
from support.servers import JSON, Server
from support.slow import SlowUpload
from support.streams import Made

CLIENTS = 16


@pytest.fixture(params=[1, 2], ids=["one-process", "two-processes"])
def indexes(request: pytest.FixtureRequest, serve: Callable[..., Server]) -> list[Server]:
    """Return the servers of one volume."""
    first = serve("--upstream", "none", warm=True)
    more = (serve("--upstream", "none", port=servers.free_port(), warm=True) for _ in range(1, request.param))
    return [first, *more]


@pytest.mark.parametrize("together", [True, False], ids=["at-once", "one-after-another"])
def test_one_of_many_uploads_of_one_filename_wins(together: bool, indexes: list[Server]) -> None:
    """One of 16 gets 200 and its bytes are served; by the time the others read 409, the page lists the winner's.

    Guards the commit's create-if-absent, and that no answer mentions a file before its page is written: also if the
    clients do not wait for each other, so that they come at any moment of the winner's upload.
    """
    chance = random.Random(1)
    projects = [f"race-{number}" for number in range(10)]
    rivals = {
        project: [
            streams.dist(chance, project, "1.0", size=streams.some_size(chance, largest=200_000))
            for _ in range(CLIENTS)
        ]
        for project in projects
    }
    # half of them have a page already; for a new project, a request waits for the page
    earlier = {project: streams.dist(chance, project, "0.1") for project in projects[::2]}
    for made in earlier.values():
        assert indexes[0].upload(made.file).status_code == 200

    def upload(client: int, some: list[str]) -> list[tuple[int, Made, dict[str, str]]]:
        outcomes = []
        for number, project in enumerate(some):
            made = rivals[project][client]
            answer = indexes[client % len(indexes)].upload(made.file)
            shown = {}
            if answer.status_code != 200:
                assert (answer.status_code, "other content" in answer.text) == (409, True), answer.text
                shown = evidence.listing(indexes[(client + number) % len(indexes)], project)
            outcomes.append((answer.status_code, made, shown))
        return outcomes

    with evidence.readers(indexes, lambda: projects):
        for some in [[project] for project in projects] if together else [projects]:
            results = at_once([partial(upload, client, some) for client in range(CLIENTS)])
            outcomes = [outcome for client in results for outcome in client]
            for project in some:
                of_project = [(status, made, shown) for status, made, shown in outcomes if made.project == project]
                winners = [made for status, made, _shown in of_project if status == 200]
                assert len(winners) == 1, f"{len(winners)} of {CLIENTS} were told that they won"
                (winner,) = winners
                published = [winner, *([earlier[project]] if project in earlier else [])]
                expected = {made.filename: made.sha256 for made in published}
                for status, _made, shown in of_project:
                    assert status == 200 or shown == expected
                for server in indexes:
                    assert evidence.listing(server, project) == expected
                    assert evidence.served(server, project, winner.filename) == winner.content
    assert_clean_and_consistent(indexes)


def test_identical_parallel_uploads_all_succeed(indexes: list[Server]) -> None:
    """One publishes the file; the others are told that it is there already, with the same content."""
    for number in range(5):
        made = streams.dist(random.Random(number), f"same-{number}", "1.0", size=50_000)
        answers = at_once([partial(server.upload, made.file) for server in indexes * (CLIENTS // len(indexes))])
        printed = sorted((answer.status_code, "same content" in answer.text) for answer in answers)
        assert printed == [(200, False), *[(200, True)] * (CLIENTS - 1)]
    assert_clean_and_consistent(indexes)


def test_parallel_uploads_of_one_project_are_all_on_its_page(indexes: list[Server]) -> None:
    """8 clients upload different files of one project: each is listed when its upload is answered, all at the end.

    Guards against two writers of a page of which the slower one writes an older page.
    """
    chance = random.Random(2)
    streams_of = [
        [
            streams.dist(
                chance,
                "busy",
                f"{client}.{number}",
                kind=chance.choice(("wheel", "sdist")),
                size=streams.some_size(chance, largest=100_000),
            )
            for number in range(15)
        ]
        for client in range(8)
    ]

    def upload_all(client: int) -> None:
        for number, made in enumerate(streams_of[client]):
            answer = indexes[(client + number) % len(indexes)].upload(made.file)
            assert answer.status_code == 200, answer.text
            other = indexes[(client + number + 1) % len(indexes)]
            assert evidence.listing(other, "busy", settled=False)[made.filename] == made.sha256

    with evidence.readers(indexes, lambda: ["busy"]):
        at_once([partial(upload_all, client) for client in range(8)])
    expected = {made.filename: made.sha256 for stream in streams_of for made in stream}
    for server in indexes:
        assert evidence.listing(server, "busy") == expected
    assert_clean_and_consistent(indexes)


def test_new_projects_can_be_created_in_parallel(indexes: list[Server]) -> None:
    """Projects that are created at the same moment are all in the list of projects soon after."""
    made = [streams.dist(random.Random(number), f"born-{number}", "1.0") for number in range(24)]
    at_once([partial(indexes[number % len(indexes)].upload, file.file) for number, file in enumerate(made)])
    assert_clean_and_consistent(indexes)
    for server in indexes:
        listed = json.loads(server.get("/simple/", headers={"Accept": JSON}).content)["projects"]
        assert [project["name"] for project in listed] == sorted(file.project for file in made)


def test_yanks_during_uploads_lose_nothing(indexes: list[Server]) -> None:
    """A command and a server that change the same project lose none of their changes, also on the page."""
    chance = random.Random(3)
    first = [streams.dist(chance, "beside", f"1.{number}") for number in range(8)]
    more = [streams.dist(chance, "beside", f"2.{number}") for number in range(8)]
    for file in first:
        assert indexes[0].upload(file.file).status_code == 200
    root = str(indexes[0].root)

    def yank_all() -> None:
        for file in first:
            warm.run("package", "yank", "beside", file.version, "--reason", "old", "--root", root)

    def upload_all() -> None:
        for file in more:
            assert indexes[-1].upload(file.file).status_code == 200

    with evidence.readers(indexes, lambda: ["beside"]):
        at_once([yank_all, upload_all])
    for server in indexes:
        yanked = {file["filename"]: file["yanked"] for file in server.page("beside")["files"]}
        assert yanked == {file.filename: "old" for file in first} | {file.filename: False for file in more}
    assert_clean_and_consistent(indexes)


def test_slow_clients_do_not_block_others(indexes: list[Server]) -> None:
    """Others publish while clients send their bodies slowly; the slow uploads are complete in the end."""
    chance = random.Random(4)
    slow = [streams.dist(chance, "slow", f"1.{number}", size=300_000) for number in range(6)]
    with evidence.readers(indexes, lambda: ["quick", "slow"]):
        uploads = [SlowUpload(indexes[number % len(indexes)], made) for number, made in enumerate(slow)]
        for step in range(10):
            for upload in uploads:
                upload.send(0.09)
            for server in indexes:
                made = streams.dist(chance, "quick", f"{step}.{server.port}")
                assert server.upload(made.file).status_code == 200
                assert evidence.listing(server, "quick")[made.filename] == made.sha256
                assert evidence.listing(server, "slow") == {}, "a file that has not arrived yet"
        for upload in uploads:
            with upload:
                assert upload.answer() == 200
    for server in indexes:
        assert evidence.listing(server, "slow") == {made.filename: made.sha256 for made in slow}
    assert_clean_and_consistent(indexes)


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_aborted_uploads_leave_nothing(how: str, indexes: list[Server]) -> None:
    """Clients that disconnect anywhere in their body leave no file, no page and no bug in the log."""
    chance = random.Random(5)
    made = streams.dist(chance, "broken-off", "1.0", size=400_000)
    with evidence.readers(indexes, lambda: ["other"]):
        assert indexes[0].upload(streams.dist(chance, "other", "1.0").file).status_code == 200
        for number in range(20):
            with SlowUpload(indexes[number % len(indexes)], made) as upload:
                upload.send(chance.choice((0.0, 0.5, 0.9, 0.999)))
                if chance.random() < 0.5:
                    evidence.until(lambda: os.listdir(indexes[0].root / "incoming"), "a server that is at it")
                if how == "reset":
                    upload.reset()
    assert_clean_and_consistent(indexes)
    for server in indexes:
        assert evidence.listing(server, "broken-off") == {}
        assert "Traceback" not in server.log.read_text()
    assert indexes[-1].upload(made.file).status_code == 200
    assert evidence.served(indexes[0], made.project, made.filename) == made.content


def test_dropped_files_are_published_once(indexes: list[Server]) -> None:
    """One server of a volume publishes the files of drop/, and another one after it has died."""
    root, chance = indexes[0].root, random.Random(6)
    for holder in range(len(indexes)):
        made = [streams.dist(chance, f"dropped-{holder}", f"1.{number}", size=20_000) for number in range(5)]
        for file in made:
            (root / "drop" / file.filename).write_bytes(file.content)
        evidence.until(lambda: not os.listdir(root / "drop"), "an empty drop/")
        listed = evidence.listing(indexes[-1], f"dropped-{holder}")
        assert listed == {file.filename: file.sha256 for file in made}
        evidence.until(
            partial(_all_audited, indexes[0], made), "a line for each, which comes after the file has gone"
        )
        assert sorted(_audited(indexes[0], made)) == sorted((file.filename, "done") for file in made)
        if holder + 1 < len(indexes):
            indexes[holder].kill()  # the first one that started watches the folder
    assert_clean_and_consistent(indexes[-1:], searches=False)


def test_both_processes_see_a_change_of_credentials_at_once(indexes: list[Server]) -> None:
    """A user added while the servers run is accepted by each at once; a removed user by none."""
    root = str(indexes[0].root)
    secret = warm.run("user", "add", "new+ci", "--role", "reader", "--root", root).stdout.split()[-1]
    for server in indexes:
        assert server.get("/simple/", auth=("new+ci", secret)).status_code == 200
    warm.run("user", "remove", "new+ci", "--root", root)
    for server in indexes:
        assert server.get("/simple/", auth=("new+ci", secret)).status_code == 401


@pytest.mark.parametrize("form", [JSON, evidence.HTML])
@pytest.mark.parametrize("packed", ["gzip", "identity"])
def test_changes_within_a_second_have_different_etags(form: str, packed: str, index: Server) -> None:
    """Pages of equal length that follow one another within a second have different ETags.

    nginx makes an ETag from the size and whole seconds: a client that revalidates would keep the older page.
    """
    project = f"seconds-{form[-4:]}-{packed}".replace("+", "-")
    for minor in range(6):  # long enough to be compressed
        assert index.upload(streams.dist(random.Random(minor), project, f"1.{minor}").file).status_code == 200
    headers = {"Accept": form, "Accept-Encoding": packed}
    path = f"/simple/{project}/"
    answer = index.get(path, headers=headers)
    assert answer.headers.get("Content-Encoding", "identity") == packed
    seconds = []
    for reason in "abcdefgh":
        warm.run("package", "yank", project, "1.3", "--reason", reason, "--root", str(index.root))
        seconds.append(int(time.time()))
        before, answer = answer, index.get(path, headers=headers | {"If-None-Match": answer.headers["ETag"]})
        assert answer.status_code == 200, f"{answer.status_code}: the page before {reason!r} passes for the new one"
        assert answer.headers["ETag"] != before.headers["ETag"]
        seen = f'"{reason}"'
        assert seen in answer.text, "an older page"
        same = index.get(path, headers=headers | {"If-None-Match": answer.headers["ETag"]})
        assert same.status_code == 304
    # otherwise the test proves nothing; a machine that needs a second for each command is too slow
    assert len(set(seconds)) < len(seconds)


def test_readers_never_see_a_failure(indexes: list[Server]) -> None:
    """While projects are created, grow, change their status and are yanked, every read is answered completely.

    Requests are made once, without retries: any failure is one that a user would have seen.
    """
    chance, root = random.Random(7), str(indexes[0].root)
    projects = [f"read-{number}" for number in range(4)]

    def publish(number: int) -> None:
        mine = random.Random(number)
        for version in range(12):
            for project in projects:
                made = streams.dist(
                    mine, project, f"{number}.{version}", size=streams.some_size(mine, largest=50_000)
                )
                assert mine.choice(indexes).upload(made.file).status_code == 200

    def change() -> None:
        evidence.until(
            lambda: all(evidence.listing(indexes[0], project, settled=False) for project in projects), "projects"
        )
        for turn in range(6):
            project = chance.choice(projects)
            version = next(iter(indexes[0].page(project)["versions"]))
            warm.run("package", "yank", project, version, "--reason", f"turn {turn}", "--root", root)
            warm.run("package", "status", project, "deprecated", "--reason", f"turn {turn}", "--root", root)
            warm.run("package", "unyank", project, version, "--root", root)
            warm.run("package", "status", project, "active", "--root", root)

    with evidence.readers(indexes, lambda: projects, threads=4):
        at_once([*(partial(publish, number) for number in range(3)), change])
    assert_clean_and_consistent(indexes)


def test_readers_see_no_failure_when_the_index_folder_is_deleted(indexes: list[Server], tmp_path: Path) -> None:
    """All of index/ may be deleted while the servers run: pages are rewritten when they are requested."""
    made = [streams.dist(random.Random(number), f"deleted-{number}", "1.0") for number in range(4)]
    for file in made:
        assert indexes[0].upload(file.file).status_code == 200
    evidence.nothing_is_left(indexes[0].root)
    with evidence.readers(indexes, lambda: [file.project for file in made]):
        for turn in range(5):
            gone = (indexes[0].root / "index" / "simple").rename(tmp_path / f"gone-{turn}")
            shutil.rmtree(gone)
            for file in made:
                assert evidence.listing(indexes[turn % len(indexes)], file.project) == {file.filename: file.sha256}
    assert requests.get(indexes[-1].simple, auth=indexes[-1].auth, timeout=60).status_code == 200
    assert_clean_and_consistent(indexes)


def assert_clean_and_consistent(indexes: list[Server], *, searches: bool = True) -> None:
    """Assert that nothing is left over, and that pages, records and hashes agree."""
    evidence.nothing_is_left(indexes[0].root)
    evidence.agrees(indexes[0].root, searches=searches)


def _all_audited(server: Server, made: list[Made]) -> bool:
    return len(_audited(server, made)) >= len(made)


def _audited(server: Server, made: list[Made]) -> list[tuple[str, str]]:
    names = {file.filename for file in made}
    lines = [json.loads(line) for line in (server.root / "audit.jsonl").read_text().splitlines()]
    return [(line["what"], line["result"]) for line in lines if line["what"] in names]
