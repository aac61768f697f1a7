"""Repairs at start-up what a crash left: only the marked projects, without a walk through all of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ppmctl import files
from ppmctl.errors import PpmError
from ppmctl.index import pages, quarantine, staging
from ppmctl.index.layout import ROOT_MARK, Volume
from ppmctl.index.store import Store
from ppmctl.storage.bucket import Unavailable

log = logging.getLogger(__name__)

# 2: the files of quarantined projects are in quarantine/. 3: pages have serials and provenance
_LAYOUT = b"3\n"


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """The projects that a start-up repaired, and the number of folders in `incoming/` that it removed."""

    projects: tuple[str, ...]
    swept: int


def repair(store: Store) -> Repaired:
    """Repair what a crash left: the marked projects, and folders in `incoming/` that no process holds."""
    repaired = []
    if store.mirror is not None:
        try:
            store.mirror.join()
        except Unavailable as exc:  # what is on the disk is served; a change asks again
            log.error("%s (%s)", exc.message, exc.hint)
    _upgrade(store.volume)
    for project in marked_projects(store.volume):
        try:
            store.refresh(project)
            repaired.append(project)
        except PpmError as exc:
            log.error("%s can't be repaired: %s (%s)", project, exc.message, exc.hint)
        except OSError as exc:  # a full disk, for example: the index is served anyway; the mark stays
            log.error("%s can't be repaired yet: %s", project, exc)
    if pages.root_is_marked(store.volume) or not (store.volume.simple / pages.JSON_PAGE).exists():
        try:
            store.write_root()
        except OSError as exc:
            store.root_is_old.set()
            log.error("The list of projects can't be written: %s", exc)
    return Repaired(projects=tuple(repaired), swept=staging.sweep(store.volume))


def marked_projects(volume: Volume) -> list[str]:
    """Return the projects whose pages may be older than their files, unless an upload is running."""
    return [name for name in pages.marked(volume) if not name.startswith(ROOT_MARK)]


def _upgrade(volume: Volume) -> None:
    """Mark the quarantined projects of a volume that an older release wrote; once, since it looks at all projects.

    All pages are written again as after a reboot, in the background.
    """
    if files.holds(volume.layout, _LAYOUT):
        return
    try:
        for project in pages.projects(volume):
            if not volume.status(project).exists():
                continue
            try:
                if quarantine.misplaced(volume, project):
                    pages.mark(volume, project)
            except PpmError as exc:
                log.error("%s can't be checked: %s (%s)", project, exc.message, exc.hint)
        if volume.boot.exists():
            files.write_atomic(volume.boot, b"an older release\n")
        volume.layout.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(volume.layout, _LAYOUT)
    except OSError as exc:  # as above: it is tried again at the next start
        log.error("Files of quarantined projects may still be served: %s", exc)
