"""Slow down guesses of a secret on the login page, and limit the accounts that anyone may create."""

from __future__ import annotations

import contextlib
import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator

from ppmctl.errors import Refused

_FREE = 5  # wrong attempts without a pause: of one name from one address, and four times as many of one address
_LONGEST = 60.0  # seconds of a pause of one name from one address
_LONGEST_OF_ALL = 4.0  # of one address, which many users may share behind a router
_FORGOTTEN_AFTER = 900.0
_MOST = 10_000  # names and addresses that are remembered
AN_HOUR = 5  # accounts of one address; how many in all: ppmctl.access.rules
_HOUR = 3600.0


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

    def begin(self, name: str, address: str) -> None:
        """Count an attempt, as wrong until `succeed`, so that many at once don't pass together.

        Raise Refused (429) if it has to wait; it is then not counted.
        """
        own, all_of_address = (name, network(address)), ("", network(address))
        with self._guard:
            wait = max(self._wait(own, _FREE, _LONGEST), self._wait(all_of_address, 4 * _FREE, _LONGEST_OF_ALL))
            if wait > 0:
                raise Refused(429, f"Too many wrong attempts to log in: try again in {int(wait) + 1} seconds")
            for key in (own, all_of_address):
                number, last = self._wrong.get(key, (0, 0.0))
                if self._clock() - last > _FORGOTTEN_AFTER:
                    number = 0
                self._wrong[key] = (number + 1, self._clock())
                self._wrong.move_to_end(key)
            while len(self._wrong) > _MOST:
                self._wrong.popitem(last=False)

    def succeed(self, name: str, address: str) -> None:
        """Forget the wrong attempts of a name, and of its address the one that was right."""
        with self._guard:
            self._wrong.pop((name, network(address)), None)
            number, last = self._wrong.pop(("", network(address)), (0, 0.0))
            if number > 1:
                self._wrong["", network(address)] = (number - 1, last)

    def _wait(self, key: tuple[str, str], free: int, longest: float) -> float:
        number, last = self._wrong.get(key, (0, 0.0))
        if number < free:
            return 0.0
        return last + min(2.0 ** min(number - free, 10), longest) - self._clock()


class Registrations:
    """How many accounts each address has got, of those that anyone may create for themselves."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._times: OrderedDict[str, list[float]] = OrderedDict()

    @contextlib.contextmanager
    def one(self, address: str) -> Iterator[None]:
        """Count an account for an address, unless its creation raises. Raise Refused (429) for one too many."""
        key, now = network(address), self._clock()
        with self._guard:
            recent = [each for each in self._times.get(key, ()) if now - each < _HOUR]
            if len(recent) >= AN_HOUR:
                wait = int((recent[0] + _HOUR - now) / 60) + 1
                raise Refused(
                    429, f"{AN_HOUR} accounts an hour can be created from one address: try again in {wait} minutes"
                )
            self._times[key] = [*recent, now]
            self._times.move_to_end(key)
            if len(self._times) > _MOST:
                self._times.popitem(last=False)
        try:
            yield
        except Exception:
            with self._guard, contextlib.suppress(KeyError, ValueError):
                self._times[key].remove(now)
            raise


def network(address: str) -> str:
    """Return what one client can choose its addresses from: an IPv4 address itself, of an IPv6 address the /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4 or parsed.ipv4_mapped is not None:
        return address
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
