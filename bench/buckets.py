"""Measure nodes on a bucket: uploads with some latency of the bucket, and reads with and without one."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from support import buckets, servers, volumes, wheels

from bench import measures
from bench.subjects import Subject

NODES = (1, 3)


def compare(*, latency: float, rounds: int, requests_each: int) -> list[dict[str, object]]:
    """Return a row for each round and number of nodes; 0 nodes is a server without a bucket."""
    rows: list[dict[str, object]] = []
    with (
        tempfile.TemporaryDirectory(prefix="ppm-bench-") as work,
        buckets.in_a_process(latency=latency) as environ,
        _server(Path(work) / "alone", {}) as alone,
        contextlib.ExitStack() as stack,
    ):
        nodes: list[Subject] = []
        for number in range(max(NODES)):
            nodes.append(stack.enter_context(_server(Path(work) / f"node-{number}", environ, first=nodes[:1])))
        for each in (alone, nodes[0]):
            _fill(each)
        for number in range(rounds):
            for count, used in ((0, [alone]), *((count, nodes[:count]) for count in NODES)):
                measured = _measured(used, requests_each)
                rows.append(
                    {"subject": "nodes" if count else "no bucket", "files": count, "round": number, **measured}
                )
    return rows


def _measured(used: list[Subject], requests_each: int) -> measures.Measured:
    first, few = used[0], max(requests_each // 4, 1)
    return {
        "upload ms": measures.one_by_one(first, few, lambda client, _number: measures.upload(client, first)),
        "page ms": measures.one_by_one(first, requests_each, lambda client, _number: measures.page(client, first, 0)),
        "file ms": measures.one_by_one(
            first, requests_each, lambda client, _number: measures.download(client, first, 0)
        ),
        "uploads/s, 8 clients": measures.at_once(
            first, requests_each, lambda client, number: measures.upload(client, used[number % len(used)])
        ),
        "pages/s, 8 clients": measures.at_once(
            first, requests_each, lambda client, _number: measures.page(client, first, 0)
        ),
    }


@contextlib.contextmanager
def _server(root: Path, environ: Mapping[str, str], first: list[Subject] | None = None) -> Iterator[Subject]:
    """Run a server; a node that is not the first has the credential of the first."""
    server = servers.start(root, options=("--upstream", "none"), environ=environ)
    auth = first[0].auth if first else server.auth
    try:
        yield Subject(name=root.name, url=server.url, auth=auth, process=server.process.pid)
    finally:
        server.kill()


def _fill(subject: Subject) -> None:
    """Upload the files of the first project of `volumes.fill`."""
    with measures.session(subject) as client:
        for minor in range(volumes.FILES_EACH):
            made = wheels.wheel(volumes.project(0), f"1.{minor}")
            answer = client.post(
                subject.url + "/", data={":action": "file_upload"}, files={"content": made}, timeout=60
            )
            answer.raise_for_status()
