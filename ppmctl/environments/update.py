"""One change of an environment: read the latest revision, publish the next; when somebody was faster, once more.

No change is lost: the number of a revision is given once, and what others published meanwhile is merged in,
requirement by requirement. A lost race means that somebody else's change is in, so that many at once come to an end.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ppmctl.distributions import environment_revision as formats
from ppmctl.distributions.environment_revision import MAX_CHANGE, Revision
from ppmctl.environments.merge import Conflict, Groups, merge
from ppmctl.environments.remote import History, Remote
from ppmctl.environments.requirement import flat, normal
from ppmctl.errors import PpmError, UsageError

MOST_RACES = 1000  # lost ones, each to a change of somebody else's
_PAUSE = 0.1  # seconds, times the number of lost races
_LONGEST_PAUSE = 1.0

# What the list is to become, from what it is.
Edit = Callable[[Groups], Groups]
# Of what two changed differently, the names whose requirements are to be as in ours; PpmError where nobody decides.
Settle = Callable[[tuple[Conflict, ...]], frozenset[str]]


@dataclass(frozen=True, kw_only=True)
class Changed:
    """What came of a change: the latest revision, and the one it was made of; of nothing to do they are the same.

    `left` are the names of what stays as somebody else wanted it meanwhile.
    """

    before: Revision | None
    after: Revision
    races: int = 0
    left: tuple[str, ...] = ()

    @property
    def is_new(self) -> bool:
        return self.before != self.after


def latest(remote: Remote, name: str) -> tuple[History, Revision]:
    """The latest revision of an environment; PpmError where there is none."""
    history = remote.history(name)
    entry = history.latest if history is not None else None
    if history is None or entry is None:
        was = history is not None and bool(history.entries)
        is_left = history is not None and any(entry.deleted is None for entry in history.entries)
        said = f", it was {'archived' if is_left else 'deleted'}" if was else ""
        raise PpmError(
            f"There is no environment {name}{said}.",
            hint=f"Make it: ppmctl env create {name}" + (f"; what it had last: ppmctl env log {name}" if was else ""),
        )
    return history, remote.read(entry)


def create(
    remote: Remote, name: str, groups: Groups, *, change: str, shared: bool, lock: str | None = None
) -> Changed:
    """Publish the first revision of an environment; of one that was deleted, the next. PpmError where it is there."""
    number = 0
    for _ in range(MOST_RACES):
        history = remote.history(name)
        if history is not None and history.latest is not None:
            raise UsageError(
                f"There is an environment {name} already.",
                hint=f"ppmctl env show {name}  shows it; ppmctl env add  adds to it.",
            )
        if history is not None and history.is_archived:
            remote.take_up(name)
        number = 1 + max(number, history.head if history is not None else 0)
        revision = Revision(
            name=name,
            number=number,
            requirements=formats.ordered(flat(groups)),
            change=clipped(change),
            shared=shared,
            lock=lock,
        )
        if remote.publish(revision):
            return Changed(before=None, after=revision)
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
    """Change the list of an environment by `edit`, and publish that as the next revision.

    `change` says in a line what is done. `lock` is asked for the lock of a list that is to be published, given as the
    revision that has it without one. PpmError where there is no such environment, and from `edit` and `settle`.
    """
    history, revision = latest(remote, name)
    base = normal(revision.requirements)
    ours = edit(base)
    least, left = 0, frozenset[str]()
    for races in range(MOST_RACES):
        following = replace(
            revision,
            number=max(history.head + 1, least),
            requirements=formats.ordered(flat(ours)),
            base=revision.number,
            change=_less(change, left),
            lock=None,
        )
        following = replace(following, lock=lock(following))
        is_same = (following.requirements, following.lock) == (formats.ordered(revision.requirements), revision.lock)
        if is_same or (base == ours and following.lock is None):
            following = revision
        if following is revision or remote.publish(following):
            return Changed(before=revision, after=following, races=races, left=tuple(sorted(left)))
        sleep(random.uniform(0, min(_LONGEST_PAUSE, _PAUSE * (races + 1))))
        history, revision = latest(remote, name)
        # a number that nobody has and that is refused was a revision's which an admin removed
        least = following.number + 1 if history.head < following.number else 0
        theirs = normal(revision.requirements)
        merged = merge(base, ours, theirs)
        taken = settle(merged.conflicts) if merged.conflicts else frozenset()
        ours = merged.settled(taken)
        left |= {conflict.name for conflict in merged.conflicts} - taken
        base = theirs
    raise PpmError(
        f"{name} could not be changed: others were faster {MOST_RACES} times.", hint="Nothing was changed. Try again."
    )


def lock_of(groups: Groups, lock: str | None) -> Callable[[Revision], str | None]:
    """For `change`: the lock of a list that is just `groups`; of another list it is none."""
    wanted = formats.ordered(flat(groups))
    return lambda revision: lock if revision.requirements == wanted else None


def described(verb: str, texts: Iterable[str]) -> str:
    """What a change does, in a line: add numpy, pandas>=2."""
    return clipped(f"{verb} {', '.join(texts)}")


def clipped(change: str, most: int = MAX_CHANGE) -> str:
    """The same, short enough for a revision."""
    return change if len(change) <= most else f"{change[: most - 2].rstrip()} …"


def _less(change: str, left: frozenset[str]) -> str:
    """What a change does without what was left to somebody else: the log is to say what happened."""
    without = clipped(f" (without {', '.join(sorted(left))})", MAX_CHANGE // 2) if left else ""
    return f"{clipped(change, MAX_CHANGE - len(without))}{without}"


def refuse(conflicts: tuple[Conflict, ...]) -> frozenset[str]:
    """Nobody decides: PpmError that names the conflicts."""
    lines = [f"{conflict.name}: {said(conflict)}" for conflict in conflicts]
    raise PpmError(
        "Somebody else has just changed the same otherwise:\n    " + "\n    ".join(lines),
        hint="Nothing was changed. Look (ppmctl env show), and say again what you want.",
    )


def said(conflict: Conflict) -> str:
    """A conflict in words: it was numpy, you want numpy>=2, they want nothing of it."""
    was, ours, theirs = (", ".join(texts) or "not there" for texts in (conflict.base, conflict.ours, conflict.theirs))
    return f"it was {was}; yours is {ours}; theirs is {theirs}"
