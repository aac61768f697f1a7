"""Merge two changes of one list that were made at the same time, and find their conflicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CONFLICT = "Conflict: these requirements were changed by another user in the meantime."

# The requirements of each normalised name (`requirement.group`); a name without requirements is missing.
Groups = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """The requirements of a name that both sides changed differently; () is none."""

    name: str
    base: tuple[str, ...]
    ours: tuple[str, ...]
    theirs: tuple[str, ...]

    @property
    def text(self) -> str:
        """The conflict for people: numpy: it was numpy; yours is numpy>=2; theirs is not there."""
        was, ours, theirs = (", ".join(texts) or "not there" for texts in (self.base, self.ours, self.theirs))
        return f"{self.name}: it was {was}; yours is {ours}; theirs is {theirs}"


@dataclass(frozen=True, kw_only=True)
class Merged:
    """A list with both changes; for `conflicts` it has their side."""

    groups: dict[str, tuple[str, ...]]
    conflicts: tuple[Conflict, ...]

    def settled(self, ours: frozenset[str]) -> dict[str, tuple[str, ...]]:
        """Return the list with our side of the conflicts about the names `ours`."""
        taken = {conflict.name: conflict.ours for conflict in self.conflicts if conflict.name in ours}
        return _without_empty({**self.groups, **taken})


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The requirements of a name that differ between two lists; () is none."""

    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def merge(base: Groups, ours: Groups, theirs: Groups) -> Merged:
    """Apply the change from `base` to `ours` to `theirs`, the list that another user made from `base`.

    No addition is lost: the result has what one side added and the other did not touch.
    """
    groups: dict[str, tuple[str, ...]] = {}
    conflicts = []
    for name in sorted({*base, *ours, *theirs}):
        was, mine, other = base.get(name, ()), ours.get(name, ()), theirs.get(name, ())
        if mine not in (was, other) and other != was:
            conflicts.append(Conflict(name=name, base=was, ours=mine, theirs=other))
        groups[name] = mine if other == was else other
    return Merged(groups=_without_empty(groups), conflicts=tuple(conflicts))


def differences(before: Groups, after: Groups) -> list[Difference]:
    """Return what differs between two lists, by name."""
    return [
        Difference(name=name, before=before.get(name, ()), after=after.get(name, ()))
        for name in sorted({*before, *after})
        if before.get(name, ()) != after.get(name, ())
    ]


def _without_empty(groups: Groups) -> dict[str, tuple[str, ...]]:
    return {name: texts for name, texts in groups.items() if texts}
