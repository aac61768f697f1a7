"""Find free ports of this machine's loopback."""

from __future__ import annotations

import errno
import socket

from testbed.errors import BedError

TRIED_PORTS = 20


def free(wanted: int | None, *, first: int, hint: str) -> int:
    """Return the port that is wanted, or the first free one from `first` on. Raise BedError if it is taken."""
    for port in [wanted] if wanted else range(first, first + TRIED_PORTS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as exc:
                if exc.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
                continue
            return port
    raise BedError(
        f"Port {wanted} is taken" if wanted else f"The {TRIED_PORTS} ports from {first} on are taken", hint=hint
    )
