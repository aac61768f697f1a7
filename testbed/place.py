"""Find the testbed's folders on this machine, and install the Debian packages that it needs."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from pathlib import Path

from testbed.errors import BedError

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGE = Path(__file__).resolve().parent
MACHINE_ID = Path("/etc/machine-id")

# The folders of administrators' programs are missing from many users' PATH, and sometimes from root's.
ENVIRONMENT = {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}


def cache() -> Path:
    """Return the cache folder, made if needed. The next run uses its files again; they can be deleted at any time."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "ppm" / "testbed"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def of_this_cache() -> str:
    """Return a short name of the cache, for things outside of it: two caches do not know each other's leases."""
    return short_name(cache() / "engine")


def short_name(path: Path) -> str:
    """Return a short name of a path on this machine: another machine with the same path may use the same engine."""
    try:
        machine = MACHINE_ID.read_bytes().strip()
    except OSError:
        machine = b""
    return hashlib.sha256(bytes(path) + b"\0" + (machine or platform.node().encode())).hexdigest()[:8]


def need(what: str) -> None:
    """Check for the packages of testbed/needs/`what`.txt; as root on Debian, install those that are missing."""
    command = [CHECKOUT / "scripts" / "apt-needs", PACKAGE / "needs" / f"{what}.txt"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=ENVIRONMENT)
    if done.returncode:
        raise BedError(
            f"Debian packages that the testbed needs are missing ({what})", hint=done.stderr.strip()[-2000:]
        )
