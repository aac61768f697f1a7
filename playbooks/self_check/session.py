"""One run from the loan of the credentials to their return."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from self_check import publishing, run
from self_check.findings import Finding, State
from self_check.host import Loan, Run, certificate, forgotten_releases, remove_releases
from self_check.settings import PUBLISHER, Settings


def check(settings: Settings, on_host: Run, nonce: str) -> list[Finding]:
    """Try everything, take away what that needed, and say what was found: all of it, not the first fault alone.

    What was lent and published goes also where this is interrupted.
    """
    loan = Loan(on_host, nonce)
    stored: dict[str, bool] = {}
    findings = []
    try:
        findings.append(loan.take())
        publisher = loan.credentials.get(PUBLISHER)
        seen = replace(settings, served=certificate(on_host))
        found, look = run.arrive(seen, loan.credentials, stored)
        findings += found
        was_published = settings.version in stored
        if look and publisher:
            stored |= dict.fromkeys(forgotten_releases(publishing.filenames(look), datetime.now(UTC)), False)
        findings += remove_releases(on_host, stored)
        returned = loan.give_back(PUBLISHER)
        findings += returned
        if look and publisher:
            is_revoked = all(finding.verdict.state is State.OK for finding in returned)
            findings += run.leave(look, was_published=was_published, revoked=publisher if is_revoked else None)
    finally:
        findings += remove_releases(on_host, stored)
        findings += loan.end()
    return findings
