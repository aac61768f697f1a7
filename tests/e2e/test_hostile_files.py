"""Hostile files at each entrance of an index: they are refused, and the server goes on for everyone else."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support import wheels
from support.attacks import uploads
from support.evidence import until
from support.servers import Server, ppmctl

CLAIMING = uploads.files()["a member that claims 10^18 bytes"]


def test_files_that_take_long_do_not_stop_the_server(serve: Callable[..., Server]) -> None:
    """16 uploads that each keep a processor busy: pages are answered meanwhile, and SIGTERM ends the server."""
    server = serve("--upstream", "none")
    headers = tarfile.TarInfo("slow-1.0/a").tobuf() * 10_000
    content = gzip.compress(headers, 1)
    with ThreadPoolExecutor(16) as pool:
        slow = [pool.submit(server.upload, (f"slow-{number}.tar.gz", content)) for number in range(16)]
        until(lambda: any((server.root / "incoming").glob("*/*")), "the first has arrived")
        assert server.get("/simple/").status_code == 200
        assert server.get("/healthz").status_code == 200
        assert not all(upload.done() for upload in slow), "the pages were answered before the last upload"
        assert {upload.result().status_code for upload in slow} <= {400, 503}
    assert server.stop() == 0


def test_every_other_entrance_refuses_a_file_that_claims_too_much(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    """drop/, `index adopt`, `index rebuild` and `publish`."""
    server = serve("--upstream", "none")
    reason = "it unpacks to more than 50 times its size"
    dropped = wheels.write(server.root / "drop", CLAIMING)
    rejected = dropped.with_name(f"{dropped.name}.rejected")
    until(rejected.exists, "drop/ leaves it with the reason")
    assert reason in rejected.read_text()
    old = wheels.write(tmp_path / "old", CLAIMING)
    root = ("--root", str(server.root))
    assert reason in ppmctl("index", "adopt", str(old.parent), *root, "--json", expect=1).stdout
    (server.root / "packages" / "hostile").mkdir()
    wheels.write(server.root / "packages" / "hostile", CLAIMING)
    assert reason in ppmctl("index", "rebuild", *root, expect=1).stderr
    printed = json.loads(ppmctl("publish", str(old), "--index", server.url, "--json", expect=1).stdout)
    assert reason in json.dumps(printed)
