"""Where the testbed keeps things on this machine, and how it adds the Debian packages it needs."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from testbed.errors import BedError

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGE = Path(__file__).resolve().parent

# An administrator's programs are not on everybody's PATH, nor on that of a bare root.
ENVIRONMENT = {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}


def cache() -> Path:
    """The folder, made if needed, of what may be used again by the next run and may be deleted at any time."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "ppm" / "testbed"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def of_this_cache() -> str:
    """A short name of the cache, for what is kept elsewhere: two caches know nothing of each other's leases."""
    return hashlib.sha256(bytes(cache() / "engine")).hexdigest()[:8]


def need(what: str) -> None:
    """See that the packages of testbed/needs/`what`.txt are here; as root on Debian, add what is missing."""
    command = [CHECKOUT / "scripts" / "apt-needs", PACKAGE / "needs" / f"{what}.txt"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=ENVIRONMENT)
    if done.returncode:
        raise BedError(f"The testbed lacks what it needs ({what})", hint=done.stderr.strip()[-2000:])
