#!/usr/bin/python
"""What a host is before anything is changed on it, in one visit."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: probe_host
short_description: what a host is before ppm changes anything on it
description: Reads alone. Everything that the roles decide by is found out in one visit.
options:
  root:
    description: The folder of the index's volume.
    type: path
    required: true
  packages:
    description: The Debian packages to look for.
    type: list
    elements: str
    default: []
  ports:
    description: The TCP ports to look for listeners on.
    type: list
    elements: int
    default: []
author: The ppm developers
"""
RETURN = """
host:
  description: What was found.
  type: dict
  returned: always
"""

RELEASES = Path("/opt/ppm/releases")
SOURCE = Path("/etc/ppm/tls/source")
_LISTEN = "0A"  # the state in /proc/net/tcp


def debian_release() -> str:
    """The major version of Debian; empty on another system."""
    found = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines() if "=" in line
    )
    return found.get("VERSION_ID", "").strip('"') if found.get("ID", "").strip('"') == "debian" else ""


def installed(packages: list[str]) -> list[str]:
    """Those of `packages` that dpkg has installed."""
    if not packages:
        return []
    # what is not known makes it exit with 1, and the others are printed all the same
    listing = _run(["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *packages])
    return sorted(line.split()[0] for line in listing.splitlines() if line.endswith(" installed"))


def versions() -> dict[str, str]:
    """The versions of the programs whose configuration depends on them; empty where one is not installed."""
    return {
        "nginx": _first(r"nginx/([0-9.]+)", _run(["/usr/sbin/nginx", "-v"])),
        "openssl": _first(r"OpenSSL ([0-9.]+)", _run(["openssl", "version"])),
    }


def volume(root: Path) -> dict[str, Any]:
    """The folder of the volume, or the nearest that is there: whether it is one, can be written, and its room."""
    there = root
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        return {"exists": root.exists(), "is_folder": False, "nearest": str(there)}
    state = os.statvfs(there)
    return {
        "exists": root.exists(),
        "is_folder": True,
        "is_mount": os.path.ismount(root),
        "nearest": str(there),
        "read_only": bool(state.f_flag & os.ST_RDONLY),
        "free": state.f_bavail * state.f_frsize,
        "free_inodes": state.f_favail if state.f_files else None,
    }


def listeners(ports: list[int]) -> dict[str, str]:
    """By port, the name of the program that listens on it."""
    sockets: dict[str, int] = {}
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            port = int(fields[1].rsplit(":", 1)[1], 16)
            if fields[3] == _LISTEN and port in ports:
                sockets[fields[9]] = port
    found = {str(port): "a program that can't be seen" for port in sockets.values()}
    for descriptor in Path("/proc").glob("[0-9]*/fd/*") if sockets else ():
        try:
            match = re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink()))
            if match and match[1] in sockets:
                found[str(sockets[match[1]])] = (descriptor.parents[1] / "comm").read_text().strip()
        except OSError:  # it ended meanwhile
            continue
    return found


def releases() -> dict[str, Any]:
    """The releases that are installed whole, newest last, and those that the links name."""
    try:
        whole = sorted(RELEASES.glob("*/installed"), key=lambda path: path.stat().st_mtime)
    except OSError:
        whole = []
    return {
        "installed": [path.parent.name for path in whole],
        "current": _link(RELEASES.parent / "current"),
        "previous": _link(RELEASES.parent / "previous"),
    }


def certificate_source() -> str:
    """Where the certificate in place is from, as the letsencrypt role noted it."""
    try:
        return SOURCE.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _link(path: Path) -> str:
    return path.readlink().name if path.is_symlink() else ""


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )
    except OSError:
        return ""
    return done.stdout


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "packages": {"type": "list", "elements": "str", "default": []},
            "ports": {"type": "list", "elements": "int", "default": []},
        },
        supports_check_mode=True,
    )
    host = {
        "debian": debian_release(),
        "systemd": Path("/run/systemd/system").is_dir(),
        "user": os.geteuid(),
        "ipv6": Path("/proc/net/if_inet6").exists(),
        "python_apt": importlib.util.find_spec("apt") is not None,
        "packages": installed(module.params["packages"]),
        "versions": versions(),
        "volume": volume(Path(module.params["root"])),
        "listeners": listeners(module.params["ports"]),
        "releases": releases(),
        "certificate": certificate_source(),
    }
    module.exit_json(changed=False, host=host)


if __name__ == "__main__":
    main()
