"""An environment goes: no resolver picks it and no list has it; who pins a revision still gets that."""

from __future__ import annotations

from collections.abc import Callable

from ppmctl.environments.remote import Remote
from ppmctl.errors import PpmError

_REASON = "This environment was deleted"


def delete(remote: Remote, name: str, *, step: Callable[[int], None]) -> int:
    """Delete an environment, and say how many revisions it had; `step` is told of each that is done.

    It takes no revisions from the first moment on, so that no change slips in between. What broke off goes on when
    it is done again. PpmError where there is none.
    """
    history = remote.history(name)
    if history is None or not history.entries:
        raise PpmError(f"There is no environment {name}.", hint="Those that there are: ppmctl env list")
    if history.is_archived and all(entry.deleted is not None for entry in history.entries):
        raise PpmError(f"The environment {name} was deleted already.")
    remote.archive(name, _REASON)
    history = remote.history(name) or history  # with what came until it was closed
    left = [entry for entry in history.entries if entry.deleted is None]
    for entry in left:
        remote.yank(name, entry.number, _REASON)
        step(1)
    return len(left)
