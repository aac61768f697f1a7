"""Restore a whole volume from a snapshot.

Everything is fetched and checked first, in `backup/restore/new/`; until then the old files are untouched. Then a mark
with the step is written, the old files are moved away, the new ones are moved to their places, and what is derived
from them is made again. While the mark exists no server starts, and the next restore continues from it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ppmctl import events, files
from ppmctl.access import accounts, audit_log, credential_files, nginx_htpasswd
from ppmctl.access.account import Actor
from ppmctl.backup import content, create, identity, scratch, staging
from ppmctl.backup.restic import Repository
from ppmctl.backup.snapshot import Keep, Snapshot, choose
from ppmctl.errors import NOT_SUCH_JSON, PpmError
from ppmctl.index import recovery
from ppmctl.index.layout import Volume
from ppmctl.index.rebuild import rebuild
from ppmctl.index.store import Store
from ppmctl.server import exclusive

Step = Literal["clear", "fill", "derive"]
AUDITED = "backup restore"  # in the audit log; `restore` alone is about a credential


@dataclass(frozen=True, kw_only=True)
class Restored:
    """A restore that was done. `problems` are files that had not the hash of their record when they were backed up.

    `before` is the snapshot of what was replaced, or "". `completed` is true if an interrupted restore was continued.
    """

    snapshot: str
    time: str
    projects: int = 0
    files: int = 0
    bytes: int = 0
    problems: tuple[str, ...] = ()
    before: str = ""
    seconds: float = 0.0
    completed: bool = False

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "problems": list(self.problems)}


def restore(volume: Volume, repository: Repository, actor: Actor, *, wanted: str | None, force: bool) -> Restored:
    """Replace the files of a volume by those of a snapshot, by default of the latest backup.

    Raise PpmError, and change nothing, if a server runs, if the volume has projects and not `force`, or if the
    snapshot can't be read. What is replaced is backed up first. The caller holds the lock of `create.only_one`.
    """
    began = time.monotonic()
    content.require_truth(volume)
    exclusive.require_no_server(volume)
    interrupted = _read_step(volume)
    if interrupted is not None:
        step, done = interrupted
        events.note(f"Completing the restore of the snapshot {done.snapshot}, which was interrupted.")
        done = _replace(volume, actor, step, replace(done, completed=True), began)
        identity.record(volume, repository, "")
        return done
    found = "projects" if content.has_projects(volume) else "users" if content.has_users(volume) else ""
    if found and not force:
        raise PpmError(
            f"{volume.root} has {found}, which a restore would replace; nothing was changed.",
            hint="To back it up and then replace it: --force. To bring back one project: --project NAME",
        )
    snapshot = choose(repository.snapshots(), wanted, index=identity.of(volume).index)
    before = save(volume, repository) if found or content.has_credentials(volume) else ""
    fetched = _fetch_whole(volume, repository, snapshot)
    done = Restored(
        snapshot=snapshot.id,
        time=snapshot.time,
        projects=fetched.projects,
        files=fetched.files,
        bytes=fetched.bytes,
        problems=tuple(fetched.problems),
        before=before,
    )
    done = _replace(volume, actor, "clear", done, began)
    identity.record(volume, repository, "")
    return done


def save(volume: Volume, repository: Repository) -> str:
    """Back up what a restore will replace; return the snapshot's id."""
    events.note("Making a backup of what will be replaced.")
    volume.prepare()
    return create.create(volume, repository, keep=Keep(), before_restore=True).snapshot


def fetch(volume: Volume, repository: Repository, snapshot: Snapshot, *, only: tuple[str, ...] = ()) -> Volume:
    """Write the files of a snapshot, or those below `only`, to a folder of the volume; return it as a volume.

    They are durable then. Raise PpmError if something else than a file or folder is among them.
    """
    for folder in (volume.backup, volume.restoring):
        folder.mkdir(mode=0o700, exist_ok=True)
    new = _new(volume)
    for left in (new, _old(volume)):
        shutil.rmtree(left, ignore_errors=True)
    if not only:
        scratch.require_space(volume.restoring, repository.size_of(snapshot))
    new.mkdir(mode=0o700)  # restic makes none if the snapshot has no file below `only`
    events.note(f"Fetching the snapshot {snapshot.described}.")
    repository.restore(snapshot, new, only=only)
    if not only:
        staging.require_all_counted(new)
    if os.geteuid() == 0:
        _own(new, volume.root.stat())
    files.sync_file_system(new)
    return Volume(root=new, storage="")


def _fetch_whole(volume: Volume, repository: Repository, snapshot: Snapshot) -> content.Content:
    """Fetch a snapshot and compare its files with their records; leave nothing if that fails."""
    with contextlib.ExitStack() as failed:
        failed.callback(drop, volume)
        new = fetch(volume, repository, snapshot)
        if not new.packages.is_dir():
            raise PpmError(f"The snapshot {snapshot.described} is not of an index; nothing was changed.")
        found = content.compare(new)
        failed.pop_all()
    return found


def drop(volume: Volume) -> None:
    """Remove what a restore fetched or replaced."""
    shutil.rmtree(volume.restoring, ignore_errors=True)


def _new(volume: Volume) -> Path:
    return volume.restoring / "new"


def _old(volume: Volume) -> Path:
    return volume.restoring / "old"


def _own(top: Path, owner: os.stat_result) -> None:
    """Give restored files to the owner of the volume: in the backup they are of a user of another machine."""
    for _folder, _folders, names, opened in os.fwalk(top):
        os.chown(opened, owner.st_uid, owner.st_gid)
        for name in names:
            os.chown(name, owner.st_uid, owner.st_gid, dir_fd=opened, follow_symlinks=False)


def _read_step(volume: Volume) -> tuple[Step, Restored] | None:
    try:
        values = json.loads(volume.restore_step.read_bytes())
        restored = values["restored"]
        return values["step"], Restored(**{**restored, "problems": tuple(restored["problems"])})
    except FileNotFoundError:
        return None
    except NOT_SUCH_JSON as exc:
        raise PpmError(f"{volume.restore_step} is damaged.", hint="Restore again into an empty folder.") from exc


def _write_step(volume: Volume, step: Step, done: Restored) -> None:
    text = json.dumps({"step": step, "restored": done.to_json()})
    files.write_atomic(volume.restore_step, text.encode(), mode=0o600, sync=True)


def _replace(volume: Volume, actor: Actor, step: Step, done: Restored, began: float) -> Restored:
    """Do the step and those after it, each of which can be repeated; return the result with the time it took."""
    with exclusive.alone(volume):
        if step == "clear":
            _write_step(volume, step, done)
            _clear(volume)
            step = "fill"
        if step == "fill":
            _write_step(volume, step, done)
            _fill(volume)
        _write_step(volume, "derive", done)
    done = replace(done, problems=(*done.problems, *_derive(volume)))
    done = replace(done, seconds=round(time.monotonic() - began, 2))
    notes = [f"snapshot {done.snapshot} of {done.time[:19]}, {done.files} files"]
    notes += [f"{len(done.problems)} problems"] if done.problems else []
    audit_log.write(
        volume, action=AUDITED, by=actor.name, origin=actor.origin, what="index", result=audit_log.done(notes)
    )
    volume.restore_step.unlink()
    drop(volume)
    return done


def _clear(volume: Volume) -> None:
    """Move the old files away, but not the folders in the root: their groups and modes are of the machine."""
    nginx_htpasswd.remove_lines(volume, [""] * nginx_htpasswd.PARTS)
    nginx_htpasswd.remove_limited(volume, ())
    old = _old(volume)
    old.mkdir(mode=0o700, exist_ok=True)
    for name in filter(staging.is_data, os.listdir(volume.root)):
        source = volume.root / name
        if source == volume.index_id:  # it stays if the snapshot has none; otherwise that of the snapshot replaces it
            continue
        if not source.is_dir():
            source.replace(old / name)
            continue
        (old / name).mkdir(mode=0o700, exist_ok=True)
        for child in os.listdir(source):
            if name != volume.credentials.name or child not in ("nginx", "nginx-limited"):
                (source / child).rename(old / name / child)
        files.sync_folder(source)
    files.sync_folder(volume.root)


def _fill(volume: Volume) -> None:
    """Move the new files to their places."""
    volume.prepare(is_restoring=True)
    new = _new(volume)
    for name in filter(staging.is_data, os.listdir(new)):
        source, target = new / name, volume.root / name
        if not source.is_dir():
            source.replace(target)
            continue
        if not os.listdir(source):
            continue
        target.mkdir(mode=source.stat().st_mode & 0o777, exist_ok=True)
        for child in os.listdir(source):
            if name == volume.credentials.name and (source / child).is_file():
                put_credential_file(source / child, target / child)
            else:
                (source / child).rename(target / child)
        files.sync_folder(target)
    files.sync_folder(volume.root)


def put_credential_file(source: Path, target: Path) -> None:
    """Move a file of credentials; as a new one it gets the group of its folder, which nginx reads by."""
    files.write_atomic(target, source.read_bytes(), mode=source.stat().st_mode & 0o777, sync=True)
    source.unlink()


def _derive(volume: Volume) -> tuple[str, ...]:
    """Make again what is derived: pages, search index, nginx's copy of the credentials. Return what is wrong."""
    volume.prepare(is_restoring=True)
    store = Store(volume)
    recovery.repair(store)
    done = rebuild(store)
    store.area.close()
    credential_files.ensure_htpasswd(volume)
    accounts.prune(volume)
    return tuple(done.problems)
