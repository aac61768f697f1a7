"""HTTP to a server on this machine, which listens at a path or at an address and a port."""

from __future__ import annotations

import http.client
import socket

Address = str | tuple[object, ...]


class Connection(http.client.HTTPConnection):
    """A connection to the socket at `address`, in the form of `getsockname`; `timeout` is in seconds.

    Raises the errors of `http.client`: OSError and HTTPException.
    """

    def __init__(self, address: Address, *, timeout: float) -> None:
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
            connection.connect(_destination(self._address))
        except BaseException:
            connection.close()
            raise
        self.sock = connection


def ask(address: Address, method: str, path: str, *, timeout: float, **headers: str) -> http.client.HTTPResponse:
    """Return the answer of the server at `address`, after its body was read. Raise the errors of `Connection`."""
    return fetch(address, method, path, timeout=timeout, **headers)[0]


def fetch(
    address: Address, method: str, path: str, *, timeout: float, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """Do the same; return the answer and its body."""
    connection = Connection(address, timeout=timeout)
    try:
        connection.request(method, path, headers={"Connection": "close", **headers})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def is_healthy(address: Address, *, timeout: float) -> bool:
    """Return whether the server at `address` answers /healthz, each step within `timeout` seconds."""
    try:
        return ask(address, "GET", "/healthz", timeout=timeout).status == 200
    except (OSError, http.client.HTTPException):
        return False


def is_answering(address: Address, *, timeout: float) -> bool:
    """Return whether the server at `address` answers /healthz at all: a restart helps against nothing else."""
    try:
        ask(address, "GET", "/healthz", timeout=timeout)
    except (OSError, http.client.HTTPException):
        return False
    return True


def _destination(address: Address) -> Address:
    """Return the address at which a client reaches a server that listens at `address`, which can be a wildcard."""
    if isinstance(address, str) or address[0] not in ("0.0.0.0", "::"):
        return address
    return ("127.0.0.1" if address[0] == "0.0.0.0" else "::1", *address[1:])
