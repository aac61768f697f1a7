"""Users, tokens and the audit of nodes that share a bucket."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import requests
from support import buckets, servers
from support.buckets import Bucket
from support.evidence import until
from support.servers import Server, ppmctl
from support.wheels import wheel

# Seconds in which a credential is known or refused everywhere: the promise is 2, each node asks every 0.7 s, and a
# busy machine with many servers is slower.
WITHIN = 10.0


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with buckets.serving() as serving:
        yield serving


@pytest.fixture
def nodes(bucket: Bucket, serve: Callable[..., Server], tmp_path: Path) -> list[Server]:
    """Start two nodes; the first makes the first admin."""
    started: list[Server] = []
    for name in ("a", "b"):
        started.append(serve("--upstream", "none", root=tmp_path / name, environ=bucket.environ(name)))
    started[1].user, started[1].secret = started[0].user, started[0].secret
    return started


def status(server: Server, auth: tuple[str, str]) -> int:
    return requests.get(f"{server.url}/simple/", auth=auth, timeout=60).status_code


def seconds_until(reached: Callable[[], bool]) -> float:
    began = time.monotonic()
    until(reached, "all nodes know of the change", seconds=60)
    return time.monotonic() - began


def create_token(server: Server, name: str) -> tuple[str, str]:
    made = requests.post(
        f"{server.url}/api/tokens",
        json={"name": name, "role": "publisher"},
        auth=server.auth,
        headers={"X-PPM-Client": "test"},
        timeout=60,
    )
    assert made.ok, made.text
    return made.json()["name"], made.json()["secret"]


def test_nodes_that_start_at_once_make_one_admin(bucket: Bucket, tmp_path: Path) -> None:
    def start(name: str) -> Server:
        return servers.start(tmp_path / name, options=("--upstream", "none"), environ=bucket.environ(name))

    with ThreadPoolExecutor(3) as pool:
        started = list(pool.map(start, ("a", "b", "c")))
    try:
        made = [server for server in started if (server.root / "first-credential").exists()]
        assert len(made) == 1
        assert all(seconds_until(partial(_accepts, server, made[0].auth)) < WITHIN for server in started)
        stored = json.loads(bucket.content("credentials.json"))
        assert [line.partition(":")[0] for line in stored["htpasswd"]] == ["admin"]
        assert made[0].secret not in json.dumps(stored)
    finally:
        for server in started:
            server.kill()


def _accepts(server: Server, auth: tuple[str, str]) -> bool:
    return status(server, auth) == 200


def _refuses(server: Server, auth: tuple[str, str]) -> bool:
    return status(server, auth) == 401


def _nginx_accepts(server: Server, auth: tuple[str, str]) -> bool:
    return any(f"{auth[0]}:" in path.read_text() for path in (server.root / "credentials/nginx").iterdir())


def _nginx_refuses(server: Server, auth: tuple[str, str]) -> bool:
    return not _nginx_accepts(server, auth)


def test_a_token_works_and_is_revoked_everywhere(nodes: list[Server]) -> None:
    a, b = nodes
    for made_at, used_at in ((a, b), (b, a)):
        auth = create_token(made_at, f"admin+{made_at.root.name}")
        until(partial(_accepts, used_at, auth), "the other node knows the token", seconds=60)
        until(partial(_nginx_accepts, used_at, auth), "nginx knows the token", seconds=60)
        url = f"{made_at.url}/api/tokens/{auth[0].replace('+', '%2B')}"
        assert requests.delete(url, auth=a.auth, headers={"X-PPM-Client": "test"}, timeout=60).ok
        refused = seconds_until(partial(_refuses, used_at, auth))
        assert refused + seconds_until(partial(_nginx_refuses, used_at, auth)) < WITHIN


def test_commands_and_the_pruner_of_a_node_follow_the_bucket(nodes: list[Server], bucket: Bucket) -> None:
    """While the application of a node is dead, nginx serves what its files say."""
    a, b = nodes
    line = ppmctl(
        "user", "add", "ann", "--role", "reader", "--root", str(a.root), env=_environ(bucket)
    ).stdout.strip()
    assert seconds_until(lambda: _accepts(b, ("ann", line))) < WITHIN
    b.kill()
    ppmctl("user", "disable", "ann", "--root", str(a.root), env=_environ(bucket))
    assert "ann" in (b.root / "credentials/htpasswd").read_text()
    ppmctl("token", "prune", "--root", str(b.root), env=_environ(bucket))
    assert "ann" not in (b.root / "credentials/htpasswd").read_text()
    shown = json.loads(ppmctl("user", "list", "--json", "--root", str(b.root), env=_environ(bucket)).stdout)
    assert {each["name"]: each["state"] for each in shown} == {"admin": "active", "ann": "disabled"}


def _environ(bucket: Bucket) -> dict[str, str]:
    return {**os.environ, **bucket.environ("commands")}


def test_without_the_bucket_known_credentials_work_and_changes_are_refused(
    nodes: list[Server], bucket: Bucket
) -> None:
    a, _b = nodes
    auth = create_token(a, "admin+laptop")
    with bucket.away():
        assert status(a, auth) == 200
        refused = requests.post(
            f"{a.url}/api/tokens",
            json={"name": "admin+other", "role": "reader"},
            auth=a.auth,
            headers={"X-PPM-Client": "test"},
            timeout=60,
        )
        assert refused.status_code == 503
        assert "Retry-After" in refused.headers
        a.kill()
        a.start_again()
        assert status(a, auth) == 200
    assert seconds_until(lambda: _may_create(a)) < 30


def _may_create(server: Server) -> bool:
    try:
        create_token(server, f"admin+{time.monotonic_ns()}")
    except AssertionError:
        return False
    return True


def test_what_a_node_publishes_is_in_the_audit_and_the_search_of_others(nodes: list[Server], bucket: Bucket) -> None:
    a, b = nodes
    assert a.upload(wheel("heron", "1.0", summary="A grey bird")).ok
    assert [json.loads(bucket.content(key))["what"] for key in bucket.objects("audit/")][-1].startswith("heron-1.0")
    until(lambda: "heron" in searched(b, "grey"), "the other node finds it", seconds=60)
    until(lambda: any(entry["what"].startswith("heron") for entry in audited(b)), "its audit", seconds=60)
    (entry,) = (entry for entry in audited(b) if entry["what"].startswith("heron"))
    assert entry["node"] == (a.root / "storage/node").read_text().strip()
    (entry,) = (entry for entry in audited(a) if entry["what"].startswith("heron"))
    assert "node" not in entry


def searched(server: Server, word: str) -> str:
    return server.get(f"/search?q={word}", headers={"Accept": "text/html"}).text


def audited(server: Server) -> list[dict[str, str]]:
    path = server.root / "audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
