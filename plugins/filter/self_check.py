"""The findings of a self-check (playbooks/self_check.yml), as people read them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_WORDS = {"ok": "ok", "warn": "warning", "fail": "WRONG", "skip": "not tried"}
_INDENT = 24  # characters: of the state and the check
_LOAN = (
    "See ansible_host, ansible_user and become: ansible -i INVENTORY ppm -b -m ping. Run site.yml, which writes"
    " /usr/local/bin/ppmctl. On the host: ppmctl user list; df -h"
)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"self_check": self_check}


def self_check(results: Mapping[str, Any], token: str) -> dict[str, str]:
    """Return `report`, a line for each finding, and `wrong`: which ones say that something is, "" for none.

    `results` are what tasks registered: `lent`, `returned` (of the token), `doctors` (a list) and `release`.
    """
    findings = [*_loan(results["lent"]), *_findings(results), *_return(results, token)]
    lines = []
    for finding in findings:
        lines.append(f"{_WORDS[finding['state']]:10}{finding['check']:14}{finding['found']}")
        if finding["mend"]:
            lines.append(f"{'':{_INDENT}}→ {finding['mend']}")
    states = [finding["state"] for finding in findings]
    counts = [f"{states.count(state)} {word}" for state, word in _WORDS.items() if state in states]
    lines.append(f"{len(states)} checks: {', '.join(counts)}")
    wrong = list(dict.fromkeys(finding["check"] for finding in findings if finding["state"] == "fail"))
    said = f"{len(wrong)} checks say what is wrong and what to do, above: {'; '.join(wrong)}" if wrong else ""
    return {"report": "\n".join(lines), "wrong": said}


def _loan(lent: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    if _is_done(lent):
        yield _finding("host", "ok", "it lends a token for this run")
    else:
        yield _finding("host", "fail", f"no token could be made for this run: {_said(lent)}", _LOAN)


def _findings(results: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """What each command found; one that could not be run is a finding too, if the host can be worked on."""
    can_work = _is_done(results["lent"])
    for doctor in results["doctors"]:
        said = _document(doctor)
        if "findings" in said:
            yield from said["findings"]
        elif not doctor.get("skipped") and (can_work or not doctor.get("unreachable")):
            why = said.get("error", {}).get("message") or f"it could not be run: {_said(doctor)}"
            yield _finding("doctor", "fail", why)
    release = results["release"]
    if _is_done(release):
        yield _finding("self-check", "ok", "the release works on the host")
    elif can_work:
        said = _document(release)
        yield _finding("self-check", "fail", said.get("message") or _said(release), said.get("hint") or "")


def _document(result: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object that a command printed, {} if it printed something else."""
    try:
        found = json.loads(result.get("stdout", ""))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _return(results: Mapping[str, Any], token: str) -> Iterator[dict[str, str]]:
    returned = results["returned"]
    if _is_done(returned):
        yield _finding("token", "ok", "taken back")
    elif _is_done(results["lent"]):
        by_hand = f"By hand, on the host: ppmctl token revoke {token}; it ends by itself within an hour."
        yield _finding("token", "fail", f"it could not be taken back: {_said(returned)}", by_hand)


def _is_done(result: Mapping[str, Any]) -> bool:
    return result.get("rc") == 0


def _said(result: Mapping[str, Any]) -> str:
    """What a command complained of, in one line; never what it printed, which may be a secret."""
    said = result.get("stderr") or result.get("msg") or f"exit code {result.get('rc')}, without a word"
    return " ".join(str(said).split())[:500]


def _finding(check: str, state: str, found: str, mend: str = "") -> dict[str, str]:
    return {"check": check, "state": state, "found": found, "mend": mend}
