"""Inspect a wheel or sdist that a stranger made, in a child process with limits (`inspector`).

Files within the limits of `budget` are read fast. One that costs too much in a way that nobody thought of ends the
child alone, and is refused with the limit. Children stay for the next file. `call` does other work on a stranger's
text in the same children.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ppmctl.distributions import budget
from ppmctl.distributions.distribution import Dist, kind_of, parse_filename
from ppmctl.distributions.environment_revision import RevisionHead
from ppmctl.distributions.metadata_rules import Fault
from ppmctl.errors import InvalidDistribution, PpmError
from ppmctl.thread_limit import ThreadLimit

_CHILDREN = min(4, os.cpu_count() or 1)  # at the same time
_INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # some Pythons need them; nothing else of the environment
_END_TAKES = 5.0  # seconds at most, of a child that was killed


class Ended(Exception):
    """The child has ended; its argument is the reason, as a predicate of the work."""


class Busy(PpmError):
    """The work was not done now, for no reason in the file or text: all children are at work, or the disk is slow."""

    status = 503

    def __init__(
        self,
        message: str = "The server checks or stores too many files at the same time: try again in a few seconds",
    ) -> None:
        super().__init__(message)


def inspect(path: Path, filename: str, *, old: bool = False, wait: float | None = None) -> Dist:
    """Read the archive at `path`, which is to be published as `filename`, within limits. `old` is that of
    `distribution.inspect`.

    Raise InvalidDistribution if it is not valid and safe, is over a limit, or is of a shared environment and not its
    revision; OSError if it can't be read; Busy if no child is free within `wait` seconds, or the disk is too slow.
    """
    kind_of(filename)  # so that no other file is read
    seconds = budget.cpu_seconds(path.stat().st_size)
    try:
        request = {"path": str(path.absolute()), "filename": filename, "old": old, "seconds": seconds}
        answer = _pool(os.getpid()).ask(request, wait=wait)
    except Ended as exc:
        raise InvalidDistribution(f"{filename}: reading it {exc.args[0]}.") from exc
    if "invalid" in answer:
        raise InvalidDistribution(answer["invalid"])
    if "errno" in answer:
        raise OSError(answer["errno"], answer["strerror"], str(path))
    revision = RevisionHead(**answer["revision"]) if answer["revision"] else None
    if revision is not None:
        from ppmctl.distributions import environment_wheel

        environment_wheel.remember_as_checked(path)
    return Dist(
        name=parse_filename(filename, project=answer["project"]),
        metadata=base64.b64decode(answer["metadata"]),
        requires_python=answer["requires_python"],
        summary=answer["summary"],
        revision=revision,
        faults=tuple(Fault(**fault) for fault in answer["faults"]),
        notes=tuple(answer["notes"]),
    )


def call(function: str, *arguments: str, seconds: int) -> str | None:
    """Return what a function returns in a child that may use `seconds` of processor time. `function` is MODULE:NAME.

    Raise Ended over a limit, or if the function raises; Busy if no child is free within `seconds`, or it is too slow.
    """
    request = {"call": function, "arguments": arguments, "seconds": seconds}
    answer = _pool(os.getpid()).ask(request, wait=seconds)
    if "failed" in answer:
        raise Ended(answer["failed"])
    text: str | None = answer["returned"]
    return text


def start(*, threads: int) -> None:
    """Start a child, so that the first file does not wait for it. `threads` are those of the server (`uploading`)."""
    pool = _pool(os.getpid())
    pool.uploads = ThreadLimit(threads, Busy)
    pool.start()


def uploading() -> contextlib.AbstractContextManager[None]:
    """Inspect an upload within, or send it to a bucket. Raise Busy if too many of the server's threads do either.

    There is one limit for both, so that a slow bucket and slow inspections together leave threads for pages. A
    thread that is within does not enter again.
    """
    return _pool(os.getpid()).uploads.working()


class _Child:
    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = (str(theirs.fileno()), str(budget.MAX_MEMORY))
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-m", "ppmctl.distributions.inspector", *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd="/",
                env={name: os.environ[name] for name in _INHERITED if name in os.environ},
                start_new_session=True,  # Ctrl-C is for the process that asks
            )
        self._connection = Connection(ours.detach())
        self._poll = select.poll()  # made once, `Connection.poll` makes one each time
        self._poll.register(self._connection.fileno(), select.POLLIN)

    @property
    def is_alive(self) -> bool:
        return not self._poll.poll(0)  # an idle child sends nothing: what can be read is its end

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request; raise Ended if there is none, Busy if it takes too long.

        Such a child can't be asked again.
        """
        try:
            self._connection.send_bytes(json.dumps(request).encode())
            limit = budget.MAX_SECONDS if "path" in request else 4 * request["seconds"]
            if not self._poll.poll(limit * 1000):
                raise Busy(f"Reading took more than {limit} seconds, the disk may be slow: try again later")
            answer: dict[str, Any] = json.loads(self._connection.recv_bytes(budget.MAX_ANSWER))
        except (EOFError, OSError) as exc:
            raise Ended(_reason(self.end(), request["seconds"])) from exc
        if "memory" in answer:
            raise Ended(f"takes more than {budget.MAX_MEMORY >> 20} MB of memory")
        if "large" in answer:
            raise Ended(f"gives more than {budget.MAX_ANSWER >> 20} MB")
        return answer

    def end(self) -> int | None:
        """End the child, if it has not ended itself; return its exit code, or None if it does not end soon."""
        self._connection.close()
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_TAKES)
        return self._process.returncode


class _Pool:
    """The children of this process: each reads one file at a time, and more files wait."""

    def __init__(self) -> None:
        self.uploads = ThreadLimit(16, Busy)  # which are inspected or sent, or wait for it
        self._slots = threading.BoundedSemaphore(_CHILDREN)
        self._idle: list[_Child] = []

    def start(self) -> None:
        self._idle.append(_Child())

    def end(self) -> None:
        while self._idle:
            self._idle.pop().end()

    def ask(self, request: dict[str, Any], *, wait: float | None = None) -> dict[str, Any]:
        """Return the answer of a child; raise Ended if there is none, Busy if none is free within `wait` seconds."""
        if not self._slots.acquire(timeout=wait):
            raise Busy
        try:
            child = self._take()
            try:
                answer = child.ask(request)
            except BaseException:
                child.end()
                raise
            self._idle.append(child)
            return answer
        finally:
            self._slots.release()

    def _take(self) -> _Child:
        while self._idle:
            child = self._idle.pop()
            if child.is_alive:
                return child
            child.end()
        return _Child()


@functools.cache
def _pool(process: int) -> _Pool:
    """Return the pool of this process: a forked one needs its own, and must leave its parent's children alone."""
    pool = _Pool()
    atexit.register(lambda: pool.end() if process == os.getpid() else None)
    return pool


def _reason(code: int | None, seconds: int) -> str:
    if code == -signal.SIGXCPU:
        return f"takes more than {seconds} seconds of processor time"
    if code == -signal.SIGKILL:
        return "takes too much memory"
    return f"ended the process that read it (code {code})"
