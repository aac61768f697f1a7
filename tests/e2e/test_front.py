"""Answers of the main loop are those of the application, byte for byte, and are logged in the same way."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable
from contextlib import closing

import pytest
from support import wheels
from support.evidence import until
from support.raw import basic
from support.servers import JSON, Server

from ppmctl.server import small_files

_OTHER = "X-Other: 1"  # a header that only the application reads, without an effect
WHEEL = wheels.wheel("front", "1.0")
FILE = f"/packages/front/{WHEEL[0]}"
LARGE = wheels.wheel("front-large", "1.0", files={"data": os.urandom(3 << 20)})
CASES = {
    "page": ("/simple/front/",),
    "json": ("/simple/front/", f"Accept: {JSON}"),
    "packed": ("/simple/front/", f"Accept: {JSON}", "Accept-Encoding: gzip, deflate"),
    "packed-html": (
        "/simple/front/",
        "Accept: text/html",
        "accept-encoding: br, gzip;q=0.5",
        "Connection: keep-alive",
    ),
    "root": ("/simple/", 'User-Agent: pip/26.2 {"a":"b"}', "Cache-Control: max-age=0"),
    "file": (FILE,),
    "metadata": (f"{FILE}.metadata", "Accept-Encoding: identity"),
    "large": (f"/packages/front-large/{LARGE[0]}",),
}


class Line:
    """A connection that is kept, and what has arrived on it."""

    def __init__(self, server: Server, *, size: int = 0) -> None:
        self._server = server
        self.socket = socket.socket()
        self.socket.settimeout(60)
        if size:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        self.socket.connect(("127.0.0.1", server.port))
        self._received = b""

    def send(self, path: str, *lines: str) -> None:
        fixed = (f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{self._server.port}")
        fixed += (f"Authorization: {basic(*self._server.auth)}",)
        self.socket.sendall("\r\n".join([*fixed, *lines, "", ""]).encode())

    def read(self) -> tuple[bytes, bytes]:
        """Return the head, without its date, and the body of the next answer."""
        while b"\r\n\r\n" not in self._received:
            self._receive()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: ([0-9]+)", head)
        size = int(length[1]) if length else 0
        while len(self._received) < size:
            self._receive()
        body, self._received = self._received[:size], self._received[size:]
        return re.sub(rb"Date: [^\r]+", b"Date:", head), body

    def ask(self, path: str, *lines: str) -> tuple[bytes, bytes]:
        self.send(path, *lines)
        return self.read()

    def _receive(self) -> None:
        chunk = self.socket.recv(1 << 16)
        assert chunk, "the connection is open"
        self._received += chunk


@pytest.fixture(scope="module")
def filled(index: Server) -> Server:
    for number in range(1, 8):
        assert index.upload(wheels.wheel("front", f"{number}.0")).status_code == 200
    assert index.upload(LARGE).status_code == 200
    until(lambda: b">front-large<" in index.get("/simple/").content, "the list of projects is written")
    return index


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_answers_are_those_of_the_application(filled: Server, case: tuple[str, ...]) -> None:
    with closing((line := Line(filled)).socket):
        head, body = line.ask(*case, _OTHER)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        etag = re.search(rb'ETag: ("[^"]+")', head)
        assert etag
        for _again in range(2):
            assert line.ask(*case) == (head, body)
        have = f"If-None-Match: {etag[1].decode()}"
        unchanged = line.ask(*case, have, _OTHER)
        assert unchanged[0].startswith(b"HTTP/1.1 304 ")
        assert line.ask(*case, have) == unchanged
        assert line.ask(*case, have, "If-Modified-Since: Mon, 01 Jan 2001 00:00:00 GMT") == unchanged
        assert line.ask(*case, 'if-none-match: "1-2"') == (head, body)
        assert line.ask(*case, _OTHER) == (head, body)


def test_requests_are_logged_as_those_of_the_application(serve: Callable[..., Server]) -> None:
    server = serve("--access-log")
    assert server.upload(WHEEL).status_code == 200
    log = server.root / "requests" / "requests.log"
    agent = 'User-Agent: pip/26.2 {"ci":null}'

    def counted() -> list[list[str]]:
        return [line.split("\t")[1:] for line in log.read_text().splitlines() if '{\\"ci\\"' in line]

    def printed() -> list[dict[str, object]]:
        lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
        return [{**line, "time": "", "seconds": 0} for line in lines if "ci" in line["agent"]]

    with closing((line := Line(server)).socket):
        line.ask(FILE, agent, _OTHER)
        for more in ((), ("Accept: */*",)):
            for path in (FILE, "/simple/front/"):
                etag = re.search(rb'ETag: ("[^"]+")', line.ask(path, agent, *more)[0])
                assert etag
                line.ask(path, agent, *more, _OTHER)
                line.ask(path, agent, *more, f"If-None-Match: {etag[1].decode()}")
                line.ask(path, agent, *more, f"If-None-Match: {etag[1].decode()}", _OTHER)
        until(lambda: len(counted()) == 17 == len(printed()), "all requests are logged")
    for lines in (counted()[1:], printed()[1:]):
        assert lines[::2] == lines[1::2]
    assert counted()[0] == [
        str(len(WHEEL[1])),
        str(len(WHEEL[1])),
        "200",
        "GET",
        FILE,
        'pip/26.2 {\\"ci\\":null}',
        "",
    ]
    assert printed()[0]["sent"] == len(WHEEL[1])


@pytest.mark.parametrize("size", [45_000, 500_000, 3_000_000])
def test_a_client_that_reads_late_gets_whole_answers(filled: Server, size: int) -> None:
    """What does not fit into the buffers of its connection is sent by a thread; others do not wait meanwhile."""
    name, times = f"slow-{size}", 9_000_000 // size
    made, small = wheels.wheel(name, "1.0", files={"data": os.urandom(size)}), (FILE, WHEEL[1])
    assert (len(made[1]) <= small_files.LARGEST) is (size < small_files.LARGEST)
    assert filled.upload(made).status_code == 200
    path = f"/packages/{name}/{made[0]}"
    with closing((late := Line(filled, size=4096)).socket), closing((other := Line(filled)).socket):
        late.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _number in range(times):
            late.send(path)
            assert other.ask(small[0])[1] == small[1]  # by then, the main loop has the request before
        assert [late.read()[1] == made[1] for _number in range(times)] == [True] * times
        assert late.ask(path)[1] == made[1]
