"""Tests of several nodes on one bucket: one winner of each name, what a node shows of another's changes, and costs.

BUCKET_ROUNDS=1000 makes the tests of races longer.
"""

from __future__ import annotations

import json
import operator
import os
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from support import cluster, evidence, shifted, streams, warm, wheels
from support.bucket_changes import CHANGES, NOW, Change, api, dist, each_change, prepared, publish, shown
from support.buckets import counted
from support.cluster import Cluster, of_files, state
from support.evidence import at_once
from support.servers import JSON

from ppmctl.storage import keys

ROUNDS = int(os.environ.get("BUCKET_ROUNDS", "2"))
CLIENTS = 16


# one winner


@pytest.mark.parametrize(
    ("count", "jitter"), [(2, 0.0), (3, 0.0), (3, 0.05)], ids=["two", "three", "three, reordering bucket"]
)
def test_one_of_many_uploads_of_one_filename_wins(count: int, jitter: float, tmp_path: Path) -> None:
    """Of 16 uploads at several nodes one gets 200, the others 409; then all nodes serve the winner's file."""
    chance = random.Random(count)
    with cluster.running(tmp_path, count, jitter=jitter) as running:
        for number in range(ROUNDS):
            project = f"race-{number % 50}"  # a new one, later a known one
            rivals = [streams.dist(chance, project, f"1.{number}", size=2000) for _ in range(CLIENTS)]
            uploads = [
                partial(running[client % count].upload, rival.file, headers={"Connection": "close"})
                for client, rival in enumerate(rivals)
            ]
            answers = at_once(uploads)
            won = [rival for rival, answer in zip(rivals, answers, strict=True) if answer.status_code == 200]
            assert len(won) == 1, [(answer.status_code, answer.text) for answer in answers]
            assert sorted(answer.status_code for answer in answers) == [200, *[409] * (CLIENTS - 1)]
            if number < 5 or number % 50 == 0:
                running.wait()
                for server in running:
                    assert evidence.listing(server, project)[won[0].filename] == won[0].sha256
                    assert evidence.served(server, project, won[0].filename) == won[0].content


def test_equal_uploads_at_several_nodes_all_succeed(pair: Cluster) -> None:
    """One publishes the file; the others learn that it is there with the same content."""
    made = dist("same")
    answers = at_once([partial(pair[client % 2].upload, made.file) for client in range(CLIENTS)])
    told = sorted((answer.status_code, "same content" in answer.text) for answer in answers)
    assert told == [(200, False), *[(200, True)] * (CLIENTS - 1)]


def test_files_of_one_project_from_several_nodes_are_all_listed(pair: Cluster) -> None:
    """Guards the commit of a project's head against a node that writes what it knew before another's change."""
    made = [dist("busy", f"1.{number}") for number in range(24)]

    def upload_some(client: int) -> None:
        for each in made[client::4]:
            publish(pair[client % 2], each)

    at_once([partial(upload_some, client) for client in range(4)])
    pair.wait()
    for server in pair:
        assert state(server, "busy") == shown(*made)


# what another node shows


@each_change
def test_another_node_shows_a_change_within_a_second(change: Change, pair: Cluster) -> None:
    """The page and the file at the other node are those after the change, though it has just served those before."""
    first, second = pair
    project = f"soon-{change.name}"
    files = prepared(change, first, project)
    pair.wait()
    for _again in range(2):  # the second answer comes from the other node's disk
        before = state(second, project)
    expected = change.expected(files)
    assert before != expected
    answer = change.make(first, files[NOW])
    assert answer.status_code == 200, answer.text
    pair.wait()
    assert state(second, project) == expected
    served = second.get(f"/packages/{project}/{files[NOW].filename}")
    if change.name in ("remove", "quarantine"):
        assert served.status_code in (403, 404, 410)
    else:
        assert served.content == files[NOW].content
    assert state(first, project) == expected


def test_a_new_project_is_in_the_list_of_each_node_within_a_second(pair: Cluster) -> None:
    second = pair[1]
    assert second.get("/simple/").status_code == 200
    publish(pair[0], dist("newcomer"))
    pair.wait()
    listed = json.loads(second.get("/simple/", headers={"Accept": JSON}).content)["projects"]
    assert "newcomer" in {project["name"] for project in listed}


@each_change
def test_pages_are_the_same_at_each_node(change: Change, pair: Cluster) -> None:
    """ETag, serial and bytes: a client behind a balancer that revalidates at another node keeps no older page."""
    project = f"equal-{change.name}"
    files = prepared(change, pair[1], project)
    assert change.make(pair[0], files[NOW]).ok
    pair.wait()
    for form in (JSON, evidence.HTML):
        answers = [server.get(f"/simple/{project}/", headers={"Accept": form}) for server in pair]
        assert answers[0].content == answers[1].content
        assert answers[0].headers["ETag"] == answers[1].headers["ETag"]


def test_a_revoked_credential_is_refused_by_each_node_within_two_seconds(pair: Cluster) -> None:
    root = str(pair[0].root)
    environ = {**os.environ, **pair.bucket.environ("a")}
    printed = warm.run("user", "add", "leaver+ci", "--role", "reader", "--root", root, environ=environ)
    auth = ("leaver+ci", printed.stdout.split()[-1])
    time.sleep(2)
    for server in pair:
        assert server.get("/simple/", auth=auth).status_code == 200
    warm.run("user", "remove", "leaver+ci", "--root", root, environ=environ)
    time.sleep(2)
    for server in pair:
        assert server.get("/simple/", auth=auth).status_code == 401


# away, lost, late


def test_with_the_bucket_away_a_node_serves_what_it_has(tmp_path: Path) -> None:
    """Pages and files on the disk are served, uploads and what is not there get 503; then all goes on."""
    with cluster.running(tmp_path, 2) as running:
        first, second = running
        made, more = dist("kept"), dist("kept", "2.0")
        publish(first, made)
        running.wait()
        assert evidence.served(second, "kept", made.filename) == made.content
        with running.bucket.away():
            running.wait()
            for server in running:
                assert state(server, "kept") == shown(made)
                assert evidence.served(server, "kept", made.filename) == made.content
                refused = server.upload(more.file)
                assert refused.status_code == 503, refused.text
                assert int(refused.headers["Retry-After"]) > 0
                assert state(server, "kept") == shown(made)
                assert server.get("/simple/never-seen/").status_code == 503
        publish(second, more)
        running.wait()
        assert state(first, "kept") == shown(made, more)


def test_a_bucket_that_hangs_delays_no_read_of_what_a_node_has(tmp_path: Path) -> None:
    """A page and a file take less than the 15 seconds after which pip gives up, though the bucket never answers."""
    with cluster.running(tmp_path, 1) as running:
        made = dist("held")
        publish(running[0], made)
        with running.bucket.hanging():
            running.wait()
            for _again in range(3):
                began = time.monotonic()
                assert state(running[0], "held") == shown(made)
                assert evidence.served(running[0], "held", made.filename) == made.content
                assert time.monotonic() - began < 15
        publish(running[0], dist("held", "2.0"))


def test_a_node_that_lost_its_volume_is_whole_again(tmp_path: Path) -> None:
    """An empty volume and the configuration serve all projects, files, and accept the credentials."""
    with cluster.running(tmp_path, 2) as running:
        made = [dist(f"lost-{number}") for number in range(3)]
        for each in made:
            publish(running[0], each)
        assert api(running[0], "PUT", f"lost-0/{NOW}/yank", reason="broken").ok
        assert api(running[0], "DELETE", f"lost-1/{NOW}").ok
        for number in (0, 1):
            server = running.replace(number)
            assert state(server, "lost-0")["files"][made[0].filename] == (made[0].sha256, "broken")
            assert state(server, "lost-1") == shown()
            assert evidence.served(server, "lost-2", made[2].filename) == made[2].content
            assert server.upload(dist("lost-1").file).status_code == 409  # its tombstone
        assert running.bucket.objects("projects/") == [f"projects/lost-{number}.json" for number in range(3)]


def test_clocks_ten_minutes_apart_change_nothing(tmp_path: Path) -> None:
    """Changes alternate between a node whose clock is ten minutes ahead and another one."""
    ahead = tmp_path / "ahead"
    ahead.write_text("600")
    with cluster.running(tmp_path, 2, commands=[(*shifted.COMMAND, str(ahead))]) as running:
        made = [dist("hours", f"1.{number}") for number in range(6)]
        serials = []
        for number, each in enumerate(made):
            publish(running[number % 2], each)
            running.wait()
            expected = shown(*made[: number + 1])
            for server in running:
                assert state(server, "hours") == expected
            serials.append(running[(number + 1) % 2].page("hours")["meta"]["_last-serial"])
        assert serials == sorted(set(serials)), "a later page has a later serial"
        for number, reason in enumerate(("one", "two")):
            assert api(running[number], "PUT", "hours/1.0/yank", reason=reason).ok
            running.wait()
            for server in running:
                assert state(server, "hours")["files"][made[0].filename][1] == reason


# costs


@pytest.mark.parametrize(("change", "most"), [("new", 6), ("known", 4), ("yank", 4), ("remove", 4)])
def test_a_change_costs_few_requests(change: str, most: int, pair: Cluster) -> None:
    """They do not depend on the number of projects and files, and nothing is listed."""
    (chosen,) = [each for each in CHANGES if each.name == change]
    project = f"cost-{change}"
    files = prepared(chosen, pair[0], project)
    with pair.bucket.recording(of_files("a")) as found:
        assert chosen.make(pair[0], files[NOW]).ok
    of_project = [
        str(request) for request in found if not request.key.startswith("projects/") or project in request.key
    ]
    print(f"{change}: {', '.join(of_project)}")
    assert len(of_project) <= most
    assert counted(found)["list"] == 0


@pytest.mark.parametrize("made", [wheels.wheel, wheels.sdist])
def test_an_upload_after_one_of_another_node_costs_two_requests_more(
    made: Callable[[str, str], tuple[str, bytes]], pair: Cluster
) -> None:
    """The lost condition and the new head; for the first look at a project of the other also its name."""
    first = {"wheel": 4, "sdist": 3}[made.__name__]  # file, metadata, name, head; and the audit
    most = [first, first + 2, first + 1, first + 1]

    def costs(project: str) -> list[int]:
        found: list[int] = []
        for number in range(4):
            node = number % 2
            with pair.bucket.recording(of_files("ab"[node])) as requests:
                answer = pair[node].upload(made(project, f"1.{number}"))
                assert answer.status_code == 200, answer.text
            name = keys.names(keys.shard(project))
            found.append(len([each for each in requests if project in each.key or each.key == name]))
        return found

    for number, server in enumerate(pair):  # a node looks at the bucket once when it starts
        publish(server, dist(f"turns-{made.__name__}-node-{number}"))
    # the node that follows in the background may read a project meanwhile, so the least of several times counts
    least = [sys.maxsize] * len(most)
    for turn in range(30):
        least = list(map(min, least, costs(f"turns-{made.__name__}-{turn}")))
        if all(map(operator.le, least, most)):
            return
    pytest.fail(f"It cost {least} requests, and not {most}")


def test_what_a_node_has_costs_a_conditional_read_a_second(pair: Cluster) -> None:
    """Hundreds of requests for pages and files of a project in some seconds: one read of its head in each second."""
    made = dist("read")
    publish(pair[0], made)
    pair.wait()
    assert evidence.served(pair[1], "read", made.filename) == made.content
    assert pair[1].get(f"/packages/read/{made.filename}.metadata").ok
    with pair.bucket.recording(of_files("b")) as found:
        began, answers = time.monotonic(), 0
        while time.monotonic() - began < 3:
            assert state(pair[1], "read") == shown(made)
            assert evidence.served(pair[1], "read", made.filename) == made.content
            assert pair[1].get(f"/packages/read/{made.filename}.metadata").ok
            answers += 3
        seconds = time.monotonic() - began
    heads = [request for request in found if request.key == "projects/read.json"]
    print(f"{answers} answers in {seconds:.1f} s: {', '.join(str(request.status) for request in heads)}")
    assert 1 <= len(heads) <= seconds + 1
    assert all(request.conditions == ("If-None-Match",) for request in heads)
    assert [str(request) for request in found if "/read/" in request.key] == []


def test_nothing_but_credentials_and_audit_is_asked_for_while_nothing_happens(pair: Cluster) -> None:
    """Each second at most one request for the credentials, and a few for what other nodes did."""
    pair.wait()
    with pair.bucket.recording() as found:
        time.sleep(4)
    asked = sorted({str(request) for request in found})
    print(f"{len(found)} requests in 4 s: {asked}")
    assert all(request.key.startswith(("credentials", "audit")) for request in found), asked
    assert len(found) <= 2 * 5 * 3
