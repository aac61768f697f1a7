"""What the worker does where the main loop can't answer; tests/e2e/test_front.py has its answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from ppmctl.server.worker import Worker


class Broken:
    def answer(self, *_arguments: Any, **_options: Any) -> NoReturn:
        raise ZeroDivisionError


def test_a_bug_in_the_main_loop_is_logged_and_leaves_the_request_to_the_application(
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker: Any = Worker.__new__(Worker)
    worker.alive = True
    worker._front, worker._unsent, worker.cfg = Broken(), 0, SimpleNamespace(threads=2)
    assert worker._answer(b"GET / HTTP/1.1\r\n\r\n") is None
    assert "ZeroDivisionError" in caplog.text
