"""Tests of a node or a bucket that dies between any two requests of a change: it is whole or not made, never lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from support import cluster, evidence
from support.bucket_changes import NOW, Change, each_change, main_changes, prepared
from support.buckets import Fate
from support.cluster import Cluster, of_change, state
from support.servers import Server


@main_changes
def test_a_node_killed_between_two_requests_leaves_all_or_nothing(change: Change, tmp_path: Path) -> None:
    """The node is killed right before each request of a change is handled, and right after.

    At once the other node shows the state before the change or after it, never anything else, and the one after it
    if the head was written. The change can be made there. The killed node shows the same when it is back.
    """
    with cluster.running(tmp_path, 2) as running:
        first, second = running
        commit, requests_each = _recorded(change, running, "recorded")
        for number, fate in [(each, fate) for each in range(1, requests_each + 1) for fate in ("cut", "lost")]:
            project = f"killed-{number}-{fate}"
            files = prepared(change, first, project)
            before = {} if not change.published else state(first, project)
            came = _at(running, number, fate, project, act=first.kill)
            answer = cluster.lost(partial(change.make, first, files[NOW]))
            assert came.wait(10)
            assert answer is None
            is_done = number > commit or (number == commit and fate == "lost")
            running.wait()
            expected = change.expected(files)
            assert state(second, project) == (expected if is_done else before), f"{fate} {number} of {requests_each}"
            again = change.make(second, files[NOW])
            assert again.status_code == 200 or is_done, again.text
            assert state(second, project) == expected
            first.start_again()
            evidence.nothing_is_left(first.root)
            assert state(first, project) == expected


def _recorded(change: Change, running: Cluster, project: str) -> tuple[int, int]:
    """Make a change once; return the number of the request that commits it, and how many requests it has."""
    files = prepared(change, running[0], project)
    with running.bucket.recording(of_change("a", project)) as found:
        assert change.make(running[0], files[NOW]).ok
    printed = [str(request) for request in found]
    print(f"{change.name}: {', '.join(printed)}")
    assert state(running[0], project) == change.expected(files)
    return 1 + printed.index(f"write projects/{project}.json"), len(printed)


def _at(
    running: Cluster, number: int, fate: Fate, project: str, act: Callable[[], object] | None = None
) -> threading.Event:
    return running.bucket.at(number, fate, of=of_change("a", project), act=act)


def _answers(server: Server, project: str) -> bool:
    return server.get(f"/simple/{project}/").status_code != 503


@main_changes
def test_a_bucket_that_goes_away_between_two_requests_leaves_all_or_nothing(change: Change, tmp_path: Path) -> None:
    """The answer is 200 or 503; after 200 the change was made, and after another try it is whole."""
    with cluster.running(tmp_path, 2) as running:
        first, second = running
        commit, requests_each = _recorded(change, running, "recorded")
        for number, fate in [(each, fate) for each in range(1, requests_each + 1) for fate in ("cut", "lost")]:
            project = f"away-{number}-{fate}"
            files = prepared(change, first, project)
            before = {} if not change.published else state(first, project)
            _at(running, number, fate, project, act=running.bucket.leave)
            answer = change.make(first, files[NOW])
            running.bucket.come_back()
            is_done = number > commit or (number == commit and fate == "lost")
            where = f"{fate} {number} of {requests_each}: {answer.status_code} {answer.text}"
            assert answer.status_code == 503 or (answer.status_code == 200 and is_done), where
            if answer.status_code == 503:
                assert int(answer.headers["Retry-After"]) > 0
            running.wait()
            expected = change.expected(files)
            for server in (second, first):
                # a node asks a bucket that was away again after some seconds
                evidence.until(partial(_answers, server, project), "the node asks the bucket again", seconds=30)
                assert state(server, project) == (expected if is_done else before), where
            again = change.make(first, files[NOW])
            assert again.status_code == 200 or is_done, again.text
            running.wait()
            for server in running:
                assert state(server, project) == expected, where
        for server in running:
            evidence.nothing_is_left(server.root)


@each_change
@pytest.mark.parametrize("fate", ["refused", "cut", "lost"])
def test_a_request_that_fails_once_fails_no_change(change: Change, fate: Fate, pair: Cluster) -> None:
    """Each request of a change is refused, not received, or its answer lost: the change is made, and made once."""
    _commit, requests_each = _recorded(change, pair, f"once-{fate}-{change.name}")
    for number in range(1, requests_each + 1):
        project = f"once-{fate}-{change.name}-{number}"
        files = prepared(change, pair[0], project)
        came = _at(pair, number, fate, project)
        answer = change.make(pair[0], files[NOW])
        assert came.wait(10)
        assert answer.status_code == 200, f"{fate} {number} of {requests_each}: {answer.text}"
        assert state(pair[0], project) == change.expected(files)
