"""Format the findings of playbooks/self_check.yml for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_WORDS = {"ok": "ok", "warn": "warning", "fail": "WRONG", "skip": "not tried"}
_INDENT = 24  # characters: the columns of the state and the check
_HOST_HINT = (
    "See ansible_host, ansible_user and become: ansible -i INVENTORY ppm -b -m ping. Run site.yml, which writes"
    " /usr/local/bin/ppmctl. On the host: ppmctl user list; df -h"
)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"self_check": self_check}


def self_check(results: Mapping[str, Any], token: str) -> dict[str, str]:
    """Return `report`, a line for each finding, and `wrong`, which names the checks that failed, or "".

    `results` are registered by tasks: `lent` and `returned` (the token), `doctors` (a list) and `release`.
    """
    findings = list(_findings(results, token))
    lines = []
    for finding in findings:
        lines.append(f"{_WORDS[finding['state']]:10}{finding['check']:14}{finding['found']}")
        if finding["repair"]:
            lines.append(f"{'':{_INDENT}}→ {finding['repair']}")
    states = [finding["state"] for finding in findings]
    counts = [f"{states.count(state)} {word}" for state, word in _WORDS.items() if state in states]
    lines.append(f"{len(states)} checks: {', '.join(counts)}")
    wrong = list(dict.fromkeys(finding["check"] for finding in findings if finding["state"] == "fail"))
    summary = f"Failed checks, see above: {'; '.join(wrong)}" if wrong else ""
    return {"report": "\n".join(lines), "wrong": summary}


def _findings(results: Mapping[str, Any], token: str) -> Iterator[dict[str, str]]:
    """Yield all findings. Without a token the host can't be checked, and the errors that follow are left out."""
    can_work = results["lent"].get("rc") == 0
    yield _step("host", results["lent"], "it made a token for this run", _HOST_HINT)
    for doctor in results["doctors"]:
        document = _document(doctor)
        if "findings" in document:
            yield from document["findings"]
        elif not doctor.get("skipped") and (can_work or not doctor.get("unreachable")):
            yield _step("doctor", doctor, "")
    if can_work:
        by_hand = f"On the host: ppmctl token revoke {token}; it expires within an hour."
        yield _step("self-check", results["release"], "the release works on the host")
        yield _step("token", results["returned"], "revoked", by_hand)


def _step(check: str, result: Mapping[str, Any], done: str, hint: str = "") -> dict[str, str]:
    """Return the finding of a command; if it failed, with one line of its error. Its output can have a secret."""
    if result.get("rc") == 0:
        return {"check": check, "state": "ok", "found": done, "repair": ""}
    document = _document(result)
    error = document.get("error", document)
    why = error.get("message") or result.get("stderr") or result.get("msg") or f"exit code {result.get('rc')}"
    reason = " ".join(str(why).split())[:500]
    return {"check": check, "state": "fail", "found": reason, "repair": error.get("hint") or hint}


def _document(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON object that a command printed, or {}."""
    try:
        document = json.loads(result.get("stdout", ""))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
