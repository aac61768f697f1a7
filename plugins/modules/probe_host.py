#!/usr/bin/python
"""Read the facts of a host that the roles depend on."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ppm.index.plugins.module_utils.ppm_certificate import NotIssued, check_name_without_server

DOCUMENTATION = """
module: probe_host
short_description: facts of a host before ppm changes anything on it
description: Changes nothing. Returns all facts that the roles depend on at once.
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
  units:
    description: >-
      The systemd units to look for, each with the files and folders that it reads at its start, besides its unit
      file, drop-ins and files of variables.
    type: dict
    default: {}
  ports:
    description: The TCP ports to look for listeners on.
    type: list
    elements: int
    default: []
  name:
    description: >-
      The name that an authority will ask this host by. It is checked unless I(source) is the source of the
      current certificate, with a request to port 80 of the name.
    type: str
    default: ""
  source:
    description: The source that the certificate will have.
    type: str
    default: ""
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
CERTIFICATE = Path("/etc/ppm/tls/fullchain.pem")
NGINX_SOCKET = Path("/etc/systemd/system/nginx.socket")
_UNKNOWN = "an unknown program"
_OWN_JOURNALD = "etc/systemd/journald.conf.d/ppm.conf"
_LISTEN = "0A"  # the state in /proc/net/tcp
_UNIT_PROPERTIES = (
    *("Id", "ActiveState", "UnitFileState", "NeedDaemonReload", "FragmentPath", "DropInPaths", "EnvironmentFiles"),
    *("CanReload", "InactiveExitTimestamp", "StateChangeTimestamp"),
)
# Where the roles write files of units. systemd writes others itself, such as generated ones each time it reloads.
_WRITTEN = ("/etc/systemd/system/", "/etc/ppm/")


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


def units(files: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the units by their states; `files` has what each reads at its start, as in the option `units`.

    `ready` ones are active and enabled, and have read their present files. `off` ones are neither, or unknown.
    `stale` ones are active, but a file is newer than their start or reload. Of `unloaded` ones, systemd has not read
    the present files.
    """
    if not files:  # systemctl would show systemd itself
        return {"ready": [], "off": [], "stale": [], "unloaded": []}
    command = ["systemctl", "show", "--timestamp=us+utc", f"--property={','.join(_UNIT_PROPERTIES)}", *files]
    return sort_units(_run(command), files)


def sort_units(shown: str, files: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the units by their states, as `units` does, from the output of systemctl show."""
    found: dict[str, list[str]] = {"ready": [], "off": [], "stale": [], "unloaded": []}
    for block in shown.split("\n\n"):
        state: dict[str, str] = {}
        for name, _, value in (line.partition("=") for line in block.splitlines()):
            state[name] = f"{state[name]} {value}" if name in state else value  # a line for each of EnvironmentFiles
        if "Id" not in state:
            continue
        is_enabled, is_unloaded = state.get("UnitFileState") == "enabled", state.get("NeedDaemonReload") == "yes"
        if is_unloaded:
            found["unloaded"].append(state["Id"])
        if state.get("ActiveState") == "active":
            if is_unloaded or _written(state, files.get(state["Id"], [])) > _started(state):
                found["stale"].append(state["Id"])
            elif is_enabled:
                found["ready"].append(state["Id"])
        elif state.get("ActiveState") in ("inactive", "failed") and not is_enabled:
            found["off"].append(state["Id"])
    return found


def _started(state: dict[str, str]) -> float:
    """Return when a unit was started, or reloaded if it can be."""
    text = state.get("StateChangeTimestamp" if state.get("CanReload") == "yes" else "InactiveExitTimestamp", "")
    match = re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+", text)
    return datetime.fromisoformat(match[0]).replace(tzinfo=UTC).timestamp() if match else float("inf")


def _written(state: dict[str, str], others: list[str]) -> float:
    """Return when the newest file of a unit was written; a link counts itself, and a folder with what is in it.

    A time in the future does not count: it is of a clock that was wrong, and would be newer than each start.
    """
    names = " ".join(state.get(key, "") for key in ("FragmentPath", "DropInPaths", "EnvironmentFiles")).split()
    paths = [Path(name) for name in others + [name for name in names if name.startswith(_WRITTEN)]]
    inside = [inner for path in paths if path.is_dir() and not path.is_symlink() for inner in path.rglob("*")]
    times = [path.lstat().st_mtime for path in paths + inside if os.path.lexists(path)]
    return max((each for each in times if each <= time.time()), default=0.0)


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
    """Return the name of the program that listens on each port; for a port that systemd holds, its service's."""
    sockets: dict[str, int] = {}
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            port = int(fields[1].rsplit(":", 1)[1], 16)
            if fields[3] == _LISTEN and port in ports:
                sockets[fields[9]] = port
    programs = {str(port): _UNKNOWN for port in sockets.values()}
    for descriptor in Path("/proc").glob("[0-9]*/fd/*") if sockets else ():
        try:
            match = re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink()))
            if match and match[1] in sockets:
                name, program = str(sockets[match[1]]), (descriptor.parents[1] / "comm").read_text().strip()
                if program != "systemd":
                    programs[name] = program
                elif programs[name] == _UNKNOWN:
                    programs[name] = "nginx" if NGINX_SOCKET.exists() else program
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


def is_expired(path: Path) -> bool:
    """Return whether the first certificate of a file has expired; False if there is none."""
    if not path.exists():
        return False
    return "will expire" in _run(["openssl", "x509", "-checkend", "0", "-noout", "-in", str(path)])


def name_problem(name: str) -> str:
    """Return why an authority would not reach this host by its name, or ""."""
    try:
        check_name_without_server(name)
    except NotIssued as exc:
        return str(exc)
    return ""


def has_journal_limit(root: Path = Path("/")) -> bool:
    """Return whether a file other than ppm's limits the journal on the disk."""
    folders = [root / folder for folder in ("etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd")]
    files = [path for folder in folders for path in folder.glob("journald.conf.d/*.conf")]
    files += [folder / "journald.conf" for folder in folders]
    return any(
        re.search(r"(?m)^\s*SystemMaxUse\s*=\s*\S", path.read_text(encoding="utf-8", errors="replace"))
        for path in files
        if path != root / _OWN_JOURNALD and path.is_file()
    )


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
            "units": {"type": "dict", "default": {}},
            "ports": {"type": "list", "elements": "int", "default": []},
            "name": {"type": "str", "default": ""},
            "source": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    with open("/etc/passwd", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a run for another name of this host would see the listener
        host = probe(module.params)
    module.exit_json(changed=False, host=host)


def probe(given: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of the host."""
    source = certificate_source()
    host = {
        "debian": debian_release(),
        "systemd": Path("/run/systemd/system").is_dir(),
        "user": os.geteuid(),
        "ipv6": Path("/proc/net/if_inet6").exists(),
        "python_apt": importlib.util.find_spec("apt") is not None,
        "packages": installed(given["packages"]),
        "units": units(given["units"]),
        "versions": versions(),
        "volume": volume(Path(given["root"])),
        "listeners": listeners(given["ports"]),
        "releases": releases(),
        "certificate": source,
        "certificate_expired": is_expired(CERTIFICATE),
        "journal_limit": has_journal_limit(),
    }
    is_new = given["name"] and source != given["source"]
    return host | {"name_problem": name_problem(given["name"]) if is_new else ""}


if __name__ == "__main__":
    main()
