#!/usr/bin/python
"""Read the facts of a host that the roles depend on."""

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
short_description: facts of a host before ppm changes anything on it
description: Reads only. Returns all facts that the roles depend on at once.
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
  description: The facts of the host.
  type: dict
  returned: always
"""

RELEASES = Path("/opt/ppm/releases")
SOURCE = Path("/etc/ppm/tls/source")
_LISTEN = "0A"  # the state in /proc/net/tcp


def debian_release() -> str:
    """Return the major version of Debian, or "" on another system."""
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    return fields.get("VERSION_ID", "").strip('"') if fields.get("ID", "").strip('"') == "debian" else ""


def installed(packages: list[str]) -> list[str]:
    """Return those of `packages` that are installed."""
    if not packages:
        return []
    # an unknown package makes it exit with 1, but it still prints the others
    listing = _run(["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *packages])
    return sorted(line.split()[0] for line in listing.splitlines() if line.endswith(" installed"))


def versions() -> dict[str, str]:
    """Return the versions of programs whose configuration depends on them; "" if one is not installed."""
    return {
        "nginx": _first(r"nginx/([0-9.]+)", _run(["/usr/sbin/nginx", "-v"])),
        "openssl": _first(r"OpenSSL ([0-9.]+)", _run(["openssl", "version"])),
    }


def volume(root: Path) -> dict[str, Any]:
    """Return the state of the volume's folder, or of its nearest parent that exists: type, mount and free space."""
    nearest = root
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        return {"exists": root.exists(), "is_folder": False, "nearest": str(nearest)}
    state = os.statvfs(nearest)
    return {
        "exists": root.exists(),
        "is_folder": True,
        "is_mount": os.path.ismount(root),
        "nearest": str(nearest),
        "read_only": bool(state.f_flag & os.ST_RDONLY),
        "free": state.f_bavail * state.f_frsize,
        "free_inodes": state.f_favail if state.f_files else None,
    }


def listeners(ports: list[int]) -> dict[str, str]:
    """Return the name of the program that listens on each port."""
    sockets: dict[str, int] = {}
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            port = int(fields[1].rsplit(":", 1)[1], 16)
            if fields[3] == _LISTEN and port in ports:
                sockets[fields[9]] = port
    programs = {str(port): "an unknown program" for port in sockets.values()}
    for descriptor in Path("/proc").glob("[0-9]*/fd/*") if sockets else ():
        try:
            match = re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink()))
            if match and match[1] in sockets:
                programs[str(sockets[match[1]])] = (descriptor.parents[1] / "comm").read_text().strip()
        except OSError:  # it ended meanwhile
            continue
    return programs


def releases() -> dict[str, Any]:
    """Return the complete releases, newest last, and the releases to which `current` and `previous` point."""
    try:
        complete = sorted(RELEASES.glob("*/installed"), key=lambda path: path.stat().st_mtime)
    except OSError:
        complete = []
    return {
        "installed": [path.parent.name for path in complete],
        "current": _link(RELEASES.parent / "current"),
        "previous": _link(RELEASES.parent / "previous"),
    }


def certificate_source() -> str:
    """Return the source of the current certificate, as the role letsencrypt has recorded it, or ""."""
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
