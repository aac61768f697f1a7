"""Several nodes of one index: servers with their own volumes, and one bucket."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from support import buckets, servers
from support.buckets import Bucket, Matches, Request
from support.servers import JSON, PPMCTL, Server

SOON = 1.0  # seconds after an acknowledged change, when each node shows it
_NAMES = "abcdefgh"
_OF_A_CHANGE = ("projects/", "packages/", "names/", "claims/")


@dataclass(kw_only=True)
class Cluster:
    """The nodes of an index. Each sends its requests to the bucket under its own name: a, b, …"""

    bucket: Bucket
    folder: Path
    servers: list[Server] = field(default_factory=list)
    commands: Sequence[Sequence[str]] = ()

    def __iter__(self) -> Iterator[Server]:
        return iter(self.servers)

    def __getitem__(self, number: int) -> Server:
        return self.servers[number]

    def add(self, *options: str, command: Sequence[str] = PPMCTL) -> Server:
        """Start a node on an empty volume. The first one makes the first admin; all have this credential."""
        name = _NAMES[len(self.servers)]
        server = servers.start(
            self.folder / name,
            options=("--upstream", "none", *options),
            environ=self.bucket.environ(name),
            command=command,
        )
        self.servers.append(server)
        server.user, server.secret = self[0].auth
        return server

    def replace(self, number: int) -> Server:
        """Kill a node, lose its volume, and start it on an empty one."""
        lost = self[number]
        lost.kill()
        lost.root.rename(lost.root.with_name(f"{lost.root.name}-lost-{time.monotonic_ns()}"))
        lost.start_again()
        return lost

    def wait(self) -> None:
        """Wait until each node has to show what was acknowledged before."""
        time.sleep(SOON)


@contextmanager
def running(
    folder: Path, count: int, *, commands: Sequence[Sequence[str]] = (), **bucket: float
) -> Iterator[Cluster]:
    """Run a bucket and `count` nodes on it; `commands` replace the first nodes' command."""
    with buckets.serving(**bucket) as serving:
        started = Cluster(bucket=serving, folder=folder)
        try:
            for number in range(count):
                started.add(command=commands[number] if number < len(commands) else PPMCTL)
            yield started
        finally:
            for server in started:
                with contextlib.suppress(ProcessLookupError):
                    server.kill()


def state(server: Server, project: str) -> dict[str, Any]:
    """Return what a node shows of a project: its status, and the hash and yank of each file; {} without a page."""
    answer = server.get(f"/simple/{project}/", headers={"Accept": JSON})
    if answer.status_code == 404:
        return {}
    assert answer.status_code == 200, f"{answer.status_code} {answer.text[:300]}"
    page = answer.json()
    files = {file["filename"]: (file["hashes"]["sha256"], file["yanked"]) for file in page["files"]}
    return {"status": page["project-status"]["status"], "files": files}


def of_change(node: str, project: str) -> Matches:
    """Return a function that is true for a node's requests for a change of a project, and for its audit."""

    def is_of_change(request: Request) -> bool:
        is_shared = request.kind == "write" and request.key.startswith(("names/", "audit/"))
        is_named = any(f"/{project}{end}" in f"{request.key}/" for end in "./")
        return request.node == node and (is_shared or is_named)

    return is_of_change


def of_files(node: str) -> Matches:
    """Return a function that is true for a node's requests for projects and files, and for its own audit."""

    def is_of_files(request: Request) -> bool:
        is_audit = request.kind == "write" and request.key.startswith("audit/")
        return request.node == node and (is_audit or request.key.startswith(_OF_A_CHANGE))

    return is_of_files


def lost(request: Callable[[], requests.Response]) -> requests.Response | None:
    """Make a request during which the server may die; return the answer, if there is one."""
    try:
        return request()
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        return None
