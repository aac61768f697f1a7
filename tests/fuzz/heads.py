"""Bytes that arrive on a connection of the embedded server: its main loop answers as the application would."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, BinaryIO
from unittest.mock import patch

from gunicorn.http import wsgi
from gunicorn.workers.gthread import TConn
from support import wheels
from support.raw import basic

from fuzz import scratch
from fuzz.credentials import SECRET
from ppmctl.access import declarative, nginx_htpasswd
from ppmctl.access.account import SERVER
from ppmctl.distributions import distribution
from ppmctl.index.layout import Volume
from ppmctl.index.store import Store
from ppmctl.server import small_files
from ppmctl.server.front import Front
from ppmctl.server.gunicorn import _Server
from ppmctl.server.settings import server_settings
from ppmctl.server.systemd import Service
from ppmctl.server.worker import Worker, _Parser
from ppmctl.web.application import application

USERS = {"admin": "role: admin", "reader": "role: reader", "limited": "role: reader, reads: [x*]"}
USERS |= {"monitor": "role: monitor", "gone": "role: reader, state: disabled"}
FILE, LARGE = (wheels.wheel(name, "1.0")[0] for name in ("x", "large"))
SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
_ORDER = re.compile(rb"!([a-z -]*)\n")
_AS = re.compile(rb"(?m)^As: ([a-z]+)(?=\r\n)")


# an answer, the bytes that it leaves for the next one, the lines in the log, and what is counted
Outcome = tuple[bytes, bytes, list[dict[str, Any]], list[tuple[str, str]]]


def front(data: bytes) -> None:
    """Answer what a connection has received: in the main loop as the application does, or not at all.

    `!public` in a line before it stands for an index with public reads, and a name of CHANGES for a change of the
    volume before the request. `As: admin`, in a line of the headers, stands for that user's credential.
    """
    order = _ORDER.match(data)
    words = order[1].decode().split() if order else []
    received = _AS.sub(_credential, data[order.end() :] if order else data)
    site = _site("public" if "public" in words else "authenticated")
    changes = [CHANGES[word] for word in words if word in CHANGES]
    try:
        for change in changes:
            change(site.volume)
        site.compare(received)
    finally:
        if changes:
            site.reset()


def _credential(match: re.Match[bytes]) -> bytes:
    name = match[1].decode()
    sent = ("__token__", _secret("reader")) if name == "token" else (name, _secret(name))
    return f"Authorization: {basic(*sent)}".encode()


def _secret(name: str) -> str:
    return f"ppm_{name:s<43}"


class _Socket:
    """The connection of a client that sends nothing more. It has what the client received."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.received = bytearray()

    def recv(self, _size: int) -> bytes:
        return b""

    def sendall(self, data: bytes) -> None:
        self.received += data

    def sendfile(self, file: BinaryIO, *, offset: int, count: int) -> None:
        self.received += os.pread(file.fileno(), count, offset)

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name in ("setblocking", "settimeout", "shutdown", "close"):
            return lambda *_arguments: None
        raise AttributeError(name)


class Site:
    """An index, and a worker with the settings of `ppmctl serve`, without a process and a listener."""

    def __init__(self, volume: Volume, read_access: str) -> None:
        self.volume, self._first = volume, volume.root.with_name(f"{volume.root.name}-first")
        settings = server_settings(volume.root, flags={"read_access": read_access}, environ={})
        server = _Server(application, settings, Service(), access_log=False, threads={})
        index = server.load()
        assert server.front is not None
        self._front: Front = server.front
        log = server.cfg.logger_class(server.cfg)
        self._lines: list[dict[str, Any]] = []
        self._counts: list[tuple[str, str]] = []
        log.write = lambda **line: self._lines.append({"content_range": "", **line, "seconds": 0})
        vars(self._front._metrics)["count"] = lambda *count: self._counts.append(count[:2])
        self._worker = Worker(0, 0, [], server, 0, server.cfg, log)
        self._worker.wsgi = index
        shutil.copytree(volume.root, self._first)

    def reset(self) -> None:
        """Undo changes of the volume."""
        shutil.rmtree(self.volume.root)
        shutil.copytree(self._first, self.volume.root)

    def compare(self, received: bytes) -> None:
        """Raise AssertionError if an answer of the main loop is not the application's, with its log and counts."""
        first = self._by_front(received)
        if not (received.startswith(b"GET ") and received.endswith(b"\r\n\r\n")):
            assert first is None, first
            return
        expected = self._by_application(received)
        second = self._by_front(received)  # the application may have written a page, or authenticated a secret
        for outcome in (first, second):
            assert outcome in (None, expected), f"{outcome}\nis not the application's\n{expected}"

    def _by_front(self, received: bytes) -> Outcome | None:
        self._lines.clear()
        self._counts.clear()
        answer = self._front.answer(received, wsgi.SERVER)
        if answer is None:
            assert self._counts == [], "a request that is left to the application is counted there"
            return None
        body = answer.content + (answer.file.read() if answer.file is not None else b"")
        self._worker._end(self._connection(), answer, answer.length)
        return self._outcome(body)

    def _by_application(self, received: bytes) -> Outcome:
        self._lines.clear()
        self._counts.clear()
        connection = self._connection()
        connection.parser = _Parser(connection.cfg, connection.sock, connection.client)
        connection.parser.unreader.unread(received)
        connection.initialized = True
        self._worker.handle(connection)
        return self._outcome(bytes(connection.sock.received), connection.parser.unreader.take_buffered())

    def _connection(self) -> TConn:
        return TConn(self._worker.cfg, _Socket(), ("192.0.2.1", 4321), ("127.0.0.1", 80))

    def _outcome(self, content: bytes, unread: bytes = b"") -> Outcome:
        return re.sub(rb"\r\nDate: [^\r]+", b"", content, count=1), unread, [*self._lines], [*self._counts]


@cache
def _site(read_access: str) -> Site:
    """Return an index with users, and with projects of all kinds."""
    wsgi.SERVER = "ppm"
    volume = Volume(root=scratch() / f"front-{read_access}")
    volume.prepare()
    listed = "".join(f"- {{name: {name}, {rights}, secret: {_secret(name)}}}\n" for name, rights in USERS.items())
    with patch.object(nginx_htpasswd, "PARTS", 3):
        declarative.apply(volume, SERVER, declarative.parse(f"users:\n{listed}"))
    store = Store(volume)
    large = {"data": random.Random(1).randbytes(small_files.LARGEST + 1)}
    made = [wheels.wheel("x", f"{number}.0") for number in range(1, 8)]
    made += [wheels.wheel("large", "1.0", files=large), wheels.wheel("kept", "1.0"), wheels.sdist("old", "1.0")]
    for filename, content in made:
        with store.area.new_file() as received:
            received.write(content)
            received.finish()
            store.put(received, distribution.inspect(received.path, filename), by="ops")
    store.yank("x", "2.0", "broken")
    store.set_status("kept", "quarantined")
    store.set_status("old", "archived", "unused")
    store.write_root()
    store.area.close()
    return Site(volume, read_access)


def _without(*names: str) -> Callable[[Volume], None]:
    def change(volume: Volume) -> None:
        for name in names:
            (volume.root / name).unlink(missing_ok=True)

    return change


def _disabled(volume: Volume) -> None:
    """Remove the rights of everyone, as an edit by hand does."""
    volume.access.write_text("")


def _replaced(volume: Volume) -> None:
    """Replace a file by another one, which is too large for the memory."""
    path = volume.file("x", FILE)
    path.unlink()
    path.write_bytes(bytes(small_files.LARGEST + 1))


def _emptied(volume: Volume) -> None:
    volume.file("x", FILE).write_bytes(b"")


CHANGES: dict[str, Callable[[Volume], None]] = {
    "no-json": _without("index/simple/x/index.json"),
    "no-html": _without("index/simple/x/index.html", "index/simple/index.html"),
    "no-packed": _without("index/simple/x/index.json.gz", "index/simple/x/index.html.gz"),
    "no-pages": lambda volume: shutil.rmtree(volume.simple),
    "no-file": _without(f"packages/x/{FILE}"),
    "no-metadata": _without(f"packages/x/{FILE}.metadata"),
    "no-rights": _disabled,
    "replaced": _replaced,
    "emptied": _emptied,
}
_PIP = f"{SIMPLE_JSON}, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
_LINES = (
    *(
        "Host: index.test",
        "Host: index.test:8080",
        "Host: [::1]",
        "As: reader",
        "As: limited",
        "As: token",
        "As: gone",
    ),
    *("As: monitor", "As: admin", "Authorization: Basic Og==", "Authorization: Bearer x", "Authorization: Basic %"),
    *(
        "Accept: */*",
        f"Accept: {_PIP}",
        f"Accept: {SIMPLE_JSON}",
        "Accept: text/html;q=0, */*",
        "Accept: x",
        "Accept:",
    ),
    *("Accept-Encoding: gzip", "Accept-Encoding: gzip;q=0, *", "Accept-Encoding: identity", "Connection: keep-alive"),
    *(
        "Connection: close",
        "Connection: Keep-Alive, x",
        'If-None-Match: "1-2"',
        "If-None-Match: *",
        "Range: bytes=0-1",
    ),
    *(
        "If-Modified-Since: Mon, 01 Jan 2001 00:00:00 GMT",
        "Cache-Control: no-cache",
        "Pragma: no-cache",
        "Cookie: a=b",
    ),
    *("User-Agent: pip/26.2", f"User-Agent: {SECRET}", "Content-Length: 0", "Transfer-Encoding: chunked", " folded"),
    *("X-Forwarded-Proto: https", "Accept-Language: de", "Priority: u=1", "Expect: 100-continue", "Upgrade: h2c"),
    *("Via: x", "Origin: http://x", "Host", ": x", "Referer: http://x/", "If-Range: x", "Te: trailers", "X_Y: z"),
)
_PATHS = (
    *("/simple/", "/simple/x/", "/simple/large/", "/simple/kept/", "/simple/old/", "/simple/nothing/", "/simple/X/"),
    *(
        f"/packages/x/{FILE}",
        f"/packages/x/{FILE}.metadata",
        f"/packages/large/{LARGE}",
        "/packages/old/old-1.0.tar.gz",
    ),
    *(f"/packages/x/{FILE}.upload", f"/packages/x/{LARGE}", "/packages/kept/kept-1.0-py3-none-any.whl"),
    *("/simple/x/?a", "/simple//x/", "/simple/x/#a", "/simple/%78/", "/packages/x/.status", "/simple/-/"),
)


def front_mutate(data: bytes, most: int, seed: int) -> bytes:
    """Change a request by lines, or at random."""
    import atheris

    chance = random.Random(seed)
    lines = data.split(b"\r\n")
    if chance.random() < 0.5 or len(lines) < 3:
        changed: bytes = atheris.Mutate(data, most)
        return changed
    place = chance.randrange(1, len(lines) - 1)
    match chance.randrange(5):
        case 0:
            lines.insert(place, chance.choice(_LINES).encode())
        case 1:
            lines[place : place + 1] = []
        case 2:
            lines.insert(place, chance.choice(lines))
        case 3:
            lines[0] = re.sub(rb" \S+", b" " + chance.choice(_PATHS).encode(), lines[0], count=1)
        case _:
            order = f"!{chance.choice(('', 'public '))}{chance.choice(('', *CHANGES))}\n".encode()
            lines[0] = order + _ORDER.sub(b"", lines[0])
    return b"\r\n".join(lines)[:most]


def front_seeds() -> Iterator[bytes]:
    def request(order: str, path: str, *lines: str) -> bytes:
        return "\r\n".join([f"{order}GET {path} HTTP/1.1", "Host: index.test", *lines, "", ""]).encode()

    for number, path in enumerate(_PATHS):
        yield request("!public\n" if number % 3 == 0 else "", path, ("As: reader", "As: limited")[number % 2])
    for name in CHANGES:
        yield request(f"!{name}\n", "/simple/x/", "As: reader")
        yield request(f"!{name}\n", f"/packages/x/{FILE}", "As: token")
    for line in _LINES:
        yield request("", "/simple/x/", "As: admin", line)
    yield request("", "/simple/x/", "As: reader", f"Accept: {_PIP}", "Accept-Encoding: gzip", "User-Agent: pip/26.2")
