"""Keep the files of quarantined projects in `quarantine/`, so that nothing that serves `packages/` can offer them.

A project's status says where its files belong. Records, tombstones and the status stay in `packages/`, which also
keeps the name reserved. A change of a project calls `place` while the project is marked, so a crash between two
moves is repaired like old pages.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from ppmctl import files
from ppmctl.index import project_folder
from ppmctl.index.layout import ATTESTATIONS, RECORD, TOMBSTONE, YANKED, Volume

_STAY = (RECORD, ATTESTATIONS, YANKED, TOMBSTONE)  # side files that are never served


def place(volume: Volume, project: str) -> None:
    """Move a project's files to the folder that its status wants, durably. The caller holds the project's lock."""
    target = _folder(volume, project)
    paths = misplaced(volume, project)
    if paths:
        for folder in (volume.quarantine, target):
            folder.mkdir(mode=0o700, exist_ok=True)
        for path in paths:
            path.rename(target / path.name)
        for folder in (target, target.parent, paths[0].parent, volume.root):
            files.sync_folder(folder)
    if target == volume.project(project):
        drop_empty_folder(volume, project)


def misplaced(volume: Volume, project: str) -> list[Path]:
    """Return the files of a project that are not in the folder that its status wants; none if it does not exist."""
    served, kept = volume.project(project), volume.quarantined(project)
    if not served.is_dir():
        return []
    source = served if _folder(volume, project) == kept else kept
    names = sorted(project_folder.visible_names(source) or ())
    return [source / name for name in names if not name.endswith(_STAY)]


def drop_empty_folder(volume: Volume, project: str) -> None:
    """Remove a project's folder in `quarantine/` if nothing is in it."""
    with contextlib.suppress(OSError):
        volume.quarantined(project).rmdir()


def _folder(volume: Volume, project: str) -> Path:
    is_quarantined = project_folder.read_status(volume, project).is_quarantined
    return volume.quarantined(project) if is_quarantined else volume.project(project)
