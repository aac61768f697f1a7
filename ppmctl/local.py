"""HTTP to a server on this machine, at whatever socket it listens: a path, or an address and a port."""

from __future__ import annotations

import http.client
import socket


class Connection(http.client.HTTPConnection):
    """One connection to the socket that `address` names, as `getsockname` has it; `timeout` in seconds.

    Errors are those of `http.client`: OSError and HTTPException.
    """

    def __init__(self, address: str | tuple[object, ...], *, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._address = address

    def connect(self) -> None:
        if isinstance(self._address, str):
            family = socket.AF_UNIX
        else:
            family = socket.AF_INET6 if len(self._address) == 4 else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(self.timeout)
            connection.connect(_reachable(self._address))
        except BaseException:
            connection.close()
            raise
        self.sock = connection


def is_healthy(address: str | tuple[object, ...], *, timeout: float) -> bool:
    """Whether the server at `address` answers /healthz, each step within `timeout` seconds."""
    connection = Connection(address, timeout=timeout)
    try:
        connection.request("GET", "/healthz", headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status == 200 and bool(answer.read())
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _reachable(address: str | tuple[object, ...]) -> str | tuple[object, ...]:
    """Where to connect to what listens at `address`: a wildcard is no address to go to."""
    if isinstance(address, str) or address[0] not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return address
    return ("127.0.0.1" if address[0] == "0.0.0.0" else "::1", *address[1:])  # noqa: S104 - compared, not bound
