"""Rehearse a restore: fetch the latest backup to scratch space, check all of it, serve it, install from it.

Nothing of it touches the volume, except that the result is recorded.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ppmctl import events
from ppmctl.access import accounts, credential_files
from ppmctl.access.account import Actor
from ppmctl.backup import content, drill_environments, drill_index, identity, scratch, staging
from ppmctl.backup.drill_environments import Checked
from ppmctl.backup.restic import Repository
from ppmctl.backup.snapshot import Snapshot, choose
from ppmctl.errors import PpmError, some
from ppmctl.index import recovery, verify
from ppmctl.index.layout import Volume
from ppmctl.index.rebuild import rebuild
from ppmctl.index.store import Store
from ppmctl.storage import configured

_USER = "ppm-drill"
_UNPACKED = 5  # times the size of a wheel: the download, and its files


@dataclass(kw_only=True)
class Drilled:
    """What a drill did, up to where it ended."""

    snapshot: str = ""
    snapshot_time: str = ""
    projects: int = 0
    files: int = 0
    bytes: int = 0
    installed: int = 0
    environments: int = 0
    locked_files: int = 0
    restore_seconds: float = 0.0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, int | float | str]:
        """Return the numbers, for health and metrics."""
        return {name: value for name, value in vars(self).items() if not isinstance(value, list)}

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


def drill(
    volume: Volume, repository: Repository, done: Drilled, *, folder: Path, sample: int, environ: Mapping[str, str]
) -> None:
    """Restore the latest backup of a volume below `folder` and try it; `done` gets what was done.

    `sample` is the number of packages that are installed. Raise PpmError for the first fault; nothing is left behind.
    The caller holds the lock of `create.only_drill`.
    """
    began = time.monotonic()
    with scratch.folder(folder) as top:
        snapshot = identity.latest(volume, repository)
        done.notes += _unclear(repository.snapshots())
        done.snapshot, done.snapshot_time = snapshot.id, snapshot.time
        scratch.require_space(top, repository.size_of(snapshot), is_shared=True)
        events.note(f"Restoring the snapshot {snapshot.described} to {top}.")
        root = top / scratch.VOLUME
        repository.restore(snapshot, root)
        staging.require_all_counted(root)
        configured.stay_alone(root)
        store = _rebuilt(Volume(root=root), done)
        done.restore_seconds = round(time.monotonic() - began, 2)
        _check_index(store)
        environments = drill_environments.check(store, volume, taken=snapshot.time)
        done.environments, done.locked_files = len(environments.names), environments.locked_files
        done.notes += environments.notes
        _use(store, top, done, environments, sample=sample, environ=environ)
    done.seconds = round(time.monotonic() - began, 2)


def _unclear(snapshots: Sequence[Snapshot]) -> list[str]:
    """Return why an empty host would not know which snapshot to restore, as one line; nothing if it would."""
    try:
        choose(snapshots, None)
    except PpmError as exc:
        return [f"a restore on an empty host would need --snapshot: {exc.message}"]
    return []


def _rebuilt(copy: Volume, done: Drilled) -> Store:
    """Check the restored files, and make what is derived from them. Raise PpmError for what a restore would lack."""
    if not copy.packages.is_dir():
        raise PpmError(f"The snapshot {done.snapshot} is not of an index.")
    found = content.compare(copy)
    done.projects, done.files, done.bytes = found.projects, found.files, found.bytes
    if found.problems:
        raise PpmError(f"The backup has damaged files: {some(found.problems)}.", hint="ppmctl index check")
    copy.prepare()
    store = Store(copy)
    recovery.repair(store)
    rebuilt = rebuild(store)
    store.area.close()
    if rebuilt.problems:
        raise PpmError(f"The index of the backup can't be made: {some(rebuilt.problems)}.")
    credential_files.ensure_htpasswd(copy)
    accounts.prune(copy)
    return store


def _check_index(store: Store) -> None:
    events.note("Checking the restored index.")
    differences = [f"{item.where} {item.what}" for item in verify.check(store, hashes=True)]
    if differences:
        raise PpmError(f"The restored index has {len(differences)} differences: {some(differences)}.")


def _use(
    store: Store, top: Path, done: Drilled, environments: Checked, *, sample: int, environ: Mapping[str, str]
) -> None:
    """Serve the restored index, resolve its environments, and install packages from it."""
    name = _free_name(store.volume)
    issued = accounts.create_user(store.volume, Actor(name=_USER, origin="here"), name, role="reader")
    chosen = drill_index.choose(store, sample, random.Random())
    scratch.require_space(top, _UNPACKED * sum(each.size for each in chosen), is_shared=True)
    with drill_index.served(store.volume, top, issued, environ) as index:
        for environment in environments.served:
            index.require_list(environment)
        for project, hashes in environments.pinned.items():
            index.require_files(project, hashes)
        if chosen:
            events.note(f"Installing {len(chosen)} packages from the restored index.")
            done.installed = index.install(chosen)


def _free_name(volume: Volume) -> str:
    names = {account.access.name for account in accounts.accounts(volume)}
    return next(name for number in range(len(names) + 1) if (name := f"{_USER}-{number}") not in names)
