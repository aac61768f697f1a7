"""Make a backup of a volume: bring the staged copy up to date, let restic store it, remove old snapshots."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppmctl import files
from ppmctl.backup import content, identity, staging
from ppmctl.backup.restic import Locked, NoRepository, Repository
from ppmctl.backup.snapshot import BEFORE, TAG, Keep
from ppmctl.errors import EXIT_BUSY, PpmError
from ppmctl.index.layout import Volume


class Busy(PpmError):
    """The same is being done already; this one is not recorded as a failure."""

    exit_code = EXIT_BUSY


@dataclass(frozen=True, kw_only=True)
class Created:
    """A backup that was made: its files and bytes, the bytes that were new, and the number of removed snapshots.

    `note` is why none was removed, or "".
    """

    snapshot: str
    files: int
    bytes: int
    bytes_added: int
    snapshots_removed: int
    seconds: float
    repository: str
    note: str = ""

    def figures(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "note"}


@contextlib.contextmanager
def only_one(volume: Volume) -> Iterator[int]:
    """Hold the lock of backups and restores of a volume; yield its descriptor. Raise Busy if another runs."""
    with _holding(volume.backup_lock, f"Another backup or restore of {volume.root} is running") as descriptor:
        yield descriptor


@contextlib.contextmanager
def only_drill(volume: Volume) -> Iterator[int]:
    """Hold the lock of drills in the same way."""
    with _holding(volume.drill_lock, f"Another drill for {volume.root} is running") as descriptor:
        yield descriptor


@contextlib.contextmanager
def _holding(path: Path, message: str) -> Iterator[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = files.try_lock(path)
    if descriptor is None:
        raise Busy(f"{message}; this one was not begun.", hint="Wait until it has ended.")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def create(
    volume: Volume, repository: Repository, *, keep: Keep, before_restore: bool = False, force: bool = False
) -> Created:
    """Store a snapshot, then remove those that are not to be kept. The caller holds the lock of `only_one`.

    The repository is made if it is missing. Raise PpmError, also for the cache of a bucket, and for a repository that
    has only backups of other indexes unless `force`; and OSError if the staged copy can't be written.
    """
    began = time.monotonic()
    content.require_all_files(volume)
    if not volume.restore_step.exists():  # what a restore left that was killed before it changed anything
        shutil.rmtree(volume.restoring, ignore_errors=True)
    if not before_restore and not force:
        identity.require_own(volume, repository)
    volume.backup.mkdir(mode=0o700, exist_ok=True)
    series = identity.made(volume)
    folder, tags = staging.stage(volume), (TAG, *series.tags, *((BEFORE,) if before_restore else ()))
    try:
        stored = repository.backup(folder, tags=tags)
    except NoRepository:
        _require_first(volume, repository)
        repository.make()
        stored = repository.backup(folder, tags=tags)
    if not before_restore:
        identity.record(volume, repository, stored.snapshot)
    removed, note = 0, ""
    if keep.options():
        try:
            removed = repository.forget(keep, series)
        except Locked as exc:  # the backup is good, and the next one removes them
            note = f"old snapshots stay until the next backup: {exc.message}"
        except PpmError as exc:
            message = f"The snapshot {stored.snapshot} was made, but old ones can't be removed: {exc.message}"
            raise PpmError(message, hint=exc.hint) from exc
    return Created(
        snapshot=stored.snapshot,
        files=stored.files,
        bytes=stored.size,
        bytes_added=stored.added,
        snapshots_removed=removed,
        seconds=round(time.monotonic() - began, 2),
        repository=repository.shown,
        note=note,
    )


def _require_first(volume: Volume, repository: Repository) -> None:
    """Raise PpmError if backups were made to this repository before: its disk may not be mounted."""
    if repository.shown in identity.recorded(volume):
        raise PpmError(
            f"The repository {repository.shown} is missing, and it has had backups.",
            hint="Is its disk mounted, or its bucket there? To start with an empty one: restic init",
        )
