"""Measure nodes on a bucket: uploads with some latency of the bucket, and reads with and without one.

Each node is the role's nginx, with TLS, and `ppmctl serve` behind it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from support import buckets, debian, rendering, volumes, webserver, wheels
from support.debian import Tree
from support.webserver import Site

from bench import measures, web
from bench.subjects import Subject

NODES = (1, 3)
SECONDS = 2  # of reads, for each kind in a round
WARM_UP = 1  # seconds of reads before: a node then knows that the project is read all the time


def compare(*, latency: float, rounds: int, requests_each: int) -> list[dict[str, object]]:
    """Return a row for each round and number of nodes; 0 nodes is a server without a bucket.

    The ratios are those to the server without a bucket in the same round. Reads are of that server and of one node,
    right after each other, and each comes first in every second round.
    """
    rows: list[dict[str, object]] = []
    tree = debian.tree(13)
    with (
        tempfile.TemporaryDirectory(prefix="ppm-bench-") as work,
        buckets.in_a_process(latency=latency) as environ,
        contextlib.ExitStack() as running,
    ):
        folder = Path(work)
        script = folder / "load.lua"
        script.write_text(web.SCRIPT)
        paths = web.write_paths(folder / "paths", 1, "")
        alone = running.enter_context(_site(tree, folder / "alone", {}))
        nodes: list[Site] = []
        for number in range(max(NODES)):
            nodes.append(running.enter_context(_site(tree, folder / f"node-{number}", environ, of=nodes[:1])))
        for each in (alone, nodes[0]):
            _fill(each)
        for number in range(rounds):
            used = {0: [alone]} | {count: nodes[:count] for count in NODES}
            measured = {count: _uploads(each, requests_each) for count, each in used.items()}
            readers = (0, 1) if number % 2 else (1, 0)
            for what in ("page", "file"):
                for count in readers:
                    measured[count] |= _reads(used[count][0], what, paths, script)
            for count, found in measured.items():
                ratios = {f"ratio of {name}": value / measured[0][name] for name, value in found.items()}
                rows.append(
                    {"subject": "nodes" if count else "no bucket", "files": count, "round": number} | found | ratios
                )
    return rows


def _uploads(used: list[Site], requests_each: int) -> measures.Measured:
    subjects = [
        Subject(name="node", url=each.url, auth=each.auth, process=each.process.pid, ca=each.ca) for each in used
    ]
    first = subjects[0]
    return {
        "upload ms": measures.one_by_one(
            first, max(requests_each // 4, 1), lambda client, _number: measures.upload(client, first)
        ),
        "uploads/s": measures.at_once(
            first, requests_each, lambda client, number: measures.upload(client, subjects[number % len(subjects)])
        ),
    }


def _reads(site: Site, what: str, paths: Mapping[str, Path], script: Path) -> measures.Measured:
    served = web.Served(name="node", process=site.nginx.pid, port=site.port, paths=paths)
    served.pin()
    web.load(served, what, site, script, WARM_UP, site.auth)
    rate, cost = web.load(served, what, site, script, SECONDS, site.auth)
    return {f"{what}s/s": rate, f"µs a {what}": cost}


@contextlib.contextmanager
def _site(tree: Tree, folder: Path, environ: Mapping[str, str], *, of: list[Site] | None = None) -> Iterator[Site]:
    """Serve a volume; a node that is not the first has the credential of the first, `of`."""
    storage = {"ppm_storage": environ["PPM_STORAGE"]} if environ else {}
    settings = rendering.variables(tree, ipv6=False, ppm_upstream="none", **storage)
    rendering.render([(folder / "rendered", settings)])
    if of:
        (folder / "root.admin").write_text(of[0].secret)
    before = dict(os.environ)
    os.environ.update(environ)
    try:
        site = webserver.start(folder / "rendered", tree, folder / "root")
    finally:
        os.environ.clear()
        os.environ.update(before)
    try:
        yield site
    finally:
        site.close()


def _fill(site: Site) -> None:
    """Upload the files of the first project of `volumes.fill`."""
    for minor in range(volumes.FILES_EACH):
        site.upload(wheels.wheel(volumes.project(0), f"1.{minor}")).raise_for_status()
