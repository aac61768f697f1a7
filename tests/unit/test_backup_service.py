"""Tests of the service that makes backups and drills in containers: when which one is due, and how it reports."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest

from ppmctl.errors import PpmError
from ppmctl.index import operation_result
from ppmctl.index.layout import Volume
from ppmctl.index.operation_result import BACKUP, DRILL, OperationResult

FOLDER = Path(__file__).parents[2] / "docker" / "backup"
NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STAMP = "2030-01-31T12:00:00.000000Z"


@pytest.fixture(scope="module")
def repeat() -> Iterator[ModuleType]:
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("repeat")
    finally:
        sys.path.remove(str(FOLDER))
        sys.modules.pop("repeat", None)


def ended(name: str, *, succeeded: bool = True, last_success: str = STAMP) -> dict[str, OperationResult]:
    """Return the result of an operation that ended at noon."""
    return {name: OperationResult(name=name, succeeded=succeeded, finished=STAMP, last_success=last_success)}


def test_the_first_backup_is_due_at_once_and_the_first_drill_after_it(repeat: ModuleType) -> None:
    settings = repeat.read_settings({})
    times = repeat.due({}, settings)
    assert list(times) == [BACKUP]
    assert times[BACKUP] < NOON
    failed = ended(BACKUP, succeeded=False, last_success="")
    assert list(repeat.due(failed, settings)) == [BACKUP], "there is nothing to restore"
    times = repeat.due(ended(BACKUP), settings)
    assert times[BACKUP] == NOON + DAY
    assert times[DRILL] < NOON


def test_the_next_one_is_due_after_the_interval(repeat: ModuleType) -> None:
    """A restart of the container changes nothing, because the results are on the volume."""
    results = ended(BACKUP) | ended(DRILL)
    assert repeat.due(results, repeat.read_settings({})) == {BACKUP: NOON + DAY, DRILL: NOON + 7 * DAY}
    given = {"PPM_BACKUP_EVERY": "6h", "PPM_BACKUP_DRILL_EVERY": "1d"}
    assert repeat.due(results, repeat.read_settings(given)) == {BACKUP: NOON + 6 * HOUR, DRILL: NOON + DAY}


def test_a_failed_one_is_tried_again_within_an_hour(repeat: ModuleType) -> None:
    results = ended(BACKUP, succeeded=False) | ended(DRILL, succeeded=False)
    assert repeat.due(results, repeat.read_settings({})) == {BACKUP: NOON + HOUR, DRILL: NOON + HOUR}
    often = repeat.read_settings({"PPM_BACKUP_EVERY": "10m"})
    assert repeat.due(results, often)[BACKUP] == NOON + HOUR / 6


def test_settings_become_options(repeat: ModuleType) -> None:
    assert repeat.read_settings({}).options == (
        *("--keep-daily", "7"),
        *("--keep-weekly", "5"),
        *("--keep-monthly", "12"),
    )
    none = {f"PPM_BACKUP_KEEP_{period}": "0" for period in ("DAILY", "WEEKLY", "MONTHLY")}
    assert repeat.read_settings(none).options == ()
    for wrong in ({"PPM_BACKUP_KEEP_DAILY": "many"}, {"PPM_BACKUP_EVERY": "daily"}):
        with pytest.raises(PpmError):
            repeat.read_settings(wrong)


def test_an_interval_that_is_too_long_is_shortened_with_a_warning(
    repeat: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error would end the container again and again, so that there would be no backup at all."""
    settings = repeat.read_settings({"PPM_BACKUP_EVERY": "48h", "PPM_BACKUP_DRILL_EVERY": "30d"})
    assert (settings.every, settings.drill_every) == (DAY, 7 * DAY)
    first, second = capsys.readouterr().err.splitlines()
    assert "PPM_BACKUP_EVERY is '48h': 24h is used" in first
    assert "PPM_BACKUP_DRILL_EVERY is '30d': 7d is used" in second


def test_the_health_check_names_what_failed(repeat: ModuleType, tmp_path: Path) -> None:
    volume = Volume(root=tmp_path)
    assert repeat.failures(volume) == []
    operation_result.write(volume, OperationResult(name=BACKUP, succeeded=False, detail="no such host"))
    operation_result.write(volume, OperationResult(name=DRILL, succeeded=True))
    assert repeat.failures(volume) == ["The last backup failed: no such host"]
    operation_result.write(volume, OperationResult(name=BACKUP, succeeded=True))
    assert repeat.failures(volume) == []
