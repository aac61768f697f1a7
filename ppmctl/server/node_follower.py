"""Bring what other nodes of the bucket changed to this node in the background: the audit, search data and pages.

A request for a project does not wait for that: it asks the bucket itself.
"""

from __future__ import annotations

import logging
from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor

from ppmctl.access.audit_follower import AuditFollower
from ppmctl.errors import PpmError
from ppmctl.index.store import Store
from ppmctl.storage.bucket import Missing, Unavailable

log = logging.getLogger(__name__)

_AT_ONCE = 8  # projects that are read from the bucket


def run(store: Store) -> None:
    """Follow the other nodes as long as the process lives."""
    AuditFollower(store.volume, lambda projects: bring(store, projects)).run()


def bring(store: Store, projects: Set[str] | None) -> None:
    """Bring projects up to date, with None all that the bucket has. Raise Unavailable."""
    if store.mirror is None:
        return
    if projects is None or not all(map(store.has_project, projects)):
        names = store.mirror.names()
        projects = names if projects is None else projects
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _done in pool.map(lambda project: _bring(store, project), sorted(projects)):
            pass


def _bring(store: Store, project: str) -> None:
    try:
        store.pull(project)
    except (OSError, PpmError) as exc:
        if isinstance(exc, Unavailable) and not isinstance(exc, Missing):
            raise
        log.error("What another node changed of %s is not known here: %s", project, exc)
