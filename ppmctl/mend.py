"""What a crash left, put right at start-up: the marked projects alone, never a walk of everything."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ppmctl import folder, incoming, index
from ppmctl.commit import drop_leftovers
from ppmctl.errors import PpmError
from ppmctl.folder import Folder
from ppmctl.store import Store
from ppmctl.volume import ROOT_MARK

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Mended:
    """What a start-up put right."""

    projects: tuple[str, ...]
    swept: int


def mend(store: Store) -> Mended:
    """Put right what a crash left: the marked projects, and folders in `incoming/` that nobody holds."""
    marked = [name for name in index.marked(store.volume) if not name.startswith(".")]
    for project in marked:
        try:
            _mend_project(store, project)
        except PpmError as exc:
            log.error("%s can't be mended: %s (%s)", project, exc.message, exc.hint)
    if index.root_is_marked(store.volume) or not (store.volume.simple / index.JSON_PAGE).exists():
        store.write_root()
    return Mended(projects=tuple(marked), swept=incoming.sweep(store.volume))


def _mend_project(store: Store, project: str) -> None:
    with store.locked(project):
        content = folder.read(store.volume, project)
        if content is not None:
            _drop_orphans(store, content)
            index.refresh(store.volume, project)
            index.mark(store.volume, ROOT_MARK)
            store.root_is_old.set()
        index.unmark(store.volume, project)


def _drop_orphans(store: Store, content: Folder) -> None:
    """Remove the side files whose file never came, or was on its way out; and a folder with nothing in it."""
    for filename in {folder.distribution_of(name) for name in content.names}:
        path = store.volume.file(content.project, filename)
        if filename in content.removed:
            path.unlink(missing_ok=True)
        if not path.exists():
            drop_leftovers(path)
