"""Retry requests for a while: an index that restarts is back within seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from ppmctl import events
from ppmctl.errors import PpmError, Unavailable, Unreachable

_T = TypeVar("_T")

PATIENCE = 60.0  # seconds from the first failure on; a longer outage needs an administrator
PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds before each further attempt; the last value repeats


class Patience:
    """The waits between the attempts of one request, and their end."""

    def __init__(
        self, *, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sleep = sleep
        self._clock = clock
        self._since: float | None = None
        self._failures = 0

    def wait(self, failure: PpmError, *, retry_after: str = "") -> bool:
        """Report the failure and wait before the next attempt; return False at once if PATIENCE is over.

        `retry_after` is that header of the answer: seconds to wait, if they are within PATIENCE.
        """
        now = self._clock()
        if self._since is None:
            self._since = now
        pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
        if retry_after.isdecimal():
            pause = max(float(retry_after), PAUSES[0])
        if now - self._since + pause > PATIENCE:
            return False
        self._failures += 1
        events.note(f"{failure.message} Trying again in {pause:.0f} s.")
        self._sleep(pause)
        return True

    def sit_out(self, ask: Callable[[], _T], trouble: type[Unreachable] = Unavailable) -> _T:
        """Return what `ask` returns. While it raises `trouble`, call it again; raise `trouble` after PATIENCE."""
        while True:
            try:
                return ask()
            except trouble as exc:
                if not self.wait(exc, retry_after=exc.retry_after):
                    raise
