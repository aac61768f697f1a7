"""Slow clients, each of which tries to hold a connection open."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from support.attacks.model import Attack, Outcome
from support.raw import Reply, Target, basic, connect, request

PAUSE = 0.5  # seconds between two bytes


@dataclass(frozen=True, kw_only=True)
class _Slow:
    """A client that sends `first`, then a piece of `then` every PAUSE seconds, and never closes its connection."""

    shown: str
    first: bytes = b""
    then: Sequence[bytes] = ()
    port: str = "tls"  # tls, http2, tcp (no handshake on that port), plain


def slow_clients(target: Target, *, within: float) -> list[Outcome]:
    """Run all at once; each must be disconnected `within` so many seconds, even if it keeps sending."""
    every = list(clients(target))
    with ThreadPoolExecutor(len(every)) as pool:
        return list(pool.map(lambda client: _run(target, client, within), every))


def clients(target: Target) -> Iterator[_Slow]:
    """Yield all rows."""
    get = request(target, "GET /simple/", "X: " + "y" * 500)
    post = request(target, "POST /", "Content-Length: 1000")
    if target.has_tls:
        yield _Slow(shown="a connection without a handshake", port="tcp")
        hello = b"\x16\x03\x01\x02\x00" + b"\x01" * 500
        yield _Slow(shown="a handshake, byte by byte", then=_bytewise(hello), port="tcp")
        yield from _http2(target)
    yield _Slow(shown="a connection, then nothing")
    yield _Slow(shown="a request line, byte by byte", then=_bytewise(get))
    yield _Slow(shown="half a header, then nothing", first=get[:100])
    yield _Slow(shown="a header, byte by byte", first=get[:100], then=_bytewise(get[100:]))
    yield _Slow(shown="an empty line, byte by byte", then=_bytewise(b"\r\n" * 250))
    yield _Slow(shown="a body that never comes", first=post)
    yield _Slow(shown="port 80, a header, byte by byte", first=get[:30], then=_bytewise(get[30:]), port="plain")
    yield _Slow(shown="no credential, then nothing", first=request(target, "GET /simple/", auth=None, close=False))
    yield from _without_credential(target)


def _without_credential(target: Target) -> Iterator[_Slow]:
    """Yield clients that send a body byte by byte, and have no valid credential for it."""
    lengths = {
        "small": "Content-Length: 1000",
        "large": "Content-Length: 900000",
        "chunked": "Transfer-Encoding: chunked",
    }
    senders = {
        "no credential": None,
        "a wrong one": basic(target.user, "ppm_wrong"),
        "an unknown name": basic("x", "y"),
    }
    pieces = {"chunked": [b"1\r\nx\r\n"] * 500}
    for size, length in lengths.items():
        body = pieces.get(size, _bytewise(b"x" * 500))
        for who, auth in senders.items():
            first = request(target, "POST /", length, auth=auth, close=False)
            yield _Slow(shown=f"a {size} body with {who}, byte by byte", first=first, then=body)
        for line in (
            "POST /api/join",
            "GET /healthz",
            "PUT /api/packages/a/status",
            "GET /",
            "POST /RPC2",
            "GET /env/",
            "POST /login",
            "POST /upload/files",
            "GET /projects/",
        ):
            first = request(target, line, length, auth=None, close=False)
            yield _Slow(shown=f"{line}, a {size} body without a credential, byte by byte", first=first, then=body)
    for line in ("POST /api/join", "POST /"):
        first = request(target, line, "Content-Length: 100", "Expect: 100-continue", auth=None, close=False)
        yield _Slow(shown=f"{line}, Expect: 100-continue, then nothing", first=first)
        yield _Slow(
            shown=f"{line}, a body that never comes", first=request(target, line, "Content-Length: 9", auth=None)
        )
    first = request(target, "POST /api/join", "Content-Length: 900", auth=None, close=False)
    yield _Slow(shown="port 80, a body byte by byte", first=first, then=_bytewise(b"x" * 500), port="plain")


def _http2(target: Target) -> Iterator[_Slow]:
    """Yield clients of HTTP/2, which nginx reads with other code."""
    hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4)
    data, ping = _frame(0, b"x", stream=1), _frame(6, bytes(8))
    yield _Slow(shown="HTTP/2: nothing after the settings", first=hello, port="http2")
    yield _Slow(shown="HTTP/2: only pings", first=hello, then=[ping] * 500, port="http2")
    headers = _frame(1, _headers(target, "/", "POST"), flags=4, stream=1)
    yield _Slow(shown="HTTP/2: headers byte by byte", first=hello, then=_bytewise(headers + bytes(500)), port="http2")
    unfinished = _frame(1, _headers(target, "/", "POST"), stream=1)
    more = [_frame(9, b"\x00\x01x\x01y", stream=1)] * 500
    yield _Slow(shown="HTTP/2: headers without an end", first=hello + unfinished, then=more, port="http2")
    for method, path in (
        ("POST", "/"),
        ("POST", "/api/join"),
        ("POST", "/login"),
        ("POST", "/upload/files"),
        ("GET", "/"),
        ("GET", "/healthz"),
        ("PUT", "/simple/"),
    ):
        first = hello + _frame(1, _headers(target, path, method), flags=4, stream=1)
        shown = f"HTTP/2: {method} {path}, a body byte by byte without a credential"
        yield _Slow(shown=shown, first=first, then=[data] * 500, port="http2")


def _frame(kind: int, content: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    """Return a frame of HTTP/2 (RFC 9113, section 4.1)."""
    return len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content


def _headers(target: Target, path: str, method: str) -> bytes:
    """Return a request's headers, none of them compressed or indexed, except for `:scheme` (RFC 7541, section 6)."""

    def literal(name: int, value: str) -> bytes:
        return bytes([name, len(value)]) + value.encode("ascii")

    return literal(2, method) + b"\x87" + literal(4, path) + literal(1, target.name)


def _bytewise(content: bytes) -> list[bytes]:
    return [content[at : at + 1] for at in range(len(content))]


def _run(target: Target, client: _Slow, within: float) -> Outcome:
    started = time.monotonic()
    if client.port == "tcp":
        connection = socket.create_connection((target.address, target.port), timeout=within)
    else:
        tls = _http2_context(target) if client.port == "http2" else None
        connection = connect(target, plain=client.port == "plain", tls=tls)
    with contextlib.closing(connection):
        end = _end(connection, client, until=started + within)
    took = time.monotonic() - started
    attack = Attack(
        group="slow",
        shown=client.shown,
        expected=f"cut off within {within:.0f} s",
        sent=client.first,
        judge=lambda reply: reply.end != "silence",
    )
    reply = Reply(raw=b"", end=end if end == "silence" else f"{end} after {took:.0f} s")
    return Outcome(attack=attack, reply=reply, problem="" if attack.judge(reply) else "it may stay")


def _end(connection: socket.socket, client: _Slow, *, until: float) -> str:
    """Send what the client sends until the connection ends; return how it did.

    A server ends its direction first, after its last answer; the client may send more until it ends the other one.
    """
    left, is_answered = list(client.then), False
    try:
        connection.sendall(client.first)
        while time.monotonic() < until:
            if is_answered:
                time.sleep(PAUSE)
            elif select.select([connection], [], [], PAUSE)[0]:
                is_answered = not _goes_on(connection)
            if left:
                connection.sendall(left.pop(0))
            elif is_answered:
                return "closed"
    except OSError:
        return "closed"
    return "silence"


def _goes_on(connection: socket.socket) -> bool:
    """Return whether the connection is still open; an answer (408) may come before the end."""
    try:
        return connection.recv(1 << 16) != b""
    except OSError:
        return False


def _http2_context(target: Target) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=target.ca.read_text() if target.ca else None)
    context.set_alpn_protocols(["h2"])
    return context
