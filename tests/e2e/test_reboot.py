"""After a power cut the pages may be gone or empty, for they are not forced to the disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

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


def test_a_service_that_cannot_see_the_kernel_is_told_its_boot(serve: Callable[..., Server]) -> None:
    """systemd writes the same id without hyphens: that is no other boot. Another one is."""
    server = serve("--upstream", "none")
    boot = server.root / "index" / "boot"
    until = time.monotonic() + 60
    while not boot.exists():
        assert time.monotonic() < until
    kernels = boot.read_text().strip()
    assert kernels == Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    server.stop()
    boot.write_text(Path("/proc/sys/kernel/random/boot_id").read_text())  # as an older ppm wrote it
    for told, started_anew in ((kernels, False), ("0" * 32, True), ("0" * 32, False), ("", True)):
        said = "The machine was started anew"
        before = server.log.read_text().count(said)
        server.environ = {"PPM_BOOT_ID": told}
        server.start_again()
        current = told or kernels
        until = time.monotonic() + 60
        while started_anew and boot.read_text().strip() != current:
            assert time.monotonic() < until, server.log.read_text()
        time.sleep(0 if started_anew else 1)
        server.stop()
        assert server.log.read_text().count(said) - before == started_anew
        assert "can't" not in server.log.read_text()
