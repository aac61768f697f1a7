"""Decide from the last results of backup, drill and renewal whether something has to be done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from ppmctl.index.operation_result import BACKUP, CERTIFICATE, DRILL, OperationResult

NOUNS = {BACKUP: "backup", DRILL: "restore drill", CERTIFICATE: "renewal of the certificate"}
# how old the last success may be: backups are made daily, drills weekly. certbot does nothing on most days.
OLDEST = {BACKUP: timedelta(hours=48), DRILL: timedelta(days=8)}


def problems(
    results: Mapping[str, OperationResult], *, expects_backup: bool, now: datetime, expected_since: str = ""
) -> list[str]:
    """Return a sentence for each operation that failed or did not succeed for too long.

    Where backups are expected, also if none was ever made, or for too long no drill.
    """
    found = []
    for name, result in results.items():
        if not result.succeeded:
            found.append(
                f"The last {NOUNS[name]} failed at {result.finished}: {result.detail or 'no reason is known'}."
            )
        elif name in OLDEST and (age := _age(result.last_success, now)) > OLDEST[name]:
            found.append(f"The last {NOUNS[name]} succeeded {age.days} days ago, at {result.last_success}.")
    if expects_backup and BACKUP not in results:
        found.append("No backup was ever made.")
    if expects_backup and DRILL not in results and expected_since and _age(expected_since, now) > OLDEST[DRILL]:
        found.append("No restore drill was ever made: ppmctl backup drill")
    return found


def moment(text: str) -> datetime | None:
    """Return the time in a result's file, or None for "" and anything that is no time."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        return None
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def _age(success: str, now: datetime) -> timedelta:
    return now - at if (at := moment(success)) is not None else timedelta.max
