"""The streams of a command that runs elsewhere: what is typed here goes there, what it says there is said here."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import select
import shutil
import signal
import sys
import termios
import threading
import tty
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from ppmctl import output

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_PIECE = 1 << 16  # bytes that are read at once
_WAITING = 64  # pieces of output that wait for a slow reader here
_MOST_INTERRUPTS = 3  # Ctrl-C so often: what is there does not answer, and is left alone
_INTERRUPT_KEY = b"\x03"


@dataclass(frozen=True, kw_only=True)
class Terminal:
    """What a terminal there is to look like; sizes in characters."""

    kind: str
    columns: int
    lines: int


def terminal(environ: Mapping[str, str]) -> Terminal | None:
    """The terminal that this process has, if all three of its streams are one.

    A terminal there is one stream: what is sent to a file here must not be mixed with what is said beside it.
    """
    if not all(os.isatty(stream) for stream in (_STDIN, _STDOUT, _STDERR)):
        return None
    columns, lines = _size()
    return Terminal(kind=environ.get("TERM") or "dumb", columns=columns, lines=lines)


class Running(ABC):
    """A command that runs elsewhere. What it says is put by `said`, from any thread; the end of it by `ended`."""

    def __init__(self) -> None:
        self._said: queue.Queue[tuple[bool, bytes] | None] = queue.Queue(_WAITING)

    def said(self, data: bytes, *, error: bool) -> None:
        self._said.put((error, data))

    def ended(self) -> None:
        self._said.put(None)

    def hear(self) -> tuple[bool, bytes] | None:
        """What it says next, and whether on stderr; None when it has said all. On a terminal all is stdout."""
        return self._said.get()

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Give it input, all of it. OSError where it has ended."""

    @abstractmethod
    def end_input(self) -> None:
        """Let its input be at its end."""

    @abstractmethod
    def resize(self, columns: int, lines: int) -> None:
        """Let its terminal be of this size."""

    @abstractmethod
    def code(self) -> int:
        """Its exit code, when it has said all; 128 and the signal's number where one ended it, as shells have it."""

    @abstractmethod
    def close(self) -> None:
        """Leave it alone."""


def capture(running: Running, data: bytes = b"") -> tuple[int, bytes, bytes]:
    """Give a command `data` as its input and wait for its end: its exit code, and what it said on both streams."""

    def feed() -> None:
        with contextlib.suppress(OSError):  # it has ended, and said why
            running.send(data)
            running.end_input()

    said: dict[bool, list[bytes]] = {False: [], True: []}
    try:
        threading.Thread(target=feed, daemon=True).start()
        while heard := running.hear():
            error, piece = heard
            said[error].append(piece)
        return running.code(), b"".join(said[False]), b"".join(said[True])
    finally:
        running.close()


def relay(
    running: Running,
    *,
    with_terminal: bool,
    marker: bytes = b"",
    names: Mapping[bytes, bytes] | None = None,
    interrupt: Callable[[int, int], None],
) -> int:
    """Let this process's streams be those of a command until it ends; its exit code.

    What stands before `marker` on its stdout is no part of it; after the marker and on its line is its process id.
    Its texts `names` appear here as what they are mapped to. Signals to this process go to it: `interrupt` gets
    its process id and the signal's number; on a terminal the key is sent instead. KeyboardInterrupt where that is
    of no use.
    """
    start = _Start(marker)
    filters = {error: _Renamed(names or {}) for error in (False, True)}

    def pass_on(number: int) -> None:
        if with_terminal:
            running.send(_INTERRUPT_KEY)
        elif start.process is not None:
            interrupt(start.process, number)

    try:
        with _signals(pass_on), _keyboard(running, raw=with_terminal):
            while heard := running.hear():
                error, piece = heard
                if not error:
                    piece = start.strip(piece)
                _say(filters[error].feed(piece), error=error)
            for error, rest in filters.items():
                _say(rest.end(), error=error)
        return running.code()
    finally:
        running.close()


def _say(data: bytes, *, error: bool) -> None:
    if data:
        output.raw(data, error=error)


@contextlib.contextmanager
def _signals(pass_on: Callable[[int], None]) -> Iterator[None]:
    """Give signals that would end this process to the command instead."""
    times = itertools.count(1)

    def handle(number: int, _frame: types.FrameType | None) -> None:
        if next(times) >= _MOST_INTERRUPTS:
            raise KeyboardInterrupt
        # not here: what it interrupts may hold the lock that it needs
        threading.Thread(target=_quietly, args=(pass_on, number), daemon=True).start()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _quietly(pass_on: Callable[[int], None], number: int) -> None:
    with contextlib.suppress(Exception):  # it has ended, or is not to be reached; both are said where its end is
        pass_on(number)


@contextlib.contextmanager
def _keyboard(running: Running, *, raw: bool) -> Iterator[None]:
    """Send what comes from stdin; with `raw` each key as it is typed, and each new size of the terminal."""
    wake, waker = os.pipe()
    thread = threading.Thread(target=_send_input, args=(running, wake), daemon=True)
    with contextlib.ExitStack() as stack:
        if raw:
            stack.enter_context(_raw())
            stack.enter_context(_sizes(running))
        thread.start()
        try:
            yield
        finally:
            os.close(waker)
            thread.join(timeout=1)  # longer where the other side takes no more input
            if not thread.is_alive():
                os.close(wake)


def _send_input(running: Running, wake: int) -> None:
    try:
        # where there was no stdin at the start its number is by now something else's
        while sys.stdin is not None:
            ready, _, _ = select.select([_STDIN, wake], [], [])
            if wake in ready:
                return
            data = os.read(_STDIN, _PIECE)
            if not data:
                break
            running.send(data)
    except OSError:  # nobody there reads it
        pass
    with contextlib.suppress(OSError):
        running.end_input()


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    before = termios.tcgetattr(_STDIN)
    tty.setraw(_STDIN, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _sizes(running: Running) -> Iterator[None]:
    def handle(_number: int, _frame: types.FrameType | None) -> None:
        threading.Thread(target=_quietly, args=(lambda _: running.resize(*_size()), 0), daemon=True).start()

    before = signal.signal(signal.SIGWINCH, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def _size() -> tuple[int, int]:
    columns, lines = shutil.get_terminal_size()
    return columns, lines


class _Start:
    """The start of what a command says on stdout: a shell's start-up files may have said something before."""

    def __init__(self, marker: bytes) -> None:
        self._marker = marker
        self._buffer = b""
        self._passed = not marker
        self.process: int | None = None

    def strip(self, piece: bytes) -> bytes:
        if self._passed:
            return piece
        self._buffer += piece
        _, found, rest = self._buffer.partition(self._marker)
        line, ended, rest = rest.partition(b"\n")
        if not found or not ended:
            return b""
        self._passed, self._buffer = True, b""
        self.process = int(line)
        return rest


class _Renamed:
    """A stream in which names of there are those of here, also where one comes in pieces."""

    def __init__(self, names: Mapping[bytes, bytes]) -> None:
        self._names = names
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        data = self._held + piece
        for there, here in self._names.items():
            data = data.replace(there, here)
        begun = _begun(data, self._names)
        data, self._held = data[: len(data) - begun], data[len(data) - begun :]
        return data

    def end(self) -> bytes:
        rest, self._held = self._held, b""
        return rest


def _begun(data: bytes, names: Iterable[bytes]) -> int:
    """How many bytes at the end of `data` may be the beginning of one of `names`."""
    longest = max(map(len, names), default=1) - 1
    tails = range(min(longest, len(data)), 0, -1)
    return next((size for size in tails if any(name.startswith(data[-size:]) for name in names)), 0)
