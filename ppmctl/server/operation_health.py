"""Decide from the last results of backup, drill, renewal and webhooks whether something has to be done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ppmctl.errors import NOT_SUCH_JSON
from ppmctl.index.layout import Volume
from ppmctl.index.operation_result import BACKUP, CERTIFICATE, DRILL, OperationResult

NOUNS = {BACKUP: "backup", DRILL: "restore drill", CERTIFICATE: "renewal of the certificate"}
# how old the last success may be: backups are made daily, drills weekly. certbot does nothing on most days.
OLDEST = {BACKUP: timedelta(hours=48), DRILL: timedelta(days=8)}

# how long a webhook may fail, and how old the state of one that fails or is disabled may be: it was removed then
_MAY_FAIL, _OLDEST_STATE = timedelta(hours=1), timedelta(minutes=30)


@dataclass(frozen=True, kw_only=True)
class Webhooks:
    """How many webhooks fail, some of them for an hour, and are disabled, and how many events were given up."""

    failing: int = 0
    failing_long: int = 0
    disabled: int = 0
    given_up: int = 0


def webhooks(volume: Volume, now: datetime) -> Webhooks:
    """Add up the states that the sender of webhooks stores (`ppmctl.webhooks.state`). Raise OSError."""
    failing = failing_long = disabled = given_up = 0
    for path in volume.webhooks.glob("*.json"):
        try:
            values = json.loads(path.read_bytes())
            is_old = path.stat().st_mtime < (now - _OLDEST_STATE).timestamp()
            since, is_disabled = float(values["failing_since"]), values["disabled"] is True
            given_up += int(values["dropped"])
        except (FileNotFoundError, *NOT_SUCH_JSON):  # the sender repairs it
            continue
        disabled += is_disabled and not is_old
        failing += since > 0 and not is_old
        failing_long += 0 < since <= (now - _MAY_FAIL).timestamp() and not is_old
    return Webhooks(failing=failing, failing_long=failing_long, disabled=disabled, given_up=given_up)


def webhook_problems(found: Webhooks) -> list[str]:
    """Return a sentence if webhooks are disabled or have failed for an hour."""
    if not found.failing_long and not found.disabled:
        return []
    return [
        f"Webhooks: {found.failing_long} have failed for an hour, {found.disabled} are disabled: ppmctl webhook list"
    ]


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
