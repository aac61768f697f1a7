"""Connections that wait without a thread: when a request is handed over, and when a connection is closed."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from ppmctl.server import waiting
from ppmctl.server.waiting import Waiting

HEAD = b"POST /api/join HTTP/1.1\r\nHost: index.example\r\nContent-Length: 5\r\n"


@dataclass(eq=False)
class Connection:
    """A server's end of a connection, in the part that Waiting uses."""

    sock: socket.socket

    def close(self) -> None:
        self.sock.close()


@dataclass
class Server:
    """A loop with Waiting, and what came of its connections."""

    selector: selectors.BaseSelector
    requests: list[bytes] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    closed: int = 0
    accepted: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.waiting = Waiting(self.selector, self._hand_over, self._close)

    def _hand_over(self, connection: Connection, received: bytes) -> None:
        self.connections.append(connection)
        self.requests.append(received)

    def _close(self) -> None:
        self.closed += 1

    def accept(self, received: bytes = b"") -> socket.socket:
        """Return a client's end of a new connection."""
        mine, its = socket.socketpair()
        its.settimeout(10)
        self.accepted.append(mine)
        self.waiting.receive(Connection(mine), received)
        return its

    def run(self) -> None:
        """Handle what has arrived, as gunicorn's loop does."""
        while events := self.selector.select(0):
            for key, _mask in events:
                key.data(key.fileobj)
        self.waiting.close_late()


@pytest.fixture
def server() -> Iterator[Server]:
    with selectors.DefaultSelector() as selector:
        server = Server(selector)
        yield server
        for accepted in server.accepted:
            accepted.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [1000.0]
    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.mark.parametrize(
    "whole",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        HEAD + b"\r\n12345",
        HEAD.replace(b"Content-Length: 5", b"content-LENGTH:\t5 ") + b"\r\n12345",
        # refused by gunicorn, which must not wait either
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\r\nHost: x\n",
        b"\r\n\r\n",
        HEAD + b"Content-Length: 6\r\n\r\n",
        HEAD + b"Content-Length: x\r\n\r\n",
        HEAD + b"Content-Length : 6\r\n\r\n",
        # handed over without the body: it is too large to wait for it, or of unknown size
        HEAD.replace(b"5", b"70000") + b"\r\n",
        HEAD.replace(b"5", b"x") + b"\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
        HEAD.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"\r\n",
    ],
)
def test_a_request_is_handed_over_with_its_last_byte(server: Server, whole: bytes) -> None:
    with server.accept() as client:
        for byte in whole[:-1]:
            client.send(bytes([byte]))
            server.run()
            assert server.requests == []
        client.send(whole[-1:])
        server.run()
        assert server.requests == [whole]
        assert server.selector.get_map() == {}


def test_bytes_of_the_next_request_are_handed_over_too(server: Server) -> None:
    """A client may send requests without waiting for answers."""
    both = HEAD + b"\r\n12345" + b"GET /"
    with server.accept(both[:10]) as client:
        client.send(both[10:])
        server.run()
        assert server.requests == [both]
    server.waiting.receive(server.connections[0], b"GET / HTTP/1.0\r\n\r\n")
    assert server.requests[1:] == [b"GET / HTTP/1.0\r\n\r\n"], "without anything that arrives"


def test_a_client_that_expects_100_continue_gets_it_once(server: Server) -> None:
    with server.accept() as client:
        client.send(HEAD + b"Expect: 100-continue\r\n\r\n")
        server.run()
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"12")
        server.run()
        client.send(b"345")
        server.run()
        assert len(server.requests) == 1
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\nHost: x\r\n", HEAD + b"\r\n1234"])
def test_a_request_that_does_not_arrive_in_time_is_refused(server: Server, clock: list[float], sent: bytes) -> None:
    """However often a byte comes. The client has some time to read the answer."""
    with server.accept() as client:
        for byte in sent:
            client.send(bytes([byte]))
            server.run()
            clock[0] += waiting.ARRIVES_WITHIN / 2 / len(sent)
        server.run()
        assert server.closed == 0
        clock[0] += waiting.ARRIVES_WITHIN
        server.run()
        answer = client.recv(1000)
        assert answer.startswith(b"HTTP/1.1 408 The request did not arrive within 20 seconds\r\n")
        assert answer.endswith(b"\r\n\r\nThe request did not arrive within 20 seconds\n")
        assert client.recv(1) == b"", "the end"
        assert server.closed == 0
        client.send(b"more")
        server.run()
        clock[0] += waiting.LEAVES_WITHIN + 1
        server.run()
        assert server.closed == 1
        assert server.requests == []


def test_an_idle_connection_is_closed_without_an_answer(server: Server, clock: list[float]) -> None:
    with server.accept() as client:
        server.run()
        clock[0] += waiting.ARRIVES_WITHIN + 1
        server.run()
        assert client.recv(1) == b""
        assert server.closed == 1


@pytest.mark.parametrize(
    ("start", "status"), [(b"GET /", b"414 The URL is too long"), (b"GET / HTTP/1.1\r\nX: ", b"431 The headers")]
)
def test_headers_are_limited(server: Server, start: bytes, status: bytes) -> None:
    with server.accept() as client:
        client.sendall(start)
        for _ in range(waiting.MAX_HEAD // 1000 + 2):
            client.sendall(b"a" * 1000)
            server.run()
        assert client.recv(1000).startswith(b"HTTP/1.1 " + status)
        assert server.requests == []


def test_a_client_that_leaves_is_forgotten(server: Server) -> None:
    for sent in (b"", b"GET /", HEAD):
        with server.accept() as client:
            client.send(sent)
            server.run()
        server.run()
    assert (server.closed, server.requests) == (3, [])
    assert server.selector.get_map() == {}


def test_a_body_that_ends_early_is_handed_over(server: Server) -> None:
    """The application answers it, as the client may still read."""
    with server.accept() as client:
        client.send(HEAD + b"\r\n123")
        server.run()
        assert server.requests == []
        client.shutdown(socket.SHUT_WR)
        server.run()
        assert server.requests == [HEAD + b"\r\n123"]


def handed_over(server: Server) -> tuple[socket.socket, Connection]:
    """Return a connection whose request was refused before its body arrived."""
    client = server.accept(HEAD.replace(b"5", b"500000") + b"\r\n")
    server.run()
    return client, server.connections.pop()


def test_what_a_refused_client_still_sends_is_dropped(server: Server) -> None:
    """It reads the answer only after it has sent everything."""
    client, connection = handed_over(server)
    with client:
        connection.sock.sendall(b"HTTP/1.1 401 Unauthorized\r\n\r\n")
        server.waiting.leave(connection)
        for _ in range(500):
            client.sendall(bytes(1000))
            server.run()
        assert client.recv(1000) == b"HTTP/1.1 401 Unauthorized\r\n\r\n"
        assert server.closed == 0
    server.run()
    assert server.closed == 1


def test_the_time_of_a_refused_client_is_limited(server: Server, clock: list[float]) -> None:
    """However often a byte comes."""
    client, connection = handed_over(server)
    with client:
        server.waiting.leave(connection)
        until = clock[0] + waiting.LEAVES_WITHIN
        while server.closed == 0:
            assert clock[0] < until + 1
            client.send(b"x")
            clock[0] += 0.5
            server.run()
        assert clock[0] >= until


def test_the_size_of_a_refused_body_is_limited(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_REST", 10_000)
    client, connection = handed_over(server)
    with client:
        server.waiting.leave(connection)
        sent = 0
        while server.closed == 0:
            assert sent < 10_000
            sent += client.send(bytes(400))
            server.run()
        assert sent >= 10_000


def test_the_longest_waits_make_room(server: Server) -> None:
    clients = [server.accept() for _ in range(4)]
    server.run()
    clients[0].send(b"GET / HTTP/1.0\r\n\r\n")
    server.run()
    server.waiting.close_oldest(2)
    assert server.closed == 2
    for client in clients[1:3]:
        assert client.recv(1) == b""
    clients[3].send(b"GET / HTTP/1.0\r\n\r\n")
    server.run()
    assert len(server.requests) == 2
    for client in clients:
        client.close()


def test_a_server_that_ends_closes_idle_connections_and_waits_for_requests(
    server: Server, clock: list[float]
) -> None:
    idle, busy = server.accept(), server.accept(b"GET /")
    client, connection = handed_over(server)
    server.waiting.leave(connection)
    server.waiting.stop(clock[0] + 2)
    server.run()
    assert server.closed == 0
    late = server.accept()
    clock[0] += 3
    server.run()
    assert server.closed == 3
    busy.send(b" HTTP/1.0\r\n\r\n")
    server.run()
    assert server.requests[-1] == b"GET / HTTP/1.0\r\n\r\n"
    for each in (idle, busy, client, late):
        each.close()


def test_a_long_head_in_single_bytes_costs_little(server: Server) -> None:
    """Each byte must not make the server search everything that came before."""
    arriving = waiting._Arriving(connection=Connection(socket.socket()), until=0)
    start = time.thread_time()
    for _ in range(waiting.MAX_HEAD):
        arriving.add(b"a")
    assert time.thread_time() - start < 5
    arriving.connection.close()
