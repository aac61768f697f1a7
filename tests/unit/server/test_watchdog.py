"""When the watchdog reports that a server is ready and alive; the server's answers are scripted."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import pytest

from ppmctl.server.watchdog import ALIVE, READY, Pulse, Watchdog


class Ended(Exception):
    """The script has ended."""


class Bench:
    """A watchdog with scripted answers, which records its reports, timeouts and pauses instead of waiting."""

    def __init__(self, *answers: bool, interval: float | None = 20, stopping: bool = False) -> None:
        self.answers = list(answers)
        self.reports: list[str] = []
        self.timeouts: list[float] = []
        self.pauses: list[float] = []
        self.pulse = Pulse()
        self.dog = Watchdog(
            notify=self.reports.append,
            ask=self.ask,
            pulse=self.pulse,
            interval=interval,
            is_stopping=lambda: stopping,
            sleep=self.pauses.append,
        )

    def ask(self, timeout: float) -> bool:
        self.timeouts.append(timeout)
        if not self.answers:
            raise Ended
        return self.answers.pop(0)


def test_ready_is_sent_at_the_first_answer_and_alive_at_each_later_one() -> None:
    bench = Bench(False, False, True, True, False, True)
    with pytest.raises(Ended):
        bench.dog.run()
    assert bench.reports == [READY, ALIVE, ALIVE]
    # half the interval after an answer; at once after none, because little time is left
    assert bench.pauses == [0.1, 0.1, 10, 0.1, 10]
    assert bench.timeouts[3:] == [5, 5, 5, 5]


def test_without_an_interval_only_ready_is_sent() -> None:
    bench = Bench(True, interval=None)
    bench.dog.run()
    assert bench.reports == [READY]


def test_a_server_whose_threads_are_busy_with_uploads_is_alive() -> None:
    """Uploads can take longer than the watchdog's interval; each piece that arrives is progress."""
    bench = Bench(False, False, False)
    read = []

    def application(environ: dict[str, Any], _start: object) -> Iterable[bytes]:
        body = environ["wsgi.input"]
        read.append(body.read(3))
        yield b"started"
        read.append(body.readline() + body.read())

    answer = iter(bench.pulse.of(application)({"wsgi.input": io.BytesIO(b"one\ntwo")}, lambda *_: lambda _b: None))
    assert bench.dog.look(1)  # a request started
    assert not bench.dog.look(1)
    next(answer)
    assert bench.dog.look(1)
    assert list(answer) == []
    assert read == [b"one", b"\ntwo"]


def test_a_server_that_is_stopping_is_alive_without_being_asked() -> None:
    bench = Bench(stopping=True)
    assert bench.dog.look(1)
    assert bench.reports == [ALIVE]
    assert bench.timeouts == []
