"""Repairs at start-up what a crash left: only the marked projects, without a walk through all of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ppmctl.errors import PpmError
from ppmctl.index import pages, staging
from ppmctl.index.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """The projects that a start-up repaired, and the number of folders in `incoming/` that it removed."""

    projects: tuple[str, ...]
    swept: int


def repair(store: Store) -> Repaired:
    """Repair what a crash left: the marked projects, and folders in `incoming/` that no process holds."""
    repaired = []
    marked = [name for name in pages.marked(store.volume) if not name.startswith(".")]
    for project in marked:
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
