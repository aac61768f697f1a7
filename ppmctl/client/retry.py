"""Retry a request after a temporary failure, for up to a minute: an index that restarts is back within seconds.

The callers choose the failures: Unavailable (a status in `http.TEMPORARY`, such as 503), or any Unreachable.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from ppmctl import events
from ppmctl.errors import PpmError, Unavailable, Unreachable

_T = TypeVar("_T")

GIVE_UP_AFTER = 60.0  # seconds from the first failure on; a longer outage needs an administrator
PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds before each further attempt; the last value repeats


class Retries:
    """Waits between the attempts of one request, and decides when to give up."""

    def __init__(
        self, *, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sleep = sleep
        self._clock = clock
        self._since: float | None = None
        self._failures = 0

    def wait(self, failure: PpmError, *, retry_after: str = "") -> bool:
        """Report the failure, wait before the next attempt, and return True.

        Return False at once if that attempt would come later than GIVE_UP_AFTER. `retry_after` is the value of the
        answer's Retry-After: seconds to wait, at least 1; other values, such as a date, are ignored.
        """
        now = self._clock()
        if self._since is None:
            self._since = now
        pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
        if retry_after.isdecimal():
            pause = max(float(retry_after), PAUSES[0])
        if now - self._since + pause > GIVE_UP_AFTER:
            return False
        self._failures += 1
        events.note(f"{failure.message} Trying again in {pause:.0f} s.")
        self._sleep(pause)
        return True

    def retry(self, ask: Callable[[], _T], on: type[Unreachable] = Unavailable) -> _T:
        """Return what `ask` returns; call it again while it raises `on`, which is raised after GIVE_UP_AFTER."""
        while True:
            try:
                return ask()
            except on as exc:
                if not self.wait(exc, retry_after=exc.retry_after):
                    raise
