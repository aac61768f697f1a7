"""Tests of the start after a power cut: pages may be missing or empty, as they are not synced to the disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from support import evidence, wheels
from support.servers import Server


def test_pages_lost_by_a_power_cut_are_restored(serve: Callable[..., Server]) -> None:
    """The server finds a new boot id, and compares all pages with their folders."""
    server = serve("--upstream", "none", warm=True)
    for name in ("a", "b"):
        assert server.upload(wheels.wheel(name, "1.0")).status_code == 200
    boot = server.root / "index" / "boot"
    assert boot.exists()
    server.kill()
    for page in (server.root / "index" / "simple" / "a").iterdir():
        page.write_bytes(b"")
    boot.write_text("another boot\n")
    server.start_again()
    evidence.until(lambda: boot.read_text() != "another boot\n", "the pages are compared")
    assert server.filenames("a") == {"a-1.0-py3-none-any.whl"}
    evidence.agrees(server.root)


def test_the_boot_id_can_be_passed_by_systemd(serve: Callable[..., Server]) -> None:
    """systemd writes the id without hyphens, which is the same boot; another id is another boot."""
    server = serve("--upstream", "none", warm=True)
    boot = server.root / "index" / "boot"
    evidence.until(boot.exists, "the boot is noted")
    kernels = boot.read_text().strip()
    assert kernels == Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    server.stop()
    boot.write_text(Path("/proc/sys/kernel/random/boot_id").read_text())  # the form of an older ppm

    def is_noted(current: str) -> bool:
        return boot.read_text().strip() == current

    for passed, is_another in ((kernels, False), ("0" * 32, True), ("0" * 32, False), ("", True)):
        message = "After a reboot or upgrade"
        before = server.log.read_text().count(message)
        server.environ = {"PPM_BOOT_ID": passed}
        server.start_again()
        if is_another:
            current = passed or kernels
            evidence.until(partial(is_noted, current), "the boot is noted")
        else:
            time.sleep(1)  # an equal boot id leaves no trace; a different one is in the log within 0.1 s
        server.stop()
        assert server.log.read_text().count(message) - before == is_another
        assert "can't" not in server.log.read_text()
