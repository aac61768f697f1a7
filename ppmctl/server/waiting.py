"""Connections that wait without a thread: until a request has arrived, or until a client reads its last answer.

gunicorn's worker gives each new connection to a thread, which waits for the request, and its main loop waits where it
closes a connection. A few clients that send a byte now and then would hold all threads, or the loop. Here the loop
receives what comes, and a thread gets a request when its headers and a small body are there. Only a larger body is
read by a thread, after it has authenticated the client.
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

STALLED_AFTER = 60.0  # seconds in which a client sends no byte of a large body, or reads none of its answer
ARRIVES_WITHIN = 20.0  # seconds for all headers and a small body, however many bytes come
MAX_HEAD = 32 << 10  # bytes of the request line and the headers, as in nginx
MAX_SMALL_BODY = 64 << 10  # bytes; every request without a credential has less
# What a refused client still sends is dropped up to these limits, because many read the answer only after sending.
LEAVES_WITHIN = 15.0  # seconds
MAX_REST = 256 << 20  # bytes

_HEAD_AT_ONCE = 8 << 10  # bytes, as gunicorn reads: what is read of a large upload is copied once more
_AT_ONCE = 1 << 16
_LOOK_EVERY = 0.2  # seconds
_END = b"\r\n\r\n"
_BARE_LF = re.compile(rb"(?<!\r)\n")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)
_FRAMING = re.compile(rb"\r\n(?:content-length|transfer-encoding)[ \t]*:", re.IGNORECASE)
_EXPECTS = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)
_GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(Protocol):
    """A client's connection, as gunicorn has it."""

    sock: socket.socket

    def close(self) -> None: ...


@dataclass(eq=False, kw_only=True)
class _Wait:
    """A connection that waits `until` a time of the monotonic clock."""

    connection: Connection
    until: float

    def read(self, size: int = _AT_ONCE) -> bytes | None:
        """Return what has arrived, b"" at the end of the connection, None if nothing has arrived yet."""
        try:
            return self.connection.sock.recv(size)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""


@dataclass(eq=False, kw_only=True)
class _Arriving(_Wait):
    """A request that arrives. `size` is what has to be there, None while its headers are not complete."""

    received: bytearray = field(default_factory=bytearray)
    size: int | None = None
    expects: bool = False  # a client that sends its body only after "100 Continue"

    def add(self, chunk: bytes) -> None:
        seen = max(len(self.received) - len(_END) + 1, 0)
        self.received += chunk
        if self.size is not None:
            return
        end = self.received.find(_END, seen)
        if end >= 0:
            head = bytes(self.received[: end + 2])
            self.size = end + len(_END) + _small_body(head)
            self.expects = len(self.received) < self.size and _EXPECTS.search(head) is not None
        elif _BARE_LF.search(self.received, seen):
            self.size = 0  # gunicorn refuses it without waiting for more

    @property
    def is_whole(self) -> bool:
        return self.size is not None and len(self.received) >= self.size

    @property
    def is_too_large(self) -> bool:
        return self.size is None and len(self.received) > MAX_HEAD


@dataclass(eq=False, kw_only=True)
class _Leaving(_Wait):
    """A connection that ends; `left` bytes more are read and dropped."""

    left: int


class Waiting:
    """The waiting connections of a server. All methods are called in its main loop.

    `hand_over` gets a connection whose request has arrived, with the bytes received; `closed` is called after each
    connection that was closed here.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        hand_over: Callable[[Any, bytes], None],
        closed: Callable[[], None],
    ) -> None:
        self._selector = selector
        self._hand_over = hand_over
        self._closed = closed
        self._waits: dict[_Wait, None] = {}  # the longest wait first
        self._next_look = 0.0
        self._idle_until = float("inf")

    def receive(self, connection: Connection, received: bytes = b"") -> None:
        """Wait for the next request, of which these bytes have arrived."""
        arriving = _Arriving(connection=connection, until=time.monotonic() + ARRIVES_WITHIN)
        arriving.add(received)
        self._add(arriving, lambda _sock: self._receive(arriving))
        self._receive(arriving)

    def leave(self, connection: Connection) -> None:
        """Close a connection after its last answer, once the client has read that, or has closed it."""
        leaving = _Leaving(connection=connection, until=time.monotonic() + LEAVES_WITHIN, left=MAX_REST)
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the client has gone
            self._close(leaving)
            return
        self._add(leaving, lambda _sock: self._drop(leaving))
        self._drop(leaving)

    def close_late(self) -> None:
        """Close the connections whose time is over."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_EVERY
        for wait in [wait for wait in self._waits if now >= min(wait.until, self._latest(wait))]:
            if isinstance(wait, _Arriving) and wait.received:
                self._refuse(wait, f"408 The request did not arrive within {ARRIVES_WITHIN:g} seconds")
            else:
                self._close(wait)

    def close_oldest(self, number: int) -> None:
        """Close the connections that have waited longest, to make room for others."""
        for wait in list(self._waits)[:number]:
            self._close(wait)

    def stop(self, until: float) -> None:
        """Close connections without a request at this time of the monotonic clock, because the server ends."""
        self._idle_until = until
        self._next_look = 0.0

    def _latest(self, wait: _Wait) -> float:
        is_idle = isinstance(wait, _Leaving) or (isinstance(wait, _Arriving) and not wait.received)
        return self._idle_until if is_idle else wait.until

    def _receive(self, arriving: _Arriving) -> None:
        while not arriving.is_whole:
            if arriving.is_too_large:
                is_line = b"\n" not in arriving.received
                self._refuse(arriving, "414 The URL is too long" if is_line else "431 The headers are too large")
                return
            if arriving.expects:
                arriving.expects = False
                self._send(arriving, _GO_ON)
            chunk = arriving.read(_HEAD_AT_ONCE if arriving.size is None else _AT_ONCE)
            if chunk is None:
                return
            if not chunk and arriving.size is not None:
                break  # the client sends no more, and may want an answer: nobody has to wait for the body
            if not chunk:
                self._close(arriving)
                return
            arriving.add(chunk)
        self._remove(arriving)
        self._hand_over(arriving.connection, bytes(arriving.received))

    def _drop(self, leaving: _Leaving) -> None:
        chunk = leaving.read()
        if chunk is None:
            return
        leaving.left -= len(chunk)
        if not chunk or leaving.left <= 0:
            self._close(leaving)

    def _refuse(self, arriving: _Arriving, status: str) -> None:
        body = f"{status.partition(' ')[2]}\n"
        headers = f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close"
        self._send(arriving, f"HTTP/1.1 {status}\r\n{headers}\r\n\r\n{body}".encode("ascii"))
        self._remove(arriving)
        self.leave(arriving.connection)

    def _send(self, wait: _Wait, answer: bytes) -> None:
        try:
            wait.connection.sock.send(answer)  # a few bytes, which fit into the empty buffer of the connection
        except OSError:
            return

    def _add(self, wait: _Wait, read: Callable[[object], None]) -> None:
        wait.connection.sock.setblocking(False)
        self._selector.register(wait.connection.sock, selectors.EVENT_READ, read)
        self._waits[wait] = None

    def _remove(self, wait: _Wait) -> None:
        if wait in self._waits:
            del self._waits[wait]
            self._selector.unregister(wait.connection.sock)

    def _close(self, wait: _Wait) -> None:
        self._remove(wait)
        wait.connection.close()
        self._closed()


def _small_body(head: bytes) -> int:
    """Return the length of a body that is small enough to wait for it, else 0."""
    length = _LENGTH.search(head)
    if length is None or len(_FRAMING.findall(head)) != 1:
        return 0  # no body, or one of unknown size, or a request that gunicorn refuses
    return int(length[1]) if int(length[1]) <= MAX_SMALL_BODY else 0
