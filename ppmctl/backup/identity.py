"""Know which index and which volume a snapshot is of, by ids on the volume, and which snapshot a volume made last.

The id of the index is backed up, so a restored volume continues it. That of the volume is not.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
from pathlib import Path

from ppmctl import files
from ppmctl.backup.restic import NoRepository, Repository
from ppmctl.backup.snapshot import Series, Snapshot, choose
from ppmctl.errors import PpmError
from ppmctl.index import project_folder
from ppmctl.index.layout import Volume

_HOST_CHARACTERS = 30
_NOT_IN_A_TAG = re.compile(r"[^a-z0-9-]+")


def made(volume: Volume) -> Series:
    """Return the ids of a volume, which are made at the first call."""
    host = _NOT_IN_A_TAG.sub("-", socket.gethostname().lower())[:_HOST_CHARACTERS]
    own = f"{host}-{secrets.token_hex(4)} {project_folder.now()[:19]}Z"
    for path, content in ((volume.index_id, secrets.token_hex(4)), (volume.volume_id, own)):
        if not _read(path):
            files.write_atomic(path, content.encode() + b"\n", mode=0o640, sync=True)
    return of(volume)


def of(volume: Volume) -> Series:
    """Return the ids of a volume; "" for one that was never backed up."""
    name, _space, since = _read(volume.volume_id).partition(" ")
    return Series(index=_read(volume.index_id), volume=name, since=since)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def require_own(volume: Volume, repository: Repository) -> None:
    """Raise PpmError if no backup in a repository is known to be of this index: it may be empty, on a new host."""
    if repository.shown in recorded(volume):
        return
    with contextlib.suppress(NoRepository):
        backups = [snapshot for snapshot in repository.snapshots() if snapshot.is_backup]
        index = of(volume).index
        if backups and not (index and any(snapshot.index == index for snapshot in backups)):
            raise PpmError(
                f"The repository {repository.shown} has backups, and none with the id of this index; nothing was"
                " stored.",
                hint="If this volume replaces a lost one: ppmctl backup restore. Otherwise give each index its own"
                " repository, or add this index to it: ppmctl backup create --force",
            )


def latest(volume: Volume, repository: Repository) -> Snapshot:
    """Return the latest backup that this volume made, or that of its index if it made none.

    Raise PpmError if it is not the one that the volume recorded: it was removed, or another machine has a copy of
    the volume and backs that up.
    """
    earlier = recorded(volume).get(repository.shown, "")
    snapshots, ids = repository.snapshots(), of(volume)
    last = recorded(volume).get(repository.shown, "")  # read again: a backup may have ended meanwhile
    own = [each for each in snapshots if each.is_backup and each.volume and each.series == ids]
    if last and (not own or own[-1].id not in (earlier, last)):
        found = own[-1].described if own else "missing"
        raise PpmError(
            f"The latest backup of this volume is {found}, and not {last}, which it made last.",
            hint="Does another machine use a copy of this volume, or did somebody remove it? ppmctl backup list",
        )
    return own[-1] if own else choose(snapshots, None, index=ids.index)


def record(volume: Volume, repository: Repository, snapshot: str) -> None:
    """Record the last snapshot that a volume made in a repository; "" if it made none since it was restored."""
    known = recorded(volume)
    if known.get(repository.shown) != snapshot:
        lines = (f"{location}\t{last}\n" for location, last in {**known, repository.shown: snapshot}.items())
        files.write_atomic(volume.repositories, "".join(lines).encode(), mode=0o600)


def recorded(volume: Volume) -> dict[str, str]:
    """Return the last snapshot that a volume made, by repository without secrets."""
    lines = (line.partition("\t") for line in _read(volume.repositories).splitlines())
    return {location: snapshot for location, _tab, snapshot in lines}
