#!/usr/bin/python3 -IS
"""Run a command with the listening sockets that the service `sockets` holds: with-sockets NAME COMMAND…

The command gets them like those of systemd (sd_listen_fds(3)); their names are the ports, or `unix`. When the service
`sockets` has ended, its sockets are dead, so the command gets SIGTERM: the engine starts the container again, and it
takes the new ones.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence

FIRST = 3  # the number of the first passed descriptor
ABOVE = 64  # descriptors are moved out of the way of the passed ones
MOST = 16
TAKE = b"take\n"
AGAIN_SECONDS = 0.1


def say(what: str) -> None:
    print(f"with-sockets: {what}", file=sys.stderr, flush=True)


def take(path: str) -> tuple[socket.socket, list[int]]:
    """Return the connection to the service `sockets` and the descriptors; wait until it runs."""
    told = False
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path)
            connection.sendall(TAKE)
            _, descriptors, _, _ = socket.recv_fds(connection, 64, MOST)
            if descriptors:
                return connection, descriptors
            problem = "it passed no sockets"
        except OSError as exc:
            problem = exc.strerror or str(exc)
        connection.close()
        if not told:
            say(f"waiting for the service `sockets` at {path} ({problem}). To start it: docker compose up -d sockets")
            told = True
        time.sleep(AGAIN_SECONDS)


def name_of(descriptor: int) -> str:
    """Return the port of a socket, or `unix`."""
    with socket.socket(fileno=os.dup(descriptor)) as listener:
        return "unix" if listener.family == socket.AF_UNIX else str(listener.getsockname()[1])


def watch(connection: socket.socket, descriptors: Sequence[int]) -> None:
    """Start a process, which is no child of the command, that ends the command when the connection ends."""
    command = os.pidfd_open(os.getpid())
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os.close(command)
        return
    if os.fork():
        os._exit(0)
    for descriptor in descriptors:
        os.close(descriptor)
    ended, _, _ = select.select([connection.fileno(), command], [], [])
    if command in ended:
        os._exit(0)
    say("the service `sockets` has ended, and its sockets with it: this service restarts, to take the new ones")
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(command, signal.SIGTERM)
    os._exit(0)


def main() -> None:
    name, *command = sys.argv[1:]
    folder = os.environ.get("PPM_SOCKETS_FOLDER", "/run")
    connection, received = take(f"{folder}/ppm-{name}/sockets")
    taken = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, ABOVE) for descriptor in received]
    for descriptor in received:
        os.close(descriptor)
    watch(connection, taken)
    connection.close()
    for number, descriptor in enumerate(taken, FIRST):
        os.dup2(descriptor, number)
    names = ":".join(name_of(descriptor) for descriptor in taken)
    passed = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(taken)), "LISTEN_FDNAMES": names}
    os.execvpe(command[0], command, {**os.environ, **passed})  # nosec B606 # noqa: S606 - compose.yml names the command


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: with-sockets NAME COMMAND…")
    try:
        main()
    except OSError as exc:
        sys.exit(f"with-sockets: {sys.argv[2]} can't be run: {exc}")
