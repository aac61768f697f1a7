"""What a crash left, put right at start-up: the marked projects alone, never a walk of everything."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ppmctl.errors import PpmError
from ppmctl.index import pages, staging
from ppmctl.index.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Mended:
    """What a start-up put right."""

    projects: tuple[str, ...]
    swept: int


def mend(store: Store) -> Mended:
    """Put right what a crash left: the marked projects, and folders in `incoming/` that nobody holds."""
    mended = []
    marked = [name for name in pages.marked(store.volume) if not name.startswith(".")]
    for project in marked:
        try:
            store.refresh(project)
            mended.append(project)
        except PpmError as exc:
            log.error("%s can't be mended: %s (%s)", project, exc.message, exc.hint)
        except OSError as exc:  # a full disk, say: what can be read is served; the mark stays
            log.error("%s can't be mended yet: %s", project, exc)
    if pages.root_is_marked(store.volume) or not (store.volume.simple / pages.JSON_PAGE).exists():
        try:
            store.write_root()
        except OSError as exc:
            store.root_is_old.set()
            log.error("The list of projects can't be written: %s", exc)
    return Mended(projects=tuple(mended), swept=staging.sweep(store.volume))
