"""When a server says that it is ready and alive, without a server."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import pytest

from ppmctl.server.watchdog import ALIVE, READY, Pulse, Watchdog


class Ended(Exception):
    """Enough was seen."""


class Bench:
    """A watchdog whose questions are answered by a script, which ends it, and whose time is a list of pauses."""

    def __init__(self, *answers: bool, interval: float | None = 20, stopping: bool = False) -> None:
        self.answers = list(answers)
        self.said: list[str] = []
        self.patience: list[float] = []
        self.pauses: list[float] = []
        self.pulse = Pulse()
        self.dog = Watchdog(
            notify=self.said.append,
            ask=self.ask,
            pulse=self.pulse,
            interval=interval,
            is_stopping=lambda: stopping,
            sleep=self.pauses.append,
        )

    def ask(self, patience: float) -> bool:
        self.patience.append(patience)
        if not self.answers:
            raise Ended
        return self.answers.pop(0)


def test_ready_comes_with_the_first_answer_and_alive_with_each_later_one() -> None:
    bench = Bench(False, False, True, True, False, True)
    with pytest.raises(Ended):
        bench.dog.run()
    assert bench.said == [READY, ALIVE, ALIVE]
    # half the interval after an answer, and at once where there was none, for there is not much time left
    assert bench.pauses == [0.1, 0.1, 10, 0.1, 10]
    assert bench.patience[3:] == [5, 5, 5, 5]


def test_without_an_interval_it_ends_with_ready() -> None:
    bench = Bench(True, interval=None)
    bench.dog.run()
    assert bench.said == [READY]


def test_threads_that_are_busy_with_uploads_are_not_stuck() -> None:
    """All of them may hold large uploads for longer than the watchdog waits; each piece that arrives counts."""
    bench = Bench(False, False, False)
    read = []

    def application(environ: dict[str, Any], _start: object) -> Iterable[bytes]:
        body = environ["wsgi.input"]
        read.append(body.read(3))
        yield b"begun"
        read.append(body.readline() + body.read())

    answer = iter(bench.pulse.of(application)({"wsgi.input": io.BytesIO(b"one\ntwo")}, lambda *_: lambda _b: None))
    assert bench.dog.look(1)  # a request began
    assert not bench.dog.look(1)
    next(answer)
    assert bench.dog.look(1)
    assert list(answer) == []
    assert read == [b"one", b"\ntwo"]


def test_a_server_that_ends_is_not_asked_and_is_alive() -> None:
    bench = Bench(stopping=True)
    assert bench.dog.look(1)
    assert bench.said == [ALIVE]
    assert bench.patience == []
