"""The environments of an index, a page at a time: what a request costs does not grow with their number."""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from ppmctl import files
from ppmctl.distributions.environment_revision import PREFIX
from ppmctl.index.environment_files import LOG
from ppmctl.index.store import Store

MAX_LIMIT = 1000
_LOOKED_AT = 1000  # environments that one request looks at, for the few that it wants


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some environments by name, and after which name the next page begins; None at the end."""

    environments: tuple[dict[str, Any], ...]
    after: str | None


class Listing:
    """The environments that are not deleted: neither archived nor without a latest revision.

    Their names are read again when a project came, each entry when its environment changed.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names: tuple[int, list[str]] = (-1, [])
        self._kept: dict[str, tuple[tuple[int, int, int], dict[str, Any] | None]] = {}

    def page(self, *, after: str, limit: int, owner: str | None) -> Page:
        """Up to `limit` environments after the name `after`, of this owner or of all.

        A page may have fewer, also none, and another one follow.
        """
        names = self._all()
        start = bisect_right(names, after)
        found: list[dict[str, Any]] = []
        looked_at = names[start : start + _LOOKED_AT]
        for count, name in enumerate(looked_at, start=1):
            entry = self._entry(name)
            if entry is not None and owner in (None, entry["owner"]):
                found.append(entry)
            if len(found) == limit:
                looked_at = looked_at[:count]
                break
        more = start + len(looked_at) < len(names)
        return Page(environments=tuple(found), after=looked_at[-1] if more else None)

    def _all(self) -> list[str]:
        packages = self._store.volume.packages
        changed = os.stat(packages).st_mtime_ns
        if self._names[0] != changed:
            names = sorted(name.removeprefix(PREFIX) for name in os.listdir(packages) if name.startswith(PREFIX))
            self._names = (changed if files.is_settled(changed) else -1, names)
        return self._names[1]

    def _entry(self, name: str) -> dict[str, Any] | None:
        path = self._store.volume.environment(name) / LOG
        state = files.identity(path)
        if state is None:
            self._store.refresh(PREFIX + name)
            state = files.identity(path)
        if state is None:  # nothing in it is a revision
            return None
        kept = self._kept.get(name)
        try:
            if kept is None or kept[0] != state:
                kept = self._kept[name] = (state, _summary(json.loads(path.read_bytes())))
        except FileNotFoundError:
            return None
        return kept[1]


def _summary(log: dict[str, Any]) -> dict[str, Any] | None:
    """What the list says of an environment; None of one that was deleted."""
    latest = next((one for one in log["revisions"] if one["revision"] == log["latest"]), None)
    if latest is None or log["status"] == "archived":
        return None
    about = {key: log[key] for key in ("name", "owner", "shared", "requirements", "locked")}
    return about | {key: latest[key] for key in ("revision", "by", "at", "change")}
