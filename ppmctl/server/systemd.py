"""What a service manager hands to a server, and what it wants to hear from it: sd_listen_fds(3), sd_notify(3)."""

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
    """This process as a service: how many listening sockets it was passed, where notifications go ("" for
    nowhere), and within how many seconds each sign of life is expected (None for none)."""

    sockets: int = 0
    notify_address: str = ""
    watchdog: float | None = None

    @property
    def is_managed(self) -> bool:
        """Whether a service manager started this, and not a person who reads what it prints."""
        return bool(self.sockets or self.notify_address)

    def notify(self, state: str) -> None:
        """Tell the service manager, as READY=1. A failure is logged: a manager that hears nothing acts by itself."""
        if not self.notify_address:
            return
        address = self.notify_address
        if address.startswith("@"):  # Linux' abstract names
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
                connection.connect(address)
                connection.sendall(state.encode())
        except OSError as exc:
            log.error("The service manager can't be told %s: %s", state, exc)


def take(environ: MutableMapping[str, str]) -> Service:
    """What `environ` says of this process, as its service manager set it.

    The variables of notifications are taken out: gunicorn would say READY=1 before the application is loaded, and
    programs that are started from here are not the service. Those of sockets stay for gunicorn. UsageError for a
    number that is none.
    """
    mine = os.getpid()
    sockets, meant = _number(environ, "LISTEN_FDS"), _number(environ, "LISTEN_PID")
    microseconds, watched = _number(environ, "WATCHDOG_USEC"), _number(environ, "WATCHDOG_PID", default=mine)
    address = environ.pop("NOTIFY_SOCKET", "")
    for variable in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        environ.pop(variable, None)
    return Service(
        sockets=sockets if meant == mine else 0,
        notify_address=address,
        watchdog=microseconds / 1e6 if microseconds and watched == mine else None,
    )


def _number(environ: MutableMapping[str, str], variable: str, *, default: int = 0) -> int:
    value = environ.get(variable, str(default))
    if not value.isdecimal():
        raise UsageError(f"{variable} is {value!r}: it must be a number, which a service manager sets.")
    return int(value)
