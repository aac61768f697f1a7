"""A server whose file descriptors are used up, by forms with many files or by idle connections."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from support import streams, wheels
from support.evidence import nothing_is_left, until
from support.raw import basic
from support.servers import Server
from support.slow import SlowUpload

LEFT = 12  # descriptors, after those that the worker has


def worker_of(server: Server) -> int:
    """Return the process that answers requests: the only child of the one that was started."""
    (pid,) = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return int(pid)


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@contextlib.contextmanager
def few_descriptors(pid: int) -> Iterator[None]:
    """During the block, let the process open LEFT more files."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(pid) + LEFT, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@pytest.fixture
def uploading(serve: Callable[..., Server]) -> Iterator[tuple[Server, SlowUpload]]:
    """Yield a server that has received a half of an upload."""
    server = serve("--upstream", "none")
    with SlowUpload(server, streams.dist(random.Random(0), "flight", "1.0", size=1 << 20)) as upload:
        upload.send(0.5)
        until(lambda: list((server.root / "incoming").glob("*/[0-9a-f]*")), "the half that was sent")
        yield server, upload


def test_what_is_in_flight_survives_that_no_connection_can_be_accepted(
    uploading: tuple[Server, SlowUpload],
) -> None:
    """gunicorn's worker would end with it; connections wait until there are descriptors again."""
    server, upload = uploading
    worker = worker_of(server)
    with contextlib.ExitStack() as idle, few_descriptors(worker):
        for _number in range(LEFT + 40):
            idle.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
        until(lambda: "New connections have to wait" in server.log.read_text(), "an accept that fails")
    assert requests.get(f"{server.url}/healthz", timeout=60).status_code == 200
    assert upload.answer() == 200
    assert worker_of(server) == worker, "it is the same process"
    assert server.filenames("flight") == {"flight-1.0-py3-none-any.whl"}
    assert server.log.read_text().count("New connections have to wait") == 1, "it is logged once a minute"


def test_a_form_with_a_thousand_files_holds_one(index: Server) -> None:
    """Each was opened until the form ended, which it never did."""
    head = 'Content-Disposition: form-data; name="{}"; filename="x-1.0.zip"'
    names = ["content", *map(str, range(1004))]
    parts = "".join(f"--x\r\n{head.format(name)}\r\n\r\nx\r\n" for name in names)
    lines = ["POST / HTTP/1.1", "Host: x", f"Authorization: {basic(*index.auth)}", "Content-Length: 10000000"]
    sent = "\r\n".join([*lines, "Content-Type: multipart/form-data; boundary=x", "", parts]).encode()
    worker = worker_of(index)
    before = descriptors(worker)
    with contextlib.ExitStack() as forms:
        address = ("127.0.0.1", index.port)
        connections = [forms.enter_context(socket.create_connection(address, timeout=30)) for _number in range(8)]
        for connection in connections:
            connection.sendall(sent)
        for connection in connections:
            assert descriptors(worker) < before + 50
            connection.shutdown(socket.SHUT_WR)  # the server reads the rest of what it refuses
            assert connection.recv(100).startswith(b"HTTP/1.1 400 A form has files only in")
    nothing_is_left(index.root)


def test_answers_that_wait_for_a_thread_have_no_open_file(serve: Callable[..., Server]) -> None:
    """Each had one in addition to its connection, so that half of the allowed connections used up all descriptors."""
    server, number = serve("--threads", "2"), 60
    made = wheels.wheel("slow", "1.0", files={"data": os.urandom(6 << 20)})
    assert server.upload(made).status_code == 200
    head = f" HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(*server.auth)}\r\n\r\n"
    before = descriptors(worker_of(server))
    with contextlib.ExitStack() as opened, socket.create_connection(("127.0.0.1", server.port), timeout=60) as other:
        for _number in range(number):
            late = opened.enter_context(socket.socket())
            late.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            late.connect(("127.0.0.1", server.port))
            late.sendall(f"GET /packages/slow/{made[0]}{head}".encode())
            other.sendall(f"GET /simple/slow/{head}".encode())
            assert other.recv(1 << 16), "the main loop has the request before"
        assert descriptors(worker_of(server)) < before + number + 20
