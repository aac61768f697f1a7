"""Run checks for a limited time, and report which one is running."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ppmctl import events
from ppmctl.doctor.finding import Finding

_AT_ONCE = 0.3  # seconds; a check that ends within them shows no progress


@dataclass(frozen=True)
class _Started:
    check: str


@dataclass(frozen=True)
class _Ended:
    error: BaseException | None = None


def limited(
    run: Callable[[Callable[[str], None]], Iterator[Finding]], deadline: float, *, hint: str
) -> Iterator[Finding]:
    """Yield the findings of `run` until `deadline` (time.monotonic()); then one that names the check that runs.

    `run` gets a function that it calls with the name of each check before it starts. It runs in a thread, because a
    server that sends a byte now and then outlasts any timeout of a socket, and a search in the DNS has none.
    """
    began = time.monotonic()
    reports: queue.SimpleQueue[Finding | _Started | _Ended] = queue.SimpleQueue()

    def work() -> None:
        error = None
        try:
            for finding in run(lambda check: reports.put(_Started(check))):
                reports.put(finding)
        except BaseException as exc:  # raised again in the thread that waits
            error = exc
        reports.put(_Ended(error))

    threading.Thread(target=work, daemon=True).start()
    check = ""
    while True:
        try:
            report = _next(reports, check, deadline)
        except queue.Empty:
            yield Finding(check or "index", "fail", f"it did not end within {deadline - began:.0f} seconds", hint)
            return
        if isinstance(report, Finding):
            yield report
        elif isinstance(report, _Started):
            check = report.check
        elif report.error is not None:
            raise report.error
        else:
            return


def _next(
    reports: queue.SimpleQueue[Finding | _Started | _Ended], check: str, deadline: float
) -> Finding | _Started | _Ended:
    """Return the next report, and show progress while it takes long. Raise queue.Empty at the deadline."""
    left = max(deadline - time.monotonic(), 0)
    try:
        return reports.get(timeout=min(_AT_ONCE, left))
    except queue.Empty:
        if left <= _AT_ONCE:
            raise
    with events.progress(f"Checking {check}".strip()):
        return reports.get(timeout=max(deadline - time.monotonic(), 0))
