"""Rules for the host that an inventory names, by the facts of the module probe_host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

DEBIAN = ("12", "13")
MIN_FREE = 512 << 20  # bytes: for a release's packages and some uploads


def host_problems(host: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the problems of a host with the values of the variables."""
    if host["debian"] not in DEBIAN or not host["systemd"]:
        yield f"This host is not a Debian {' or '.join(DEBIAN)} that runs systemd; ppm supports only those."
    if host["user"] != 0:
        yield "ansible_become: the tasks do not run as root; use become, or root as ansible_user."
    volume, root = host["volume"], values["ppm_root"]
    if not volume["is_folder"]:
        yield f"ppm_root is {root}: {volume['nearest']} is not a folder; choose another path."
    elif volume["read_only"]:
        yield f"ppm_root is {root}: {volume['nearest']} is mounted read-only; mount it writable."
    elif values["ppm_root_is_mount"] and not volume.get("is_mount"):
        yield f"ppm_root_is_mount: nothing is mounted at {root}; mount the volume, or set it to false."
    elif volume["free_inodes"] == 0:
        yield f"ppm_root is {root}: {volume['nearest']} has no inode left for another file; delete files."
    elif volume["free"] < MIN_FREE:
        free = f"{volume['free'] >> 20} MB free, {MIN_FREE >> 20} MB are needed"
        yield f"ppm_root is {root}: {volume['nearest']} has {free}; make room."
    if "ppm_tls" in values:
        yield from _port_problems(host, values)
    if host.get("name_problem"):
        yield (
            f"ppm_domain is {values['ppm_domain']}: {host['name_problem']}. If only this host can't reach itself by"
            " that name, set ppm_acme_check_first: false."
        )


def ports(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the ports of an index, each with what to do if a program has it."""
    another = "stop it (apt-get purge it if it is not needed), or use another host; an index needs port"
    found = {"80": f"{another} 80, and 443 unless ppm_tls is none"}
    if values.get("ppm_tls") != "none":
        found["443"] = found["80"]
    if values.get("ppm_metrics") == "loopback":
        found[str(values["ppm_metrics_port"])] = "choose another ppm_metrics_port"
    return found


def _port_problems(host: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[str]:
    wanted = ports(values)
    for port, program in host["listeners"].items():
        if port not in wanted:
            continue
        if program != "nginx":
            yield f"Port {port} is taken by {program}: {wanted[port]}."
        elif not host["versions"]["nginx"]:
            yield f"Port {port} is taken by an nginx that is not Debian's: stop it, and apt-get install nginx."
