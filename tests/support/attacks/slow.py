"""Slow clients, each of which tries to hold a connection open."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from support.attacks.model import Attack, Outcome
from support.raw import Reply, Target, connect, request

PAUSE = 0.5  # seconds between two bytes


@dataclass(frozen=True, kw_only=True)
class _Slow:
    shown: str
    first: bytes = b""
    then: bytes = b""
    port: str = "tls"  # tls, tcp (no handshake on that port), plain


def slow_clients(target: Target, *, within: float) -> list[Outcome]:
    """Run all at once; each must be disconnected `within` so many seconds, even if it keeps sending."""
    clients = list(_clients(target))
    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(lambda client: _run(target, client, within), clients))


def _clients(target: Target) -> Iterator[_Slow]:
    get = request(target, "GET /simple/", "X: " + "y" * 500)
    post = request(target, "POST /", "Content-Length: 1000")
    if target.has_tls:
        yield _Slow(shown="a connection without a handshake", port="tcp")
        yield _Slow(shown="a handshake, byte by byte", then=b"\x16\x03\x01\x02\x00" + b"\x01" * 500, port="tcp")
        yield _Slow(shown="a handshake, then nothing")
    yield _Slow(shown="a request line, byte by byte", then=get)
    yield _Slow(shown="half a header, then nothing", first=get[:100])
    yield _Slow(shown="a header, byte by byte", first=get[:100], then=get[100:])
    yield _Slow(shown="a body that never comes", first=post)
    yield _Slow(shown="port 80, a header, byte by byte", first=get[:30], then=get[30:], port="plain")


def _run(target: Target, client: _Slow, within: float) -> Outcome:
    started = time.monotonic()
    if client.port == "tcp":
        connection = socket.create_connection((target.address, target.port), timeout=within)
    else:
        connection = connect(target, plain=client.port == "plain")
    end = "silence"
    with contextlib.closing(connection), contextlib.suppress(OSError):
        connection.sendall(client.first)
        left = iter(client.then)
        while time.monotonic() - started < within and end == "silence":
            if select.select([connection], [], [], PAUSE)[0] and not _goes_on(connection):
                end = "closed"
            for byte in left:
                end = _trickle(connection, byte) or end
                break
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


def _goes_on(connection: socket.socket) -> bool:
    """Return whether the connection is still open; an answer (408) may come before the end."""
    try:
        return connection.recv(1 << 16) != b""
    except OSError:
        return False


def _trickle(connection: socket.socket, byte: int) -> str:
    try:
        connection.sendall(bytes([byte]))
    except OSError:
        return "closed"
    return ""
