"""Slow clients of the embedded server: without a valid credential they hold no thread, and no connection for long."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import requests
from support import attacks, impatient, raw, streams, wheels
from support.attacks.slow import clients
from support.raw import Target
from support.servers import Server
from support.slow import SlowUpload
from support.streams import Made

THREADS = 2
FAIR = 10.0  # seconds for an answer, while slow clients wait; with a thread held it takes as long as they want


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    """Serve with two threads and short time limits."""
    return serve("--upstream", "none", "--threads", str(THREADS), command=impatient.COMMAND)


def target(server: Server) -> Target:
    return Target(
        address="127.0.0.1",
        name=f"127.0.0.1:{server.port}",
        user=server.user,
        secret=server.secret,
        project="none",
        file="none",
        port=server.port,
        plain_port=server.port,
        has_tls=False,
        any_name=True,
    )


@pytest.fixture
def held(server: Server) -> Iterator[list[socket.socket]]:
    """Open connections of all kinds of slow clients, five of each, which send their first bytes."""
    with ExitStack() as stack:
        opened = []
        for client in [*clients(target(server))] * 5:
            connection = stack.enter_context(raw.connect(target(server)))
            connection.sendall(client.first + b"".join(client.then[:3]))
            opened.append(connection)
        yield opened


def big(project: str, size: int = 500_000) -> Made:
    """Make a wheel whose upload does not fit into what the server reads without a thread."""
    return streams.dist(random.Random(project), project, "1.0", size=size)


def test_slow_clients_are_disconnected(server: Server) -> None:
    """Whatever they send, and however often a byte comes. The limits are 20 s and 15 s outside of this test."""
    outcomes = attacks.slow_clients(target(server), within=30)
    print(attacks.table(outcomes))
    assert not attacks.wrong(outcomes), attacks.table(attacks.wrong(outcomes))
    assert server.get("/simple/").status_code == 200


@pytest.mark.usefixtures("held")
def test_others_are_served_while_slow_clients_wait(server: Server) -> None:
    """More of them than threads; before, each held one."""
    with ThreadPoolExecutor(8) as pool:
        reads = list(pool.map(lambda _number: server.get("/simple/", timeout=FAIR).status_code, range(40)))
    assert reads == [200] * 40
    assert server.upload(wheels.wheel("fair", "1.0"), timeout=FAIR).status_code == 200
    assert server.upload(big("fair-too").file, timeout=FAIR).status_code == 200


@pytest.mark.usefixtures("held")
def test_a_server_with_slow_clients_ends_at_once(server: Server) -> None:
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 30, "the limit for uploads is a minute"


def test_a_slow_publisher_is_not_disconnected(server: Server) -> None:
    """An upload with a valid credential may take much longer than a request may take to arrive."""
    made = big("patient")
    with SlowUpload(server, made) as upload:
        for _ in range(10):
            upload.send(0.09)
            time.sleep((impatient.ARRIVES + impatient.LEAVES) / 8)
        assert upload.answer() == 200
    assert server.filenames("patient") == {made.filename}


def test_a_publisher_that_stalls_gets_408(server: Server) -> None:
    made = big("stalled")
    with SlowUpload(server, made) as upload:
        upload.send(0.5)
        assert upload.early_answer() == 408


@pytest.mark.parametrize("size", [100, 50_000, 5_000_000])
def test_a_refused_client_reads_the_reason_after_it_has_sent_everything(server: Server, size: int) -> None:
    """requests sends the whole body before it reads; a connection that is reset loses the answer."""
    made = big("refused", size).file
    for auth in (None, (server.user, "ppm_wrong")):
        refused = server.upload(made, auth=auth)
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="ppm"')
    with requests.Session() as session:
        for _twice in range(2):
            answer = session.post(f"{server.url}/legacy/", files={"content": made}, timeout=60)
            assert answer.status_code == 401
            assert answer.headers["Connection"] == ("keep-alive" if size <= 50_000 else "close")


def test_idle_connections_make_room_for_others(serve: Callable[..., Server]) -> None:
    """A server may open 128 files: 64 connections. The longest waits are closed for new clients."""
    limited = ("prlimit", "--nofile=128:128", *impatient.COMMAND)
    server = serve("--upstream", "none", command=limited)
    with ExitStack() as stack:
        opened = [stack.enter_context(raw.connect(target(server))) for _ in range(100)]
        for _ in range(5):
            assert server.get("/simple/", timeout=FAIR).status_code == 200
        opened += [stack.enter_context(raw.connect(target(server))) for _ in range(100)]
        assert server.get("/simple/", timeout=FAIR).status_code == 200
    assert "Too many open files" not in server.log.read_text()
