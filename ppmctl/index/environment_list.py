"""Lists the environments of an index in pages, so that the cost of a request does not grow with their number."""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ppmctl import files
from ppmctl.distributions.distribution import is_normalised
from ppmctl.distributions.environment_revision import PREFIX
from ppmctl.index.environment_files import LOG
from ppmctl.index.store import Store

MAX_LIMIT = 1000
_MAX_READ = 1000  # entries that one request reads, even if few match


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some environments by name, and the name after which the next page starts; None on the last page."""

    environments: tuple[dict[str, Any], ...]
    after: str | None


class Listing:
    """The environments that are not deleted: they have a latest revision and are not archived.

    The names are read again after a new project, an entry after a change of its environment.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names: tuple[int, list[str]] = (-1, [])
        self._cache: dict[str, tuple[tuple[int, int, int], dict[str, Any] | None]] = {}

    def page(
        self,
        *,
        after: str,
        limit: int,
        owner: str | None,
        readable: Callable[[list[str]], list[str]] | None = None,
    ) -> Page:
        """Return up to `limit` environments after the name `after`, of this owner or of all; maybe fewer, or none.

        `readable` returns those of some projects that the reader may see; None means all.
        """
        names = self._all()
        if readable is not None:
            projects = readable([PREFIX + name for name in names])
            names = [project.removeprefix(PREFIX) for project in projects]
        start = bisect_right(names, after)
        entries: list[dict[str, Any]] = []
        names_read = names[start : start + _MAX_READ]
        for count, name in enumerate(names_read, start=1):
            entry = self._entry(name)
            if entry is not None and owner in (None, entry["owner"]):
                entries.append(entry)
            if len(entries) == limit:
                names_read = names_read[:count]
                break
        more = start + len(names_read) < len(names)
        return Page(environments=tuple(entries), after=names_read[-1] if more else None)

    def _all(self) -> list[str]:
        packages = self._store.volume.packages
        changed = os.stat(packages).st_mtime_ns
        if self._names[0] != changed:
            projects = (name for name in os.listdir(packages) if name.startswith(PREFIX) and is_normalised(name))
            names = sorted(name.removeprefix(PREFIX) for name in projects)
            self._names = (changed if files.is_settled(changed) else -1, names)
        return self._names[1]

    def _entry(self, name: str) -> dict[str, Any] | None:
        path = self._store.volume.environment(name) / LOG
        state = files.identity(path)
        if state is None:
            self._store.refresh(PREFIX + name)
            state = files.identity(path)
        if state is None:  # it contains no revision
            return None
        cached = self._cache.get(name)
        try:
            if cached is None or cached[0] != state:
                cached = self._cache[name] = (state, _summary(json.loads(path.read_bytes())))
        except FileNotFoundError:
            return None
        return cached[1]


def _summary(log: dict[str, Any]) -> dict[str, Any] | None:
    """Return the entry of an environment in the list; None if it was deleted."""
    latest = next((one for one in log["revisions"] if one["revision"] == log["latest"]), None)
    if latest is None or log["status"] == "archived":
        return None
    about = {key: log[key] for key in ("name", "owner", "shared", "requirements", "locked")}
    return about | {key: latest[key] for key in ("revision", "by", "at", "change")}
