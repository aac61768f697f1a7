"""Read what a service manager passes to a server, and notify it: sd_listen_fds(3), sd_notify(3)."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass

from ppmctl.errors import UsageError

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Service:
    """This process as a service.

    `sockets` is the number of listening sockets it was passed; `notify_address` is where notifications go, or "";
    `watchdog` is the time in seconds within which the manager expects each sign of life, or None.
    """

    sockets: int = 0
    notify_address: str = ""
    watchdog: float | None = None

    @property
    def is_managed(self) -> bool:
        """Return whether a service manager started this process, and not a user who reads its output."""
        return bool(self.sockets or self.notify_address)

    def notify(self, state: str) -> None:
        """Send a state such as READY=1 to the service manager. A failure is only logged."""
        if not self.notify_address:
            return
        address = self.notify_address
        if address.startswith("@"):  # an abstract address of Linux
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
                connection.connect(address)
                connection.sendall(state.encode())
        except OSError as exc:
            log.error("%s can't be sent to the service manager: %s", state, exc)


def take(environ: MutableMapping[str, str]) -> Service:
    """Return this process as its service manager describes it in `environ`.

    Remove the variables of notifications: gunicorn would send READY=1 before the application is loaded, and child
    processes are not the service. Leave those of sockets to gunicorn. Raise UsageError for an invalid number.
    """
    mine = os.getpid()
    sockets, listener = _number(environ, "LISTEN_FDS"), _number(environ, "LISTEN_PID")
    microseconds, watched = _number(environ, "WATCHDOG_USEC"), _number(environ, "WATCHDOG_PID", default=mine)
    address = environ.pop("NOTIFY_SOCKET", "")
    for variable in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        environ.pop(variable, None)
    return Service(
        sockets=sockets if listener == mine else 0,
        notify_address=address,
        watchdog=microseconds / 1e6 if microseconds and watched == mine else None,
    )


def _number(environ: MutableMapping[str, str], variable: str, *, default: int = 0) -> int:
    value = environ.get(variable, str(default))
    if not value.isdecimal():
        raise UsageError(f"{variable} is {value!r}: it must be a number. A service manager sets it.")
    return int(value)
