"""Change an environment: read the latest revision and publish the next; retry if another user was faster.

No change is lost: the index accepts one revision of a number, and the changes of two users are merged. Each lost race
means that another change was published, so all changes end.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ppmctl.distributions.environment_revision import MAX_CHANGE, Revision, ordered
from ppmctl.environments.merge import CONFLICT, Conflict, Groups, merge
from ppmctl.environments.remote import History, Remote
from ppmctl.environments.requirement import flat, normal
from ppmctl.errors import PpmError, UsageError

MOST_RACES = 1000  # lost ones, each to another user's change
_PAUSE = 0.1  # seconds, times the number of lost races
_LONGEST_PAUSE = 1.0

# Returns the new list for the old one.
Edit = Callable[[Groups], Groups]
# Returns the names of the conflicts in which our side wins; raises PpmError if nobody can decide.
Settle = Callable[[tuple[Conflict, ...]], frozenset[str]]


@dataclass(frozen=True, kw_only=True)
class Changed:
    """The result of a change: the revisions before and after it, the same one if there was nothing to change.

    `left` has the names of the conflicts in which the other user's side stays.
    """

    before: Revision | None
    after: Revision
    races: int = 0
    left: tuple[str, ...] = ()

    @property
    def is_new(self) -> bool:
        return self.before != self.after


def latest(remote: Remote, name: str) -> tuple[History, Revision]:
    """Return the history and the latest revision of an environment. Raise PpmError if there is none."""
    history = remote.history(name)
    if history is None or (entry := history.latest) is None:
        entries = history.entries if history is not None else ()
        state = "archived" if any(entry.deleted is None for entry in entries) else "deleted"
        raise PpmError(
            f"There is no environment {name}{f', it was {state}' if entries else ''}.",
            hint=f"Make it: ppmctl env create {name}{f'; its log: ppmctl env log {name}' if entries else ''}",
        )
    return history, remote.read(entry)


def create(
    remote: Remote,
    name: str,
    groups: Groups,
    *,
    change: str,
    shared: bool,
    lock: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Changed:
    """Publish the first revision of an environment, or the next of a deleted one. Raise UsageError if it exists."""
    head = number = 0
    for races in range(MOST_RACES):
        history = remote.history(name) or History(name=name, entries=())
        if history.latest is not None:
            raise UsageError(
                f"There is an environment {name} already.",
                hint=f"ppmctl env show {name}  shows it; ppmctl env add {name}  adds to it.",
            )
        if history.is_archived:
            remote.unarchive(name)
        head, number = history.head, _following(number, head, history.head)
        revision = Revision(
            name=name,
            number=number,
            requirements=ordered(flat(groups)),
            base=head or None,
            change=clipped(change),
            shared=shared,
            lock=lock,
        )
        if remote.publish(revision):
            return Changed(before=None, after=revision)
        sleep(_pause(races))
    raise PpmError(f"No number of {name} is free.")


def change(
    remote: Remote,
    name: str,
    edit: Edit,
    *,
    change: str,
    settle: Settle,
    lock: Callable[[Revision], str | None] = lambda _latest: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Changed:
    """Change the list of an environment with `edit`, and publish it as the next revision.

    `change` describes it in a line. `lock` returns the lock for a revision that has none yet. Raise PpmError if there
    is no such environment, and what `edit` and `settle` raise.
    """
    history, revision = latest(remote, name)
    base = normal(revision.requirements)
    ours = edit(base)
    number, left = history.head + 1, frozenset[str]()
    for races in range(MOST_RACES):
        new = replace(
            revision,
            number=number,
            requirements=ordered(flat(ours)),
            base=revision.number,
            change=_without(change, left),
            lock=None,
        )
        new = replace(new, lock=lock(new))
        is_same = (new.requirements, new.lock) == (ordered(revision.requirements), revision.lock)
        if is_same or (base == ours and new.lock is None):
            new = revision
        if new is revision or remote.publish(new):
            return Changed(before=revision, after=new, races=races, left=tuple(sorted(left)))
        sleep(_pause(races))
        head = history.head
        history, revision = latest(remote, name)
        number = _following(number, head, history.head)
        theirs = normal(revision.requirements)
        merged = merge(base, ours, theirs)
        taken = settle(merged.conflicts) if merged.conflicts else frozenset()
        ours = merged.settled(taken)
        left |= {conflict.name for conflict in merged.conflicts} - taken
        base = theirs
    raise PpmError(
        f"{name} could not be changed: other users were faster {MOST_RACES} times.", hint="Try again later."
    )


def lock_of(groups: Groups, lock: str | None) -> Callable[[Revision], str | None]:
    """Return a `lock` for `change`, which returns `lock` for the list of `groups` and None for others."""
    wanted = ordered(flat(groups))
    return lambda revision: lock if revision.requirements == wanted else None


def described(verb: str, texts: Iterable[str]) -> str:
    """Return a line that describes a change: add numpy, pandas>=2."""
    return clipped(f"{verb} {', '.join(texts)}")


def clipped(change: str, most: int = MAX_CHANGE) -> str:
    """Shorten the description of a change to `most` characters."""
    return change if len(change) <= most else f"{change[: most - 2].rstrip()} …"


def _following(tried: int, head: int, now: int) -> int:
    """Return the number to publish after `tried` was refused; the page's highest one was `head`, and is `now`.

    If the page has no newer one, the refused number was that of a revision that an admin removed, and the next may be
    free; or the page is older than the index: then the index refuses the next one too, whose base is too old.
    """
    return tried + 1 if now == head else now + 1


def _pause(races: int) -> float:
    return random.uniform(0, min(_LONGEST_PAUSE, _PAUSE * (races + 1)))


def _without(change: str, left: frozenset[str]) -> str:
    """Add the names that were not changed to the description, so that the log is right."""
    without = clipped(f" (without {', '.join(sorted(left))})", MAX_CHANGE // 2) if left else ""
    return f"{clipped(change, MAX_CHANGE - len(without))}{without}"


def refuse(conflicts: tuple[Conflict, ...]) -> frozenset[str]:
    """Raise PpmError with the conflicts: nobody can decide."""
    raise PpmError(
        f"{CONFLICT}\n    " + "\n    ".join(conflict.text for conflict in conflicts),
        hint="Nothing was changed. See the list (ppmctl env show), and repeat your change.",
    )
