"""Lists the environments of an index, of one owner, and those that use a project.

A page of the list costs the same for any number of environments. The other two look at the time of one small file for
each environment, and read those that have changed.
"""

from __future__ import annotations

import json
import os
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from packaging.utils import canonicalize_name

from ppmctl import files
from ppmctl.distributions.environment_revision import PREFIX, REQUIREMENTS, parse_requirements
from ppmctl.distributions.names import is_normalised
from ppmctl.index.environment_files import LOG
from ppmctl.index.store import Store

MAX_LIMIT = 1000
_MAX_READ = 1000  # entries that one request reads, even if few match
_NAME = re.compile(r"[A-Za-z0-9._-]+")  # at the start of a requirement

# Returns those of some projects that the reader may see.
Readable = Callable[[list[str]], list[str]]


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
        self._projects: dict[str, tuple[tuple[int, int, int], frozenset[str]]] = {}

    def page(
        self,
        *,
        after: str,
        limit: int,
        owner: str | None,
        readable: Readable | None = None,
    ) -> Page:
        """Return up to `limit` environments after the name `after`, of this owner or of all; maybe fewer, or none.

        `readable` returns those of some projects that the reader may see; None means all.
        """
        names = self._readable(readable)
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

    def mine(self, owner: str, *, readable: Readable | None = None) -> tuple[dict[str, Any], ...]:
        """Return all environments of an owner by name, each as in a `page`; `readable` as there."""
        entries = map(self._entry, self._readable(readable))
        return tuple(entry for entry in entries if entry is not None and entry["owner"] == owner)

    def using(
        self, project: str, *, limit: int, readable: Readable | None = None
    ) -> tuple[tuple[dict[str, Any], ...], int]:
        """Return the first `limit` environments that require a project (normalised) themselves, and their number.

        The entries are those of a `page`, by name; `readable` as there. Whether the reader may see the project itself
        is the caller's question.
        """
        entries = [entry for name in self._readable(readable) for entry in self._uses(name, project)]
        return tuple(entries[:limit]), len(entries)

    def _readable(self, readable: Readable | None) -> list[str]:
        names = self._all()
        if readable is None:
            return names
        return [project.removeprefix(PREFIX) for project in readable([PREFIX + name for name in names])]

    def _uses(self, name: str, project: str) -> Iterator[dict[str, Any]]:
        """Yield the entry of an environment if it requires the project."""
        state, entry = self._stated(name)
        if state is None or entry is None:
            return
        cached = self._projects.get(name)
        if cached is None or cached[0] != state:
            # not by the link to the latest: it moves after the log was written
            path = self._store.volume.environment(name) / str(entry["revision"]) / REQUIREMENTS
            try:
                cached = self._projects[name] = (state, _projects(path.read_bytes()))
            except FileNotFoundError:  # removed at the same moment
                return
        if project in cached[1]:
            yield entry

    def _all(self) -> list[str]:
        packages = self._store.volume.packages
        changed = os.stat(packages).st_mtime_ns
        if self._names[0] != changed:
            projects = (name for name in os.listdir(packages) if name.startswith(PREFIX) and is_normalised(name))
            names = sorted(name.removeprefix(PREFIX) for name in projects)
            self._names = (changed if files.is_settled(changed) else -1, names)
        return self._names[1]

    def _entry(self, name: str) -> dict[str, Any] | None:
        return self._stated(name)[1]

    def _stated(self, name: str) -> tuple[tuple[int, int, int] | None, dict[str, Any] | None]:
        """Return the identity of an environment's log, and the entry that was made of it."""
        path = self._store.volume.environment(name) / LOG
        state = files.identity(path)
        if state is None:
            self._store.refresh(PREFIX + name)
            state = files.identity(path)
        if state is None:  # it contains no revision
            return None, None
        cached = self._cache.get(name)
        try:
            if cached is None or cached[0] != state:
                cached = self._cache[name] = (state, _summary(json.loads(path.read_bytes())))
        except FileNotFoundError:
            return None, None
        return cached


def _summary(log: dict[str, Any]) -> dict[str, Any] | None:
    """Return the entry of an environment in the list; None if it was deleted."""
    latest = next((one for one in log["revisions"] if one["revision"] == log["latest"]), None)
    if latest is None or log["status"] == "archived":
        return None
    about = {key: log[key] for key in ("name", "owner", "shared", "requirements", "locked")}
    return about | {key: latest[key] for key in ("revision", "by", "at", "change")}


def _projects(requirements: bytes) -> frozenset[str]:
    """Return the normalised names of the projects that a list requires."""
    matches = map(_NAME.match, parse_requirements(requirements))
    return frozenset(canonicalize_name(match[0]) for match in matches if match is not None)
