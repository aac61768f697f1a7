"""What ppmctl asks of a real restic: which snapshots it keeps, and which it removes. No index runs."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ppmctl.backup.restic import Repository
from ppmctl.backup.snapshot import BEFORE, BEFORE_DAYS, TAG, Keep
from ppmctl.secret import Secret

PASSWORD = "correct horse battery staple"


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    """Return a folder to back up."""
    folder = tmp_path / "staged"
    (folder / "packages").mkdir(parents=True)
    (folder / "packages" / "file").write_text("content")
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(str(tmp_path / "repository"), Secret(PASSWORD), cache=tmp_path / "cache", environ=os.environ)
    made.make()
    return made


def back_up(staged: Path, *tags: str, days_ago: float = 0) -> None:
    """Make a snapshot of an earlier time, which ppmctl never does."""
    taken = f"{datetime.now(UTC) - timedelta(days=days_ago):%Y-%m-%d %H:%M:%S}"
    command = ["restic", "-r", str(staged.parent / "repository"), "backup", ".", "--host", "ppm", "--time", taken]
    environ = {**os.environ, "RESTIC_PASSWORD": PASSWORD, "TZ": "UTC"}
    subprocess.run([*command, "--tag", ",".join(tags)], cwd=staged, env=environ, check=True, capture_output=True)


def test_what_restores_replaced_is_kept_for_90_days(repository: Repository, staged: Path) -> None:
    """Two of one day too; backups follow their own rules."""
    back_up(staged, TAG, BEFORE, days_ago=BEFORE_DAYS + 1)
    for days_ago in (BEFORE_DAYS - 1, 0.001, 0):
        back_up(staged, TAG, BEFORE, days_ago=days_ago)
    for _ in range(3):
        repository.backup(staged, tags=[TAG])
    assert repository.forget(Keep(daily=1)) == 3
    assert [snapshot.kind for snapshot in repository.snapshots()] == [BEFORE, BEFORE, BEFORE, "backup"]
