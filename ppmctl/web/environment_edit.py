"""Change the list of an environment as `ppmctl env` does: on top of what other users have changed meanwhile."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from ppmctl.distributions.environment_revision import Revision, ordered
from ppmctl.environments.merge import CONFLICT, Conflict, Groups, merge
from ppmctl.environments.requirement import Requirement, flat, group, normal, parse_words
from ppmctl.errors import Refused, UsageError
from ppmctl.server.environment_changes import Changed, EnvironmentChanges, Sender, State

_MOST_RACES = 20  # lost ones, each to another user's change

# Returns the new list for the old one.
Edit = Callable[[Groups], Groups]


class Conflicting(Refused):
    """Another user has changed the same requirements in another way."""

    def __init__(self, conflicts: tuple[Conflict, ...]) -> None:
        super().__init__(
            409, CONFLICT, hint="Nothing was changed. Look at the list as it is now, and send yours again."
        )
        self.conflicts = conflicts


@dataclass(frozen=True, kw_only=True)
class Edited:
    """The result of a change. `is_new`: it made a revision; `others`: the list was changed meanwhile, which stays."""

    state: State
    is_new: bool
    others: bool


def change(
    changes: EnvironmentChanges,
    sender: Sender,
    name: str,
    edit: Edit,
    *,
    seen: int,
    line: str | None = None,
    source: Revision | None = None,
) -> Edited:
    """Apply `edit` to the revision `seen`, which a page showed, and publish the result on top of the latest one.

    `line` describes the change, by default what is added and removed. The new revision has the lock of `source` if it
    has the list of it too. Raise Refused: 403, 404, 412 after many races; Conflicting; and what `edit` raises.
    """
    changes.require_change(sender, name)
    for races in range(_MOST_RACES):
        state = changes.state(name)
        latest = changes.revision(state)
        was, theirs = normal(changes.revision(state, seen).requirements), normal(latest.requirements)
        merged = merge(was, edit(was), theirs)
        if merged.conflicts:
            raise Conflicting(merged.conflicts)
        wanted, lock = ordered(flat(merged.groups)), None
        if source is not None and ordered(source.requirements) == wanted:
            lock = source.lock
        if merged.groups == theirs and lock in (None, latest.lock):
            return Edited(state=state, is_new=False, others=latest.number != seen)
        try:
            after = changes.change(sender, state, wanted, change=line, lock=lock)
        except Changed:
            if races == _MOST_RACES - 1:
                raise
        else:
            return Edited(state=after, is_new=True, others=latest.number != seen)
    raise AssertionError("the last race raises")


def requirements(text: str) -> list[Requirement]:
    """Return the requirements that a user typed or pasted, separated by spaces or lines. Raise UsageError.

    A line can be quoted as for a shell, as the pages and `ppmctl env show` print it.
    """
    return [requirement for line in text.splitlines() for requirement in _line(line)]


def added(text: str) -> Edit:
    """Return the edit that adds what a user typed; it replaces requirements of the same projects."""
    typed = requirements(text)
    if not typed:
        raise UsageError("Type the packages to add, separated by spaces.")
    return lambda groups: {**groups, **group(typed)}


def removed(text: str) -> Edit:
    """Return the edit that removes one requirement, given as the list has it."""

    def edit(groups: Groups) -> Groups:
        left = {name: tuple(each for each in texts if each != text) for name, texts in groups.items()}
        if left == groups:
            raise UsageError(f"The list has no {text[:100]!r}.", hint="Nothing was changed.")
        return {name: texts for name, texts in left.items() if texts}

    return edit


def restored(revision: Revision) -> Edit:
    """Return the edit that sets the list to that of a revision."""
    return lambda _groups: normal(revision.requirements)


def _line(line: str) -> list[Requirement]:
    try:
        return parse_words([line]) if line.strip() else []
    except UsageError:
        if not {"'", '"'} & set(line):
            raise
        try:
            return parse_words(shlex.split(line))
        except (UsageError, ValueError):
            pass  # the error about the line as it was typed is the clearer one
        raise
