"""Two changes of one list, made at the same time → one list with both, or what they disagree about. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# By normalised name, what is required of it (`requirement.group`); a name that is not there is not required.
Groups = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """What both changed, and not to the same: what was required of `name`, and is now; () is nothing."""

    name: str
    base: tuple[str, ...]
    ours: tuple[str, ...]
    theirs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Merged:
    """`groups` has both changes; of `conflicts` it has theirs."""

    groups: dict[str, tuple[str, ...]]
    conflicts: tuple[Conflict, ...]

    def settled(self, ours: frozenset[str]) -> dict[str, tuple[str, ...]]:
        """The list with our side of the conflicts about the names `ours`."""
        taken = {conflict.name: conflict.ours for conflict in self.conflicts if conflict.name in ours}
        return _without_empty({**self.groups, **taken})


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What a name's requirements were in one list and are in another; () is nothing."""

    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def merge(base: Groups, ours: Groups, theirs: Groups) -> Merged:
    """What was changed from `base` to `ours`, on `theirs`, which somebody else made of `base` meanwhile.

    No addition is lost: what one side added and the other did not touch is there.
    """
    found: dict[str, tuple[str, ...]] = {}
    conflicts = []
    for name in sorted({*base, *ours, *theirs}):
        was, mine, other = base.get(name, ()), ours.get(name, ()), theirs.get(name, ())
        if mine not in (was, other) and other != was:
            conflicts.append(Conflict(name=name, base=was, ours=mine, theirs=other))
        found[name] = mine if other == was else other
    return Merged(groups=_without_empty(found), conflicts=tuple(conflicts))


def differences(before: Groups, after: Groups) -> list[Difference]:
    """What is not the same in two lists, by name."""
    return [
        Difference(name=name, before=before.get(name, ()), after=after.get(name, ()))
        for name in sorted({*before, *after})
        if before.get(name, ()) != after.get(name, ())
    ]


def _without_empty(groups: Groups) -> dict[str, tuple[str, ...]]:
    return {name: texts for name, texts in groups.items() if texts}
