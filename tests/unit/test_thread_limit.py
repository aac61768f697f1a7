"""Work that takes long uses half of a server's threads, a quarter waits for it, and the others are refused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ppmctl import thread_limit
from ppmctl.errors import PpmError
from ppmctl.thread_limit import ThreadLimit


class Refusal(PpmError):
    """What the limit raises."""

    def __init__(self) -> None:
        super().__init__("Too much to do")


@pytest.mark.parametrize(("threads", "working", "waiting"), [(2, 1, 0), (4, 2, 1), (16, 8, 4)])
def test_half_of_the_threads_work_and_a_quarter_waits(threads: int, working: int, waiting: int) -> None:
    limit, refused, goes_on = ThreadLimit(threads, Refusal), threading.Semaphore(0), threading.Event()

    def work() -> bool:
        try:
            with limit.working():
                return goes_on.wait(20)
        except Refusal:
            refused.release()
            return False

    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(work) for _number in range(threads)]
        for _number in range(threads - working - waiting):
            assert refused.acquire(timeout=10)
        assert not refused.acquire(timeout=0.05)
        goes_on.set()
        assert sum(job.result(20) for job in jobs) == working + waiting


def test_a_burst_of_short_work_is_done() -> None:
    limit, together = ThreadLimit(16, Refusal), threading.Barrier(16)

    def work() -> None:
        together.wait(20)
        with limit.working():
            threading.Event().wait(0.01)

    with ThreadPoolExecutor(16) as pool:
        for job in [pool.submit(work) for _number in range(16)]:
            job.result(20)


def test_a_thread_that_waits_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_limit, "_PATIENCE", 0.01)
    limit = ThreadLimit(4, Refusal)
    with limit.working(), limit.working(), pytest.raises(Refusal), limit.working():
        pass
    with limit.working():
        pass
