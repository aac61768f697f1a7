"""What a look found: one line for each check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

_WIDTH = 10  # of the first column, in characters


class State(Enum):
    OK = "ok"
    WARNING = "warning"
    WRONG = "WRONG"
    UNTRIED = "not tried"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a check came to. `remedy`: which variable to set or which command to type, where something is wrong."""

    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A verdict and what it is about."""

    what: str
    verdict: Verdict


def good(found: str) -> Verdict:
    return Verdict(state=State.OK, found=found)


def warning(found: str, remedy: str) -> Verdict:
    return Verdict(state=State.WARNING, found=found, remedy=remedy)


def wrong(found: str, remedy: str) -> Verdict:
    return Verdict(state=State.WRONG, found=found, remedy=remedy)


def untried(why: str) -> Verdict:
    return Verdict(state=State.UNTRIED, found=why)


def failed(findings: Iterable[Finding]) -> list[Finding]:
    """Those that say that something is wrong."""
    return [finding for finding in findings if finding.verdict.state is State.WRONG]


def rendered(findings: Iterable[Finding]) -> str:
    """The findings as a list for people: state, check, what was found; below it what to do."""
    listed = list(findings)
    names = max((len(finding.what) for finding in listed), default=0) + 2
    lines = []
    for finding in listed:
        verdict = finding.verdict
        lines.append(f"{verdict.state.value:{_WIDTH}}{finding.what:{names}}{verdict.found}")
        if verdict.remedy:
            lines.append(f"{'':{_WIDTH}}{'':{names}}→ {verdict.remedy}")
    return "\n".join(lines)


def summary(findings: Iterable[Finding]) -> str:
    """How many of each, in one line."""
    states = [finding.verdict.state for finding in findings]
    counts = [f"{states.count(state)} {state.value}" for state in State if state in states]
    return f"{len(states)} checks: {', '.join(counts)}"


def complaint(findings: Iterable[Finding]) -> str:
    """Which ones are wrong, in one line; "" for none."""
    listed = list(findings)
    names = [finding.what for finding in failed(listed)]
    if not names:
        return ""
    return f"{len(names)} of {len(listed)} checks say what is wrong and what to do, above: {'; '.join(names)}"
