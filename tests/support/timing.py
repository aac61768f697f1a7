"""Measure where the time of a test run goes: each test's seconds, and the processor's share of them.

Set-up, call and tear-down of each test are measured separately. Processor time is that of the test's process and of
its children that have ended; containers belong to the engine, and count only in the machine's total.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pluggy
import pytest

PHASES = ("setup", "call", "teardown")
FILES_SHOWN = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--timing", metavar="FILE", help="print a table of where the time went; write all of it as JSON")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Store the processor time at the beginning, for the first phase to subtract."""
    item.stash[_before] = _processor_seconds()
    yield


_before = pytest.StashKey[float]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pluggy.Result[Any], None]:
    """Add the processor seconds of a phase to its report, which also reaches the process that prints."""
    outcome = yield
    now = _processor_seconds()
    report = outcome.get_result()
    report.processor_seconds = now - item.stash[_before]
    item.stash[_before] = now


def _processor_seconds() -> float:
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _machine_seconds() -> float:
    """Return the seconds that all processors of this machine have worked since it started."""
    user, nice, system, _idle, _waiting, irq, softirq = map(
        int, Path("/proc/stat").read_text().partition("\n")[0].split()[1:8]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


_began = pytest.StashKey[tuple[float, float]]()


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[_began] = (time.monotonic(), _machine_seconds())


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    path = config.getoption("--timing")
    if not path:
        return
    measured = [
        {
            "test": report.nodeid,
            "phase": report.when,
            "seconds": round(report.duration, 3),
            "processor": round(report.processor_seconds, 3),
        }
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) in PHASES and hasattr(report, "processor_seconds")
    ]
    began, worked = config.stash[_began]
    wall, machine = time.monotonic() - began, _machine_seconds() - worked
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps({"wall": wall, "machine": machine, "tests": measured}, indent=1))
    terminalreporter.write_sep("=", "where the time went")
    for line in table(measured, wall=wall, machine=machine):
        terminalreporter.write_line(line)


def table(measured: list[dict[str, Any]], *, wall: float, machine: float) -> Iterator[str]:
    """Yield the lines of the table: the slowest files, seconds by phase, and the processor's part."""
    files: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for one in measured:
        of_file = files[one["test"].partition("::")[0]]
        of_file[one["phase"]] += one["seconds"]
        of_file["processor"] += one["processor"]
    total = {file: sum(phases[phase] for phase in PHASES) for file, phases in files.items()}
    yield f"{'file':44} {'seconds':>8} {'setup':>7} {'call':>7} {'end':>6} {'processor':>10}"
    for file in sorted(files, key=lambda file: -total[file])[:FILES_SHOWN]:
        phases = files[file]
        yield (
            f"{file:44} {total[file]:8.0f} {phases['setup']:7.0f} {phases['call']:7.0f} {phases['teardown']:6.0f}"
            f" {phases['processor']:10.0f}"
        )
    every = sum(total.values())
    own = sum(phases["processor"] for phases in files.values())
    yield f"{'all ' + str(len(files)) + ' files':44} {every:8.0f} {'':22} {own:10.0f}"
    yield f"{wall:.0f} s in all; this machine's processors worked {machine:.0f} s, containers included"
