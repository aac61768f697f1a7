"""After a power cut the pages may be gone or empty, for they are not forced to the disk."""

from __future__ import annotations

import time
from collections.abc import Callable

from support import wheels
from support.servers import Server, ppmctl


def test_pages_that_a_power_cut_took_come_back(serve: Callable[..., Server]) -> None:
    """The server finds another boot than the one it last ran in, and compares all pages with their folders."""
    server = serve("--upstream", "none")
    for name in ("a", "b"):
        assert server.upload(wheels.wheel(name, "1.0")).status_code == 200
    boot = server.root / "index" / "boot"
    assert boot.exists()
    server.kill()
    for page in (server.root / "index" / "simple" / "a").iterdir():
        page.write_bytes(b"")
    boot.write_text("another boot\n")
    server.start_again()
    until = time.monotonic() + 60
    while boot.read_text() == "another boot\n":
        assert time.monotonic() < until, server.log.read_text()
    assert server.filenames("a") == {"a-1.0-py3-none-any.whl"}
    ppmctl("index", "check", "--root", str(server.root))
    server.kill()
