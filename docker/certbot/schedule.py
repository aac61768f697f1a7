"""Decide when to ask the authority: often enough for any lifetime of a certificate, but within its rate limits.

Times are in seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HOUR = 3600.0
LONGEST_CHECK = 12 * HOUR
CHECKS_IN_A_LIFE = 6
_JITTER = 0.2

# Let's Encrypt refuses a name for an hour after five failures within an hour.
FAILURES_AN_HOUR = 3
FIRST_PAUSE, LONGEST_PAUSE = HOUR / 3, 12 * HOUR


def until_check(lifetime: float, chance: float) -> float:
    """Return the seconds until the next check for a renewal; `chance` is from 0 to 1.

    Check twice a day, and more often if certificates live only for days or hours. certbot decides when one is due.
    """
    return min(LONGEST_CHECK, lifetime / CHECKS_IN_A_LIFE) * (1 - _JITTER * chance)


def until_retry(streak: int) -> float:
    """Return the seconds until the next try, after `streak` failures in a row."""
    return min(FIRST_PAUSE * 2.0 ** min(streak - 1, 10), LONGEST_PAUSE)


def until_allowed(failures: Sequence[float], now: float) -> float:
    """Return the seconds until the authority may be asked again, even after restarts."""
    recent = sorted(time for time in failures if now - HOUR < time <= now)
    if len(recent) < FAILURES_AN_HOUR:
        return 0.0
    return recent[-FAILURES_AN_HOUR] + HOUR - now


@dataclass(frozen=True, kw_only=True)
class Failures:
    """The times of failed tries, stored in a file so that they survive a restart."""

    path: Path

    def times(self) -> list[float]:
        try:
            lines = self.path.read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return []
        return [float(line) for line in lines if line.replace(".", "", 1).isdigit()]

    def add(self, now: float) -> None:
        """Record a try as failed. Called before the try, so that an interrupted try counts."""
        recent = [time for time in self.times() if now - HOUR < time <= now]
        self.path.write_text("".join(f"{time:.0f}\n" for time in [*recent, now]), encoding="utf-8")

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)
