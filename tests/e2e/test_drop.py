"""Tests that a server publishes files copied into `drop/`; unit/server/test_drop_folder.py tests which and when."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from support import wheels
from support.evidence import until
from support.servers import Server, ppmctl


def test_a_valid_file_is_published(serve: Callable[..., Server]) -> None:
    """By scp or rsync: it is removed from drop/, is on its page and in the audit log; a broken file is explained."""
    server = serve("--upstream", "none")
    name, content = wheels.wheel("broken", "1.0")
    broken = wheels.write(server.root / "drop", (name, content[:-40]))
    for made in (wheels.wheel("Dropped.One", "1.0"), wheels.sdist("dropped-one", "1.0")):
        path = wheels.write(server.root / "drop", made)
        os.utime(path, (1_600_000_000, 1_600_000_000))  # rsync -t: a file's time does not show when it arrived
    reason = broken.with_name(f"{name}.rejected")
    until(lambda: {*(server.root / "drop").iterdir()} == {broken, reason}, "both are taken, and the third is not")
    assert "not a readable archive" in reason.read_text()
    assert server.filenames("dropped-one") == {"Dropped.One-1.0-py3-none-any.whl", "dropped_one-1.0.tar.gz"}
    assert server.get("/simple/broken/").status_code == 404
    lines = [json.loads(line) for line in (server.root / "audit.jsonl").read_text().splitlines()]
    printed = [line for line in lines if line["what"] == "dropped_one-1.0.tar.gz"]
    assert [(line["by"], line["action"], line["result"]) for line in printed] == [("drop", "publish", "done")]
    ppmctl("index", "check", "--root", str(server.root))


def test_files_copied_while_the_server_was_down_are_published(serve: Callable[..., Server]) -> None:
    """Files can be copied into drop/ without a running server."""
    server = serve("--upstream", "none")
    server.stop()
    path = wheels.write(server.root / "drop", wheels.wheel("early", "1.0"))
    server.start_again()
    until(lambda: not path.exists(), "it is taken after the start")
    assert server.filenames("early") == {path.name}
