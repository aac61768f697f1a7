"""What the worker does where the main loop can't answer; tests/e2e/test_front.py has its answers."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, NoReturn

import pytest
from gunicorn.config import Config

from ppmctl.server import access_log
from ppmctl.server.access_log import RequestLogger
from ppmctl.server.front import Answer
from ppmctl.server.watchdog import Pulse
from ppmctl.server.worker import Worker


class Broken:
    def answer(self, *_arguments: Any, **_options: Any) -> NoReturn:
        raise ZeroDivisionError


def answering(front: Any) -> Any:
    """Return a worker whose main loop answers with `front`."""
    worker: Any = Worker.__new__(Worker)
    worker.alive, worker._front, worker._unsent, worker.cfg = True, front, 0, SimpleNamespace(threads=2)
    worker.log = RequestLogger.__new__(RequestLogger)
    worker.log.cfg = Config()
    return worker


def test_a_bug_in_the_main_loop_is_logged_and_leaves_the_request_to_the_application(
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = answering(Broken())
    assert worker._answer(b"GET / HTTP/1.1\r\n\r\n") is None
    assert "ZeroDivisionError" in caplog.text


def test_an_answer_of_the_main_loop_tells_nothing_about_the_threads() -> None:
    """The watchdog restarts a server whose threads are all stuck, also while it sends pages."""
    worker = answering(SimpleNamespace(answer=lambda *_arguments, **_options: "answer"))
    worker.app = SimpleNamespace(pulse=Pulse())
    assert worker._answer(b"GET / HTTP/1.1\r\n\r\n") == "answer"
    assert worker.app.pulse.beats == 0


def test_the_main_loop_does_not_wait_for_the_one_who_reads_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pager that pauses would stop the whole server, which gunicorn kills then, with all uploads."""
    worker = answering(SimpleNamespace(answer=lambda *_arguments, **_options: "answer"))
    ours, theirs = os.pipe()
    with open(ours, "rb", buffering=0) as output, open(theirs, "wb", buffering=0) as stdout:
        monkeypatch.setattr(access_log, "_STDOUT", stdout.fileno())
        stdout.write(bytes(fcntl.fcntl(stdout, fcntl.F_GETPIPE_SZ)))
        assert worker._answer(b"") == "answer", "nothing is printed"
        worker.log.cfg.set("accesslog", "-")
        assert worker._answer(b"") is None
        output.read(1 << 16)
        assert worker._answer(b"") == "answer"


class Sending:
    """A worker that sends an answer whose body is a file of 1,000 bytes, with a head of four bytes."""

    def __init__(self, file: BinaryIO, connection: socket.socket) -> None:
        self.logged: list[dict[str, Any]] = []
        self.worker: Any = Worker.__new__(Worker)
        self.worker._unsent = 0
        self.worker._waiting = SimpleNamespace(leave=None)
        self.worker.log = SimpleNamespace(write=lambda **values: self.logged.append(values))
        self.worker.tpool = ThreadPoolExecutor(1)
        self.worker.method_queue = SimpleNamespace(defer=lambda *_arguments: None)
        self.connection = SimpleNamespace(sock=connection, client=("", 0))
        about: Any = SimpleNamespace(path="/x", user="ann", agent="")
        began = time.perf_counter() - 40
        self.answer = Answer(
            content=b"head", file=file, status=200, length=1000, client=about, target=about, began=began
        )


@pytest.mark.parametrize("size", [1000, 200])
def test_a_file_that_became_shorter_ends_its_connection(tmp_path: Path, size: int) -> None:
    """Its client still waits for the rest, and would take the next answer for it."""
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    ours, theirs = socket.socketpair()
    with ours, theirs, path.open("rb") as file:
        sending = Sending(file, ours)
        assert sending.worker._send_rest(sending.connection, sending.answer, 0) is (size == 1000)
    assert [values["sent"] for values in sending.logged] == [1000 if size == 1000 else 0]
    assert sending.logged[0]["seconds"] >= 40, "with the time of sending, as the application's"


def test_a_file_is_sent_where_its_file_system_has_no_sendfile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread sends it as Python does. A connection that was closed after the head would be a download cut short."""

    def without(*_arguments: object) -> NoReturn:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "sendfile", without)
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    ours, theirs = socket.socketpair()
    with ours, theirs, path.open("rb") as file:
        ours.setblocking(False)
        sending = Sending(file, ours)
        assert not sending.worker._sends(sending.connection, sending.answer)
        sending.worker.tpool.shutdown()
        assert theirs.recv(2000, socket.MSG_DONTWAIT) == b"head" + b"x" * 1000
    assert [values["sent"] for values in sending.logged] == [1000]
