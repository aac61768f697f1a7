"""Whether the index can be reached: its name, a proxy, a connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from ppmctl.doctor.finding import Finding, Visit


def names(visit: Visit) -> Iterator[Finding]:
    """DNS: whether the index's host has an address."""
    host = visit.address.host
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as exc:
        yield Finding(
            "dns",
            "fail",
            f"{host} has no address ({exc.strerror or exc})",
            f"Is it spelt right? getent hosts {host}  asks again; /etc/resolv.conf and /etc/hosts say who is asked.",
        )
        return
    addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
    yield Finding("dns", "ok", f"{host} is {', '.join(addresses)}")
