"""Slow down guesses of a secret on the login page."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from ppmctl.errors import Refused

_FREE = 5  # wrong attempts without a pause: of one name from one address, and four times as many of one address
_LONGEST = 60.0  # seconds of a pause
_FORGOTTEN_AFTER = 900.0
_MOST = 10_000  # names and addresses that are remembered


class Attempts:
    """The wrong attempts to log in. Each makes the next wait longer, for that name and address alone.

    Nobody is locked out by others: another address may try the same name at once.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._wrong: OrderedDict[tuple[str, str], tuple[int, float]] = (
            OrderedDict()
        )  # their number, the last one's time

    def require_turn(self, name: str, address: str) -> None:
        """Raise Refused (429) if the next attempt has to wait."""
        with self._guard:
            wait = max(self._wait((name, address), _FREE), self._wait(("", address), 4 * _FREE))
        if wait > 0:
            raise Refused(429, f"Too many wrong attempts to log in: try again in {int(wait) + 1} seconds")

    def add(self, name: str, address: str) -> None:
        """Count a wrong attempt."""
        with self._guard:
            for key in ((name, address), ("", address)):
                number, last = self._wrong.get(key, (0, 0.0))
                if self._clock() - last > _FORGOTTEN_AFTER:
                    number = 0
                self._wrong[key] = (number + 1, self._clock())
                self._wrong.move_to_end(key)
            while len(self._wrong) > _MOST:
                self._wrong.popitem(last=False)

    def forget(self, name: str, address: str) -> None:
        """Forget the wrong attempts of a name, after a right one."""
        with self._guard:
            self._wrong.pop((name, address), None)

    def _wait(self, key: tuple[str, str], free: int) -> float:
        number, last = self._wrong.get(key, (0, 0.0))
        if number < free:
            return 0.0
        return last + min(2.0 ** min(number - free, 10), _LONGEST) - self._clock()
