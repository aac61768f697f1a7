"""When the last backup, drill and renewal need somebody's attention."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from ppmctl.index.layout import Volume
from ppmctl.index.operation_result import OperationResult
from ppmctl.server import operation_health
from ppmctl.server.operation_health import Webhooks

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)


def result(name: str, *, hours: float, succeeded: bool = True) -> OperationResult:
    at = (NOW - timedelta(hours=hours)).isoformat()
    return OperationResult(
        name=name, succeeded=succeeded, detail="" if succeeded else "no space", finished=at, last_success=at
    )


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (result("backup", hours=47), []),
        (result("backup", hours=49), ["The last backup succeeded 2 days ago, at 2027-02-27T11:00:00+00:00."]),
        (result("drill", hours=24 * 8 - 1), []),
        (
            result("drill", hours=24 * 9),
            ["The last restore drill succeeded 9 days ago, at 2027-02-20T12:00:00+00:00."],
        ),
        (result("certificate", hours=24 * 60), []),
        (
            result("certificate", hours=1, succeeded=False),
            ["The last renewal of the certificate failed at 2027-03-01T11:00:00+00:00: no space."],
        ),
        (
            result("backup", hours=1, succeeded=False),
            ["The last backup failed at 2027-03-01T11:00:00+00:00: no space."],
        ),
    ],
)
def test_what_failed_or_is_too_old(made: OperationResult, expected: list[str]) -> None:
    assert operation_health.problems({made.name: made}, expects_backup=False, now=NOW) == expected


def test_a_backup_that_was_never_made_counts_only_where_one_is_expected() -> None:
    assert operation_health.problems({}, expects_backup=False, now=NOW) == []
    assert operation_health.problems({}, expects_backup=True, now=NOW) == ["No backup was ever made."]
    made = {"backup": result("backup", hours=1)}
    assert operation_health.problems(made, expects_backup=True, now=NOW) == []


def test_a_drill_that_was_never_made_counts_after_a_time() -> None:
    made = {"backup": result("backup", hours=1)}

    def found(days: int, *, expects_backup: bool = True) -> list[str]:
        since = (NOW - timedelta(days=days)).isoformat()
        return operation_health.problems(made, expects_backup=expects_backup, now=NOW, expected_since=since)

    assert found(8) == found(9, expects_backup=False) == []
    assert found(9) == ["No restore drill was ever made: ppmctl backup drill"]
    made["drill"] = result("drill", hours=1)
    assert found(9) == []


def test_webhooks_that_fail_for_long_or_are_disabled(volume: Volume) -> None:
    now = datetime.now(UTC)
    volume.webhooks.mkdir()
    assert operation_health.webhook_problems(operation_health.webhooks(volume, now)) == []
    states = {"new": (60, False), "long": (7_200, False), "off": (0, True), "good": (0, False)}
    for name, (ago, is_disabled) in states.items():
        since = now.timestamp() - ago if ago else 0
        text = json.dumps({"failing_since": since, "disabled": is_disabled, "dropped": 2})
        volume.webhook(name).write_text(text)
    for number, damaged in enumerate(("", "[]", '{"failing_since": 1}')):
        volume.webhook(f"damaged{number}").write_text(damaged)
    found = operation_health.webhooks(volume, now)
    assert found == Webhooks(failing=2, failing_long=1, disabled=1, given_up=8)
    assert operation_health.webhook_problems(found) == [
        "Webhooks: 1 have failed for an hour, 1 are disabled: ppmctl webhook list"
    ]


def test_a_result_without_a_time_of_success_is_too_old() -> None:
    odd = OperationResult(name="backup", succeeded=True, finished="x", last_success="x")
    assert len(operation_health.problems({"backup": odd}, expects_backup=False, now=NOW)) == 1
