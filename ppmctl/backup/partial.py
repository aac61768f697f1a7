"""Bring one project, one environment or the credentials back from a snapshot into an existing volume.

A project keeps what it has: files that are missing or damaged come back, those that were removed since do not.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from ppmctl import files
from ppmctl.access import accounts, audit_log, credential_files, nginx_htpasswd
from ppmctl.access.account import Actor
from ppmctl.backup import content, identity, restore
from ppmctl.backup.restic import Repository
from ppmctl.backup.snapshot import choose
from ppmctl.distributions.environment_revision import PREFIX, normalise
from ppmctl.errors import PpmError
from ppmctl.index import pages, project_folder, quarantine
from ppmctl.index.layout import (
    ATTESTATIONS,
    METADATA,
    PROVENANCE,
    RECORD,
    ROOT_MARK,
    SERVED,
    TOMBSTONE,
    YANKED,
    Volume,
)
from ppmctl.index.project_folder import Folder, StoredFile
from ppmctl.index.store import Store

_NOT_BACK = "was removed since, and does not come back"
_DAMAGED = "is damaged in the backup too"


@dataclass(kw_only=True)
class ProjectRestored:
    """What a restore of a project did, by names of files: `left` maps those left out to the reason."""

    snapshot: str
    project: str
    restored: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CredentialsRestored:
    """A restore of the credentials: how many there are now, and the snapshot of those that were replaced."""

    snapshot: str
    credentials: int
    before: str


def environment(name: str) -> str:
    """Return the project with the revisions of an environment. Raise UsageError for an invalid name."""
    return PREFIX + normalise(name)


def project(store: Store, repository: Repository, actor: Actor, name: str, *, wanted: str | None) -> ProjectRestored:
    """Bring back the files of a project that are missing or damaged. A server may run.

    The caller holds the lock of `create.only_one`. Raise PpmError if the snapshot does not have the project.
    """
    volume = store.volume
    content.require_truth(volume)
    volume.project(name)  # a valid name
    snapshot = choose(repository.snapshots(), wanted, index=identity.of(volume).index)
    only = (f"/packages/{name}", f"/quarantine/{name}")
    new = restore.fetch(volume, repository, snapshot, only=only)
    try:
        if not new.project(name).is_dir():
            raise PpmError(f"The snapshot {snapshot.described} has no project {name!r}.", hint="ppmctl backup list")
        done = ProjectRestored(snapshot=snapshot.id, project=name)
        done.left |= dict.fromkeys(content.compare(new).damaged, _DAMAGED)
        _merge(store, new, name, done)
    finally:
        restore.drop(volume)
    note = f"snapshot {snapshot.id} of {snapshot.time[:19]}, {len(done.restored)} files"
    result = audit_log.done([note])
    audit_log.write(volume, action=restore.AUDITED, by=actor.name, origin=actor.origin, what=name, result=result)
    return done


def _merge(store: Store, new: Volume, name: str, done: ProjectRestored) -> None:
    backed_up = project_folder.read(new, name) or Folder(project=name)
    volume, is_new = store.volume, not store.has_project(name)
    with store.locked(name):
        store.settle(name)
        pages.mark(volume, name)
        if is_new:
            pages.mark(volume, ROOT_MARK)
            store.root_is_old.set()
        volume.project(name).mkdir(exist_ok=True)
        _restore_status(volume, new, name, is_new=is_new)
        for filename in backed_up.removed:
            _bury(volume, new, name, filename)
        for file in backed_up.files:
            if file.filename not in done.left:
                _bring_back(volume, new, name, file, done)
        quarantine.place(volume, name)
        files.sync_folder(volume.project(name))
        pages.refresh(volume, name)
        pages.unmark(volume, name)
    store.changes.add(name)


def _restore_status(volume: Volume, new: Volume, name: str, *, is_new: bool) -> None:
    """Bring back the status of a project that is missing, or whose status can't be read."""
    try:
        project_folder.read_status(volume, name)
    except project_folder.BrokenRecord:
        volume.status(name).unlink()
        is_new = True
    if is_new and new.status(name).exists():
        new.status(name).replace(volume.status(name))


def _bury(volume: Volume, new: Volume, name: str, filename: str) -> None:
    """Bring back a tombstone that is missing, unless the file is there."""
    tombstone = volume.side_file(name, filename, TOMBSTONE)
    if not tombstone.exists() and not project_folder.locate(volume, name, filename).exists():
        new.side_file(name, filename, TOMBSTONE).replace(tombstone)


def _bring_back(volume: Volume, new: Volume, name: str, file: StoredFile, done: ProjectRestored) -> None:
    path = project_folder.locate(volume, name, file.filename)
    if volume.side_file(name, file.filename, TOMBSTONE).exists():
        done.left[file.filename] = _NOT_BACK
        return
    if path.exists() and (sha256 := files.sha256_of(path)) != file.record.sha256:
        if sha256 == _recorded(volume, name, file.filename):
            done.left[file.filename] = "has been published with other content since"
            return
        path.unlink()
    if path.exists() and _recorded(volume, name, file.filename) == file.record.sha256:
        done.same.append(file.filename)
        return
    home = _home(volume, name)
    is_missing = not path.exists()
    for suffix in (METADATA, ATTESTATIONS, PROVENANCE, RECORD, *((YANKED,) if is_missing else ())):
        source = project_folder.locate(new, name, file.filename + suffix)
        if source.exists():
            folder = home if suffix in SERVED else volume.project(name)
            source.replace(folder / (file.filename + suffix))
    if is_missing:
        project_folder.locate(new, name, file.filename).replace(home / file.filename)
    done.restored.append(file.filename)


def _home(volume: Volume, name: str) -> Path:
    """Return the folder for a project's files, which are not served while it is quarantined."""
    if not project_folder.read_status(volume, name).is_quarantined:
        return volume.project(name)
    for folder in (volume.quarantine, volume.quarantined(name)):
        folder.mkdir(mode=0o700, exist_ok=True)
    return volume.quarantined(name)


def _recorded(volume: Volume, name: str, filename: str) -> str:
    try:
        return project_folder.read_record(volume, name, filename).sha256
    except (FileNotFoundError, project_folder.BrokenRecord):
        return ""


def credentials(
    volume: Volume, repository: Repository, actor: Actor, *, wanted: str | None, force: bool
) -> CredentialsRestored:
    """Replace all users and tokens by those of a snapshot, after a backup of them. A server may run.

    Raise PpmError, and change nothing, if there are credentials and not `force`.
    """
    content.require_truth(volume)
    if content.has_credentials(volume) and not force:
        raise PpmError(
            f"{volume.root} has credentials, which a restore would replace; nothing was changed.",
            hint="To back them up and then replace them: --force. What was revoked since would work again.",
        )
    snapshot = choose(repository.snapshots(), wanted, index=identity.of(volume).index)
    before = restore.save(volume, repository) if content.has_credentials(volume) else ""
    only = (f"/{volume.credentials.name}", f"/{volume.first_credential.name}", f"/{volume.first_netrc.name}")
    new = restore.fetch(volume, repository, snapshot, only=only)
    try:
        if not new.credentials.is_dir():
            raise PpmError(f"The snapshot {snapshot.described} has no credentials.", hint="ppmctl backup list")
        _replace_credentials(volume, new)
    finally:
        restore.drop(volume)
    accounts.prune(volume)
    result = audit_log.done([f"snapshot {snapshot.id} of {snapshot.time[:19]}"])
    audit_log.write(
        volume, action=restore.AUDITED, by=actor.name, origin=actor.origin, what="credentials", result=result
    )
    return CredentialsRestored(snapshot=snapshot.id, credentials=len(accounts.accounts(volume)), before=before)


def _replace_credentials(volume: Volume, new: Volume) -> None:
    """Take out all hashes, then change rights, then add the hashes: nobody has more rights in between."""
    with volume.locked(volume.credentials_lock):
        nginx_htpasswd.remove_lines(volume, [""] * nginx_htpasswd.PARTS)
        nginx_htpasswd.remove_limited(volume, ())
        for path in (volume.htpasswd, volume.disabled):
            if path.exists():
                files.write_atomic(path, b"", mode=path.stat().st_mode & 0o777, sync=True)
        for folder in (volume.sessions, volume.login_links):
            shutil.rmtree(folder, ignore_errors=True)
        last = (new.disabled.name, new.htpasswd.name)
        names = [name for name in os.listdir(new.credentials) if (new.credentials / name).is_file()]
        for name in (*(each for each in names if each not in last), *(each for each in last if each in names)):
            restore.put_credential_file(new.credentials / name, volume.credentials / name)
        if volume.invites.name not in names:
            volume.invites.unlink(missing_ok=True)
        for name in (volume.first_credential.name, volume.first_netrc.name):
            if (new.root / name).exists():
                (new.root / name).replace(volume.root / name)
            else:
                (volume.root / name).unlink(missing_ok=True)
    credential_files.ensure_htpasswd(volume)
