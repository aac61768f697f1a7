"""Tests of the service that holds the sockets of the other containers, with its own processes and real sockets."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.servers import free_port

SOCKETS = Path(__file__).parents[2] / "docker" / "sockets"
HOLD = [sys.executable, "-IS", str(SOCKETS / "hold.py")]
TAKE = [sys.executable, "-IS", str(SOCKETS / "take.py")]
SECONDS = 20.0

# a server that names itself and its sockets in its answers, and knows the sockets like a service of systemd
SERVER = """
import os, select, socket, sys
assert int(os.environ["LISTEN_PID"]) == os.getpid()
count = int(os.environ["LISTEN_FDS"])
listeners = [socket.socket(fileno=number) for number in range(3, 3 + count)]
extra = [name for name in os.listdir("/proc/self/fd") if int(name) >= 3 + count]
while True:
    for ready in select.select(listeners, [], [])[0]:
        connection, _ = ready.accept()
        connection.sendall(f"{sys.argv[1]} {os.environ['LISTEN_FDNAMES']} {len(extra)}".encode())
        connection.close()
"""


@dataclass(kw_only=True)
class Sockets:
    """The service `sockets` with those of `web`, two TCP ports, and of `application`, a Unix socket."""

    folder: Path
    ports: tuple[int, int]
    patience: int
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.folder / "ppm.sock"

    @property
    def environ(self) -> dict[str, str]:
        held = f"application={self.path} web={self.ports[0]},{self.ports[1]}"
        own = {"PPM_SOCKETS": held, "PPM_SOCKETS_FOLDER": str(self.folder), "PPM_PATIENCE": str(self.patience)}
        return {**os.environ, **own}

    def run(self, *command: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(command, env=self.environ, stderr=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    def start(self) -> subprocess.Popen[str]:
        """Start the service, and wait until it can be used."""
        process = self.run(*HOLD)
        until(lambda: self.check().returncode == 0)
        return process

    def check(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*HOLD, "check"], env=self.environ, capture_output=True, text=True, timeout=SECONDS)

    def serve(self, service: str, name: str) -> subprocess.Popen[str]:
        """Start a server with the sockets of a service; it answers with its name."""
        return self.run(*TAKE, service, sys.executable, "-IS", "-c", SERVER, name)

    def connect(self, where: int | Path) -> socket.socket:
        if isinstance(where, int):
            return socket.create_connection(("127.0.0.1", where), timeout=SECONDS)
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(SECONDS)
        made.connect(str(where))
        return made

    def ask(self, where: int | Path) -> str:
        with self.connect(where) as connection:
            return connection.recv(100).decode()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    return process.wait(timeout=SECONDS)


@pytest.fixture
def make() -> Iterator[Callable[..., Sockets]]:
    made: list[Sockets] = []

    def new(*, patience: int = 30) -> Sockets:
        folder = Path(tempfile.mkdtemp(prefix="ppm-"))  # a socket's path is limited to 107 bytes
        for name in ("application", "web"):
            (folder / f"ppm-{name}").mkdir()
        made.append(Sockets(folder=folder, ports=(free_port(), free_port()), patience=patience))
        return made[-1]

    yield new
    for sockets in made:
        for process in sockets.processes:
            process.kill()
        for process in sockets.processes:
            process.communicate(timeout=SECONDS)
        shutil.rmtree(sockets.folder)


def test_a_server_gets_its_own_sockets_and_no_other_descriptor(make: Callable[..., Sockets]) -> None:
    sockets = make()
    sockets.start()
    sockets.serve("web", "a")
    sockets.serve("application", "b")
    names = f"{sockets.ports[0]}:{sockets.ports[1]}"
    # the folder that lists the descriptors is one of them
    assert [sockets.ask(port) for port in sockets.ports] == [f"a {names} 1"] * 2
    assert sockets.ask(sockets.path) == "b unix 1"
    modes = {path: path.stat().st_mode & 0o777 for path in (sockets.path, *sockets.folder.glob("*/sockets"))}
    assert modes[sockets.path] == 0o660
    assert [modes[sockets.folder / f"ppm-{name}" / "sockets"] for name in ("application", "web")] == [0o600, 0o600]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_connections_wait_while_a_server_is_replaced(make: Callable[..., Sockets], number: int) -> None:
    sockets = make()
    sockets.start()
    for where in (sockets.ports[0], sockets.path):
        service = "web" if isinstance(where, int) else "application"
        first = sockets.serve(service, "first")
        assert sockets.ask(where).startswith("first")
        end(first, number)
        with sockets.connect(where) as waiting:
            sockets.serve(service, "second")
            assert waiting.recv(100).startswith(b"second")


def test_a_server_that_starts_first_waits_for_the_service(make: Callable[..., Sockets]) -> None:
    sockets = make()
    server = sockets.serve("web", "a")
    assert server.stderr
    assert "docker compose up -d sockets" in server.stderr.readline()
    assert sockets.check().returncode == 1
    sockets.start()
    assert sockets.ask(sockets.ports[0]).startswith("a ")


def test_servers_end_with_the_service_because_their_sockets_are_dead(make: Callable[..., Sockets]) -> None:
    sockets = make()
    service = sockets.start()
    servers = [sockets.serve("web", "a"), sockets.serve("application", "b")]
    assert sockets.ask(sockets.ports[0])
    assert sockets.ask(sockets.path)
    end(service, signal.SIGKILL)
    for server in servers:
        assert server.stderr
        assert server.wait(timeout=SECONDS) == -signal.SIGTERM
        assert "`sockets` has ended" in server.stderr.read()
    # the next one replaces what the killed one left
    sockets.start()
    sockets.serve("application", "c")
    assert sockets.ask(sockets.path).startswith("c ")


def test_clients_of_a_missing_server_are_turned_away_after_a_while(make: Callable[..., Sockets]) -> None:
    """Not the clients of others, and a check does not count as the server. It may come back at any time."""
    sockets = make(patience=1)
    sockets.start()
    sockets.serve("web", "a")
    first = sockets.serve("application", "first")
    assert sockets.ask(sockets.path).startswith("first ")
    end(first, signal.SIGKILL)
    began = time.monotonic()
    with sockets.connect(sockets.path) as waiting:
        waiting.settimeout(0.2)
        while True:
            assert sockets.check().returncode == 0
            try:
                assert waiting.recv(100) == b""
            except TimeoutError:
                assert time.monotonic() - began < SECONDS
                continue
            break
    assert 0.5 < time.monotonic() - began < SECONDS
    assert sockets.ask(sockets.ports[0]).startswith("a ")
    sockets.serve("application", "b")
    until(lambda: sockets.ask(sockets.path).startswith("b "))


def test_the_service_ends_at_once(make: Callable[..., Sockets]) -> None:
    sockets = make()
    service = sockets.start()
    assert end(service) == 0


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"PPM_SOCKETS": ""}, "PPM_SOCKETS must be NAME=SOCKET"),
        ({"PPM_SOCKETS": "web="}, "PPM_SOCKETS must be NAME=SOCKET"),
        ({"PPM_SOCKETS": "../web=8080"}, "PPM_SOCKETS must be NAME=SOCKET"),
        ({"PPM_SOCKETS": "web=/nowhere/socket"}, "No such file or directory"),
        ({"PPM_SOCKETS": "web=8080", "PPM_PATIENCE": "long"}, "PPM_PATIENCE is 'long'"),
    ],
)
def test_what_can_not_be_held_is_reported_in_one_line(environ: dict[str, str], problem: str) -> None:
    done = subprocess.run(
        HOLD, env={**os.environ, **environ}, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 1
    assert problem in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_command_that_does_not_exist_is_reported(make: Callable[..., Sockets]) -> None:
    sockets = make()
    sockets.start()
    server = sockets.run(*TAKE, "web", "no-such-command")
    assert server.wait(timeout=SECONDS) == 1
    assert server.stderr
    assert "no-such-command can't be run" in server.stderr.readline()
