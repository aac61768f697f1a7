"""Checks end at their deadline, and the one that did not end is named."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from ppmctl.cli.doctor import doctor
from ppmctl.doctor.finding import Finding
from ppmctl.doctor.time_limit import limited

OK = Finding("dns", "ok", "it has an address")


def test_all_findings_are_yielded_in_their_order() -> None:
    def run(started: Callable[[str], None]) -> Iterator[Finding]:
        for name in "abc":
            started(name)
            yield Finding(name, "ok", "x")

    assert [each.check for each in limited(run, time.monotonic() + 60, hint="")] == ["a", "b", "c"]


def test_at_the_deadline_the_running_check_is_named() -> None:
    stuck = threading.Event()

    def run(started: Callable[[str], None]) -> Iterator[Finding]:
        started("dns")
        yield OK
        started("url")
        stuck.wait()
        yield Finding("url", "ok", "too late")

    findings = list(limited(run, time.monotonic() + 1, hint="wait longer"))
    stuck.set()
    assert findings == [OK, Finding("url", "fail", "it did not end within 1 seconds", "wait longer")]


def test_an_error_of_a_check_is_raised() -> None:
    def run(started: Callable[[str], None]) -> Iterator[Finding]:
        started("dns")
        yield OK
        raise ZeroDivisionError

    findings = limited(run, time.monotonic() + 60, hint="")
    assert next(findings) == OK
    with pytest.raises(ZeroDivisionError):
        next(findings)


def test_doctor_ends_within_thirty_seconds_by_default() -> None:
    assert {parameter.name: parameter.default for parameter in doctor.params}["timeout"] == 30
