"""The addresses of a host, for the modules that ask or check its web server."""

from __future__ import annotations

import subprocess


def own_addresses() -> list[str]:
    """Return the addresses of this machine, without those of the loopback."""
    command = ["hostname", "--all-ip-addresses"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.split()
