"""Clients that never retry, each repeating one action, and counts of what an event costs them.

They only contact hosts that a test started; the number of requests of each is bounded.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path

import requests

from support.raw import basic
from support.streams import Made

_CHANGING = frozenset({"date"})  # headers that differ between equal answers
_WAIT_SECONDS = 120.0
_PIECES = 20  # pieces of a body that is sent slowly


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A complete answer; header names are lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    def __str__(self) -> str:
        return f"{self.status} {self.reason} {self.body[:200]!r}"

    def without(self, *names: str) -> Reply:
        """Return a copy without some headers."""
        return replace(self, headers={name: value for name, value in self.headers.items() if name not in names})


@dataclass(frozen=True, kw_only=True)
class Wire:
    """Sends requests to one index by name, each on a new connection to its address; none is repeated.

    Without a TLS context it uses plain HTTP.
    """

    domain: str
    address: str
    context: ssl.SSLContext | None
    auth: tuple[str, str]
    port: int = 443

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        is_signed: bool = True,
        timeout: float = 120,
    ) -> Reply:
        """Send one request, with or without the credential; raise OSError or HTTPException if it is lost."""
        connection = _Connection(self, timeout)
        signed = {"Authorization": basic(*self.auth)} if is_signed else {}
        try:
            connection.request(method, path, body, {**signed, "Connection": "close", **(headers or {})})
            answer = connection.getresponse()
            content = answer.read()
            named = {name.lower(): value for name, value in answer.headers.items() if name.lower() not in _CHANGING}
            return Reply(status=answer.status, reason=answer.reason, headers=named, body=content)
        finally:
            connection.close()

    def upload(self, made: Made, *, is_signed: bool = True, seconds: float = 0.0) -> Reply:
        """Upload a distribution as twine does, without retries; sending it takes `seconds`."""
        form = {":action": "file_upload", "protocol_version": "1", "sha256_digest": made.sha256}
        prepared = requests.Request("POST", "http://x/", data=form, files={"content": made.file}).prepare()
        assert isinstance(prepared.body, bytes)
        body = _slowly(prepared.body, seconds) if seconds else prepared.body
        return self.ask("POST", "/", body=body, headers=dict(prepared.headers), is_signed=is_signed)


class Kept:
    """Reads a page over one connection, again and again, as long as answers let it; never asks a second time."""

    def __init__(self, wire: Wire, path: str) -> None:
        self._connection, self._path = _Connection(wire, 60), path
        self._headers = {"Authorization": basic(*wire.auth)}
        self._answers = 0

    def __call__(self, _number: int) -> None:
        if self._connection.sock is None:
            self._answers = 0
        try:
            self._connection.request("GET", self._path, headers=self._headers)
            answer = self._connection.getresponse()
            assert (answer.status, bool(answer.read())) == (200, True)
            self._answers += 1
        except (OSError, HTTPException) as exc:
            self.close()
            raise ConnectionError(f"{exc}, after {self._answers} answers over the connection") from exc

    def close(self) -> None:
        self._connection.close()


def wire(domain: str, address: str, ca: Path, auth: tuple[str, str]) -> Wire:
    """Return a wire to the host at an IP address, whose certificate must chain to the root in `ca` (PEM)."""
    return Wire(domain=domain, address=address, context=ssl.create_default_context(cafile=str(ca)), auth=auth)


def _slowly(body: bytes, seconds: float) -> Iterator[bytes]:
    size = -(-len(body) // _PIECES)
    for begin in range(0, len(body), size):
        yield body[begin : begin + size]
        time.sleep(seconds / _PIECES)


class _Connection(http.client.HTTPConnection):
    def __init__(self, wire: Wire, timeout: float) -> None:
        self.default_port = wire.port  # a default port is not in the Host header
        super().__init__(wire.domain, timeout=timeout)
        self._wire = wire

    def connect(self) -> None:
        plain = socket.create_connection((self._wire.address, self._wire.port), timeout=self.timeout)
        if self._wire.context is None:
            self.sock = plain
            return
        try:
            self.sock = self._wire.context.wrap_socket(plain, server_hostname=self._wire.domain)
        except BaseException:
            plain.close()
            raise


@dataclass(frozen=True, kw_only=True)
class Read:
    """A request that is answered from disk. `written_again`: its page may be rewritten with the same content."""

    path: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    is_signed: bool = True
    written_again: bool = False

    def ask(self, wire: Wire) -> Reply:
        reply = wire.ask(self.method, self.path, headers=dict(self.headers), is_signed=self.is_signed)
        return reply.without("etag", "last-modified") if self.written_again else reply


class Reads:
    """Requests and the answers that they must get, byte for byte."""

    def __init__(self, wire: Wire, reads: Iterable[Read]) -> None:
        self._wire = wire
        self.answers = {read: read.ask(wire) for read in reads}
        self._order = list(self.answers)

    def ask(self, number: int) -> None:
        """Send one of them; fail unless the answer is the recorded one."""
        read = self._order[number % len(self._order)]
        got, before = read.ask(self._wire), self.answers[read]
        assert got == before, f"{read.method} {read.path} {dict(read.headers)}: {got!r}, and it was {before!r}"

    def ask_all(self) -> None:
        for number in range(len(self._order)):
            self.ask(number)


class Stream(threading.Thread):
    """A client that repeats a task, numbered from 0, with a pause in between, at most `most` times."""

    def __init__(self, kind: str, task: Callable[[int], object], *, pause: float = 0.0, most: int = 100_000) -> None:
        super().__init__(name=kind, daemon=True)
        self.kind = kind
        self.failures: list[str] = []
        self.spans: list[tuple[float, float]] = []
        self._task = task
        self._pause = pause
        self._most = most
        self._over = threading.Event()

    def run(self) -> None:
        for number in range(self._most):
            if self._over.is_set():
                return
            began = time.monotonic()
            try:
                self._task(number)
            except Exception as exc:
                self.failures.append(f"{self.kind} {number}, {time.strftime('%X')}: {type(exc).__name__}: {exc}")
            self.spans.append((began, time.monotonic()))
            self._over.wait(self._pause)
        self.failures.append(f"{self.kind}: over before the event, after {self._most}")

    def finish(self) -> None:
        """Stop it after its current task."""
        self._over.set()

    def during(self, begin: float, end: float) -> list[tuple[float, float]]:
        """Return begin and end of each task that was running between two moments."""
        return [span for span in self.spans if span[1] >= begin and span[0] <= end]


@contextlib.contextmanager
def keeping(wire: Wire, path: str, *, pause: float = 0.002) -> Iterator[list[Stream]]:
    """Return four streams that read a page, each over a connection that it keeps."""
    clients = [Kept(wire, path) for _ in range(4)]
    try:
        yield [Stream("kept", each, pause=pause) for each in clients]
    finally:
        for each in clients:
            each.close()


@contextlib.contextmanager
def running(streams: Sequence[Stream]) -> Iterator[None]:
    """Run them during the block: each does a task before the block, and one that begins after it."""
    for stream in streams:
        stream.start()
    try:
        _wait(lambda: all(stream.spans for stream in streams), streams)
        yield
        end = time.monotonic()
        _wait(lambda: all(stream.spans[-1][0] > end for stream in streams), streams)
    finally:
        for stream in streams:
            stream.finish()
        for stream in streams:
            stream.join()


def settle(streams: Sequence[Stream]) -> None:
    """Wait until each stream has ended the task that is running now, so that no task meets two events."""
    before = [len(stream.spans) for stream in streams]
    _wait(lambda: all(len(one.spans) > ended for one, ended in zip(streams, before, strict=True)), streams)


def _wait(condition: Callable[[], bool], streams: Sequence[Stream]) -> None:
    until = time.monotonic() + _WAIT_SECONDS
    while not condition():
        assert time.monotonic() < until, [(stream.kind, len(stream.spans), stream.failures) for stream in streams]
        time.sleep(0.01)


@dataclass(frozen=True, kw_only=True)
class Row:
    """The cost of an event, by kind of client: tasks running during it, failures, and the longest task's seconds."""

    event: str
    times: int
    seconds: float
    done: Mapping[str, int]
    failed: Mapping[str, int]
    longest: Mapping[str, float]
    failures: tuple[str, ...]


def during(name: str, event: Callable[[], object], streams: Sequence[Stream], *, least: Mapping[str, int]) -> Row:
    """Run `event` under the streams, repeatedly until `least` tasks of each kind were running during it."""
    with running(streams):
        times, begin, end = _repeat(event, streams, least)
    return _row(name, streams, times, begin, end)


def during_one_of_several(
    name: str, event: Callable[[], object], streams: Sequence[Stream], *, least: Mapping[str, int]
) -> Row:
    """Do the same with streams that are already running and keep running for the next event.

    The row has all failures so far. A task that was running at the end of the event may fail later.
    """
    return _row(name, streams, *_repeat(event, streams, least))


def failures(streams: Sequence[Stream]) -> tuple[str, ...]:
    return tuple(failure for stream in streams for failure in stream.failures)


def _repeat(
    event: Callable[[], object], streams: Sequence[Stream], least: Mapping[str, int]
) -> tuple[int, float, float]:
    """Return how often the event ran, and when the first began and the last ended."""
    times = 0
    begin = end = time.monotonic()
    while not times or any(_count(streams, kind, begin, end) < number for kind, number in least.items()):
        event()
        times += 1
        end = time.monotonic()
    return times, begin, end


def _row(name: str, streams: Sequence[Stream], times: int, begin: float, end: float) -> Row:
    kinds = sorted({stream.kind for stream in streams})
    spans = {
        kind: [span for stream in streams if stream.kind == kind for span in stream.during(begin, end)]
        for kind in kinds
    }
    return Row(
        event=name,
        times=times,
        seconds=end - begin,
        done={kind: len(spans[kind]) for kind in kinds},
        failed={kind: len(failures([stream for stream in streams if stream.kind == kind])) for kind in kinds},
        longest={kind: max((after - before for before, after in spans[kind]), default=0.0) for kind in kinds},
        failures=failures(streams),
    )


def _count(streams: Sequence[Stream], kind: str, begin: float, end: float) -> int:
    return sum(len(stream.during(begin, end)) for stream in streams if stream.kind == kind)


def table(rows: Sequence[Row]) -> list[str]:
    """Return the rows as lines: for each kind of client the number of tasks, failures, and the longest wait."""
    kinds = sorted({kind for row in rows for kind in row.done})
    lines = [f"{'event':24} {'times':>5} {'seconds':>8}" + "".join(f"  {kind:>22}" for kind in kinds)]
    for row in rows:
        cells = [
            f"{row.done[kind]}, {row.failed[kind]} failed, {row.longest[kind]:.1f} s" if kind in row.done else "-"
            for kind in kinds
        ]
        lines.append(f"{row.event:24} {row.times:5} {row.seconds:8.1f}" + "".join(f"  {cell:>22}" for cell in cells))
    return lines
