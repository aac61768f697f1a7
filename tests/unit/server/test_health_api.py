"""The server's own answers about its health: cached, made once for many requests, and without names of files."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from ppmctl.errors import Refused
from ppmctl.index.layout import Volume
from ppmctl.index.store import Store
from ppmctl.server import health
from ppmctl.server.health_api import HealthApi, WriteCheck


def asked(api: HealthApi, path: str) -> str:
    response = api.answer(Request(EnvironBuilder(path=path).get_environ()))
    assert response is not None
    return response.get_data(as_text=True)


def test_both_answers_of_a_healthy_volume(store: Store) -> None:
    store.write_root()
    api = HealthApi(store.volume)
    assert (asked(api, "/healthz"), asked(api, "/healthz/write")) == ("ok\n", "ok\n")
    assert list(store.volume.incoming.iterdir()) == []
    assert api.answer(Request(EnvironBuilder(path="/healthz/other").get_environ())) is None


def test_the_reason_has_no_name_of_a_file(store: Store) -> None:
    api, volume = HealthApi(store.volume), store.volume
    (volume.incoming / ".health").mkdir()
    for path, reason in (
        ("/healthz", "The pages can't be read"),
        ("/healthz/write", "The volume can't be written: Is a directory"),
    ):
        with pytest.raises(Refused) as refused:
            asked(api, path)
        assert (refused.value.status, refused.value.message) == (503, reason)


@pytest.mark.parametrize(("free", "reason"), [(99 << 20, "The volume has too little free space"), (101 << 20, "")])
def test_too_little_free_space(store: Store, monkeypatch: pytest.MonkeyPatch, free: int, reason: str) -> None:
    class Space:
        f_frsize, f_blocks, f_bavail, f_files, f_flag = 1, 1 << 40, free, 0, 0

    monkeypatch.setattr(health.os, "statvfs", lambda _path: Space())
    assert health.write_problem(store.volume) == reason


def test_a_read_only_volume(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class ReadOnly:
        f_flag = health.os.ST_RDONLY

    monkeypatch.setattr(health.os, "statvfs", lambda _path: ReadOnly())
    assert health.write_problem(store.volume) == "The volume is mounted read-only"


class Tried:
    """A check whose attempts are counted, and wait for `go`."""

    def __init__(self, volume: Volume, *, timeout: float = 30.0) -> None:
        self.now = 1000.0
        self.number, self.reason, self.go = 0, "", threading.Event()
        self.check = WriteCheck(volume, problem=self.attempt, clock=lambda: self.now, timeout=timeout)

    def attempt(self, _volume: Volume) -> str:
        self.number += 1
        self.go.wait(30)
        return self.reason


def test_many_requests_at_once_make_one_attempt(volume: Volume) -> None:
    tried = Tried(volume)
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(tried.check.problem) for _number in range(20)]
        tried.go.set()
        assert {answer.result() for answer in answers} == {""}
    assert tried.number == 1
    tried.reason = "full"
    tried.now += 4.9
    assert (tried.check.problem(), tried.number) == ("", 1)
    tried.now += 0.2
    assert (tried.check.problem(), tried.number) == ("full", 2)


def test_an_attempt_that_hangs_is_not_repeated_and_holds_no_thread(volume: Volume) -> None:
    tried = Tried(volume, timeout=0.05)
    late = "The volume does not answer within 0.05 seconds"
    assert tried.check.problem() == late
    tried.now += 60
    assert [tried.check.problem() for _number in range(5)] == [late] * 5
    assert tried.number == 1


def test_an_attempt_that_raises_is_a_reason(volume: Volume) -> None:
    def broken(_volume: Volume) -> str:
        raise ZeroDivisionError

    assert WriteCheck(volume, problem=broken).problem() == "The volume can't be checked: ZeroDivisionError"
