"""Bring a project's folder and pages in line with its head, on a volume that is the cache of a bucket.

The head is the truth, so this can be interrupted anywhere: the next comparison with the head does the rest.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from ppmctl import files
from ppmctl.index import environment_files, pages, project_folder, quarantine, transaction
from ppmctl.index.layout import RECORD, TOMBSTONE, YANKED, Volume
from ppmctl.index.project_folder import Record
from ppmctl.storage.head import Entry, Head


def apply(volume: Volume, project: str, head: Head, *, before: Head | None) -> None:
    """Write what differs between a project's folder and `head`, then its pages.

    `before` is the head that the folder is in line with; without it everything is compared. The caller holds the
    project's lock and has marked it. Files and metadata are written when they are first read, not here.
    """
    folder = volume.project(project)
    folder.mkdir(exist_ok=True)
    if before is None:
        for each in (folder, volume.pages(project)):
            files.drop_temporaries(each)
        environment_files.drop_temporaries(volume, project)
    names = project_folder.visible_names(folder) or frozenset()
    for filename, entry in head.files.items():
        if before is None or before.files.get(filename) != entry:
            _write_entry(volume, project, filename, entry, names)
    for filename, removed in head.removed.items():
        if before is None or filename not in before.removed:
            _write(volume.side_file(project, filename, TOMBSTONE), f"removed {removed.at}\n".encode())
    _write_status(volume, project, head)
    quarantine.place(volume, project)
    for filename in _surplus(volume, project, head) - head.removed.keys():
        transaction.unlink(volume, project, filename)  # before the pages: without its tombstone they would list it
    pages.refresh(volume, project, second=head.second)
    for filename in _surplus(volume, project, head):
        transaction.unlink(volume, project, filename)


def withhold(volume: Volume, project: str, head: Head) -> None:
    """Remove from the disk what `head` lets nobody have any more, after it could not be applied. It needs no space.

    Records go too: while the tombstones or the status are not written, a file with a record would be fetched again.
    The folder stays, and with it the name. The caller holds the project's lock, and has all of it compared again.
    """
    is_quarantined, is_any = head.state == "quarantined", False
    for name in sorted(project_folder.visible_names(volume.project(project)) or ()):  # a file, then what is beside it
        is_gone = is_quarantined or project_folder.distribution_of(name) not in head.files
        if is_gone and not name.endswith(TOMBSTONE):
            volume.project(project).joinpath(name).unlink(missing_ok=True)
            is_any = True
    if is_any:
        environment_files.remove(volume, project)


def drop_replaced(volume: Volume, project: str, head: Head, *, before: Head | None) -> None:
    """Remove the files that `head` has with other content, and the tombstones that it does not have.

    There are some only if an earlier head was restored in the bucket. `before` and the caller are as in `apply`.
    """
    for name in project_folder.visible_names(volume.project(project)) or ():
        if name.endswith(TOMBSTONE) and name.removesuffix(TOMBSTONE) not in head.removed:
            volume.project(project).joinpath(name).unlink()
    for filename, entry in head.files.items():
        if before is not None and before.files.get(filename, entry).record == entry.record:
            continue
        with contextlib.suppress(FileNotFoundError, project_folder.BrokenRecord):
            if project_folder.read_record(volume, project, filename) != Record.from_values(entry.record):
                transaction.unlink(volume, project, filename)
                environment_files.remove(volume, project)


def _write_entry(volume: Volume, project: str, filename: str, entry: Entry, names: frozenset[str]) -> None:
    _write(volume.side_file(project, filename, RECORD), project_folder.as_json(entry.record))
    yanked = volume.side_file(project, filename, YANKED)
    if entry.yanked is not None:
        _write(yanked, entry.yanked.encode() + b"\n")
    elif yanked.name in names:
        yanked.unlink(missing_ok=True)


def _write_status(volume: Volume, project: str, head: Head) -> None:
    path = volume.status(project)
    if head.state != "active" or head.reason or path.exists():
        _write(path, project_folder.as_json({"state": head.state, "reason": head.reason}))


def _write(path: Path, content: bytes) -> None:
    # without fsync: after a power failure the heads are read again
    if not files.holds(path, content):
        files.write_atomic(path, content)


def _surplus(volume: Volume, project: str, head: Head) -> set[str]:
    """Return the files of a folder, or with side files in it, that the head does not list."""
    names = set(project_folder.visible_names(volume.project(project)) or ())
    names |= project_folder.visible_names(volume.quarantined(project)) or frozenset()
    owners = {project_folder.distribution_of(name) for name in names if not name.endswith(TOMBSTONE)}
    return owners - head.files.keys()
