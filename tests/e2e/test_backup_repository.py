"""What ppmctl asks of a real restic: which snapshots it keeps, and which it removes. No index runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ppmctl.backup.restic import Repository
from ppmctl.backup.snapshot import BEFORE, BEFORE_DAYS, TAG, Keep, Series
from ppmctl.errors import PpmError
from ppmctl.secret import Secret

OWN = Series(index="i", volume="here")
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
    back_up(staged, TAG, *OWN.tags, BEFORE, days_ago=BEFORE_DAYS + 1)
    for days_ago in (BEFORE_DAYS - 1, 0.001, 0):
        back_up(staged, TAG, *OWN.tags, BEFORE, days_ago=days_ago)
    for _ in range(3):
        repository.backup(staged, tags=[TAG, *OWN.tags])
    assert repository.forget(Keep(daily=1), OWN) == 3
    assert [snapshot.kind for snapshot in repository.snapshots()] == [BEFORE, BEFORE, BEFORE, "backup"]


def test_snapshots_of_another_volume_are_never_removed(repository: Repository, staged: Path) -> None:
    """It may be the live index, and this one a machine on which a restore was rehearsed."""
    others = [(), Series(index="i", volume="live").tags, Series(index="j", volume="other").tags]
    for tags in others:
        back_up(staged, TAG, *tags, BEFORE, days_ago=BEFORE_DAYS + 1)
        repository.backup(staged, tags=[TAG, *tags])
        repository.backup(staged, tags=[TAG, *tags])
    for _ in range(2):
        repository.backup(staged, tags=[TAG, *OWN.tags])
    assert repository.forget(Keep(daily=1), OWN) == 1
    left = [snapshot.series for snapshot in repository.snapshots()]
    assert left.count(OWN) == 1
    assert len(left) == 3 * len(others) + 1


@pytest.mark.parametrize("removable", [True, False])
def test_the_snapshot_of_a_backup_that_could_not_read_all_files_is_removed(
    repository: Repository, staged: Path, tmp_path: Path, removable: bool
) -> None:
    """It would be the latest, and lack files."""
    programs, real = tmp_path / "bin", shutil.which("restic")
    programs.mkdir()
    refusal = "" if removable else '[ "$1" = forget ] && { echo "Fatal: append-only" >&2; exit 1; }\n'
    # restic 0.14 makes the snapshot, and then exits with 3
    unread = f'[ "$1" = backup ] && {{ {real} "$@"; echo "error: read file: input/output error" >&2; exit 3; }}\n'
    (programs / "restic").write_text(f'#!/bin/sh\n{refusal}{unread}exec {real} "$@"\n')
    (programs / "restic").chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    unreadable = Repository(
        str(tmp_path / "repository"), Secret(PASSWORD), cache=None, environ={**os.environ, "PATH": path}
    )
    with pytest.raises(PpmError, match="input/output error; the incomplete snapshot") as raised:
        unreadable.backup(staged, tags=[TAG])
    assert ("append-only" in raised.value.message) is not removable
    assert len(repository.snapshots()) == (0 if removable else 1)
