"""Hold the listening sockets of the other services, so that a restart of one of them refuses no connection.

PPM_SOCKETS has the services and their sockets, separated by spaces: NAME=SOCKET,SOCKET… A SOCKET is a TCP port, or
the path of a Unix socket. The Unix socket /run/ppm-NAME/sockets passes them to a process of that service (take.py),
which keeps the connection as long as it uses them. While a service is replaced, connections wait in its sockets.
After PPM_PATIENCE seconds without the service they are closed, so that clients get an error, and don't wait minutes.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BACKLOG = 4096  # the kernel's default limit (net.core.somaxconn)
HANDOVER = "sockets"
TAKE, CHECK, FINE = b"take\n", b"check\n", b"fine\n"
LOOK_SECONDS = 0.5
CHECK_SECONDS = 3.0
MOST_AT_ONCE = 64  # connections that are closed before the next look at the other services

stopped = threading.Event()


@dataclass(kw_only=True)
class Service:
    """A service: its listening sockets, where it takes them, and the connections of processes that have them.

    `missing_since` is None while a process has them.
    """

    name: str
    listeners: list[socket.socket]
    handover: socket.socket
    takers: set[socket.socket] = field(default_factory=set)
    missing_since: float | None = None

    def is_given_up(self, now: float, patience: float) -> bool:
        return self.missing_since is not None and now - self.missing_since >= patience

    def answer(self, connection: socket.socket) -> bool:
        """Answer what came over a connection. Return whether the connection continues."""
        try:
            received = connection.recv(len(TAKE) + len(CHECK))
            if received == TAKE:
                socket.send_fds(connection, [FINE], [listener.fileno() for listener in self.listeners])
                self.takers.add(connection)
                self.missing_since = None
            elif received == CHECK:
                connection.send(FINE)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return received in (TAKE, CHECK)

    def leave(self, connection: socket.socket) -> None:
        """Close a connection; if its process was the last one, the service is missing from now on."""
        connection.close()
        if connection in self.takers:
            self.takers.remove(connection)
            if not self.takers:
                self.missing_since = time.monotonic()

    def close_waiting(self) -> None:
        """Accept and close connections that wait for the service."""
        for listener in self.listeners:
            for _ in range(MOST_AT_ONCE):
                try:
                    waiting, _ = listener.accept()
                except OSError:
                    break
                waiting.close()


def say(what: str) -> None:
    print(f"ppm-sockets: {what}", file=sys.stderr, flush=True)


def listen_at(path: Path, mode: int) -> socket.socket:
    """Listen at a path. A socket there was made by an earlier container, which has ended."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o777 & ~mode)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    return listener


def listen(where: str) -> socket.socket:
    """Listen at a TCP port of all addresses, or at the path of a Unix socket for its owner and group."""
    if where.isdecimal():
        listener = socket.socket(socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", int(where)))
    else:
        listener = listen_at(Path(where), 0o660)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def open_service(name: str, sockets: str, folder: Path) -> Service:
    """Open a service's sockets, and the one that passes them on."""
    listeners = [listen(where) for where in sockets.split(",")]
    handover = listen_at(folder / f"ppm-{name}" / HANDOVER, 0o600)
    handover.listen(BACKLOG)
    handover.setblocking(False)
    return Service(name=name, listeners=listeners, handover=handover, missing_since=time.monotonic())


def hold(services: Sequence[Service], patience: float) -> None:
    """Pass sockets on to the services until a signal ends this process."""
    selector = selectors.DefaultSelector()
    for service in services:
        selector.register(service.handover, selectors.EVENT_READ, service)
    while not stopped.is_set():
        for key, _ in selector.select(LOOK_SECONDS):
            service, ready = key.data, key.fileobj
            if not isinstance(ready, socket.socket):
                continue
            if ready is service.handover:
                with contextlib.suppress(OSError):
                    connection, _ = ready.accept()
                    connection.setblocking(False)
                    selector.register(connection, selectors.EVENT_READ, service)
            elif not service.answer(ready):
                selector.unregister(ready)
                service.leave(ready)
        for service in services:
            if service.is_given_up(time.monotonic(), patience):
                service.close_waiting()


def read_settings(environment: Mapping[str, str]) -> tuple[dict[str, str], float]:
    """Return the sockets by service, and the patience in seconds. Raise ValueError."""
    given = [entry.partition("=") for entry in environment.get("PPM_SOCKETS", "").split()]
    if not given or not all(name.isalpha() and sockets for name, _, sockets in given):
        raise ValueError("PPM_SOCKETS must be NAME=SOCKET,SOCKET… with a TCP port or a path for each SOCKET")
    patience = environment.get("PPM_PATIENCE") or "30"
    if not patience.isdecimal():
        raise ValueError(f"PPM_PATIENCE is {patience!r}: it must be a number of seconds")
    return {name: sockets for name, _, sockets in given}, float(patience)


def check(names: Sequence[str], folder: Path) -> None:
    """Check that the sockets of all services can be taken. Raise OSError."""
    for name in names:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(CHECK_SECONDS)
            connection.connect(str(folder / f"ppm-{name}" / HANDOVER))
            connection.sendall(CHECK)
            if connection.recv(len(FINE)) != FINE:
                raise OSError(f"no answer about {name}")


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    folder = Path(os.environ.get("PPM_SOCKETS_FOLDER", "/run"))
    try:
        sockets, patience = read_settings(os.environ)
        if sys.argv[1:] == ["check"]:
            check(list(sockets), folder)
        else:
            hold([open_service(name, where, folder) for name, where in sockets.items()], patience)
    except (OSError, ValueError) as exc:
        say(f"the sockets can't be held: {exc}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
