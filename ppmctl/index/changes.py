"""Which projects have changed since the search index was updated."""

from __future__ import annotations

from threading import Condition


class Changes:
    """The projects that this process changed, until a thread of a server or the end of a command takes them.

    What a process leaves untaken, because it is killed, is found at the next start (`SearchIndex.refresh`).
    """

    def __init__(self) -> None:
        self._condition = Condition()
        self._projects: set[str] = set()
        self._may_be_any = False
        self._is_busy = False

    def add(self, project: str) -> None:
        """Add a project. This never waits for the update."""
        with self._condition:
            self._projects.add(project)
            self._condition.notify_all()

    def add_any(self) -> None:
        """Note that any project may have changed, or that the index is missing."""
        with self._condition:
            self._may_be_any = True
            self._condition.notify_all()

    def take(self, timeout: float | None) -> frozenset[str] | None:
        """Wait for changes and return them; None if it may be any project, and after `timeout` seconds.

        The next call means that what this one returned is done.
        """
        with self._condition:
            self._is_busy = False
            self._condition.notify_all()
            may_be_any = not self._condition.wait_for(self._has_any, timeout) or self._may_be_any
            taken = frozenset(self._projects)
            self._projects, self._may_be_any, self._is_busy = set(), False, True
            return None if may_be_any else taken

    def wait_until_done(self, timeout: float) -> bool:
        """Wait until all changes were taken and are done; return False after `timeout` seconds."""
        with self._condition:
            return self._condition.wait_for(lambda: not (self._is_busy or self._has_any()), timeout)

    def _has_any(self) -> bool:
        return bool(self._projects) or self._may_be_any

    def __bool__(self) -> bool:
        with self._condition:
            return self._has_any()
