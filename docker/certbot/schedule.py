"""When the authority is asked: often enough for any lifetime of a certificate, and never into its rate limits.

Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HOUR = 3600.0
LONGEST_CHECK = 12 * HOUR
CHECKS_IN_A_LIFE = 6
_JITTER = 0.2

# Let's Encrypt refuses a name for an hour after five failures in one.
FAILURES_AN_HOUR = 3
FIRST_PAUSE, LONGEST_PAUSE = HOUR / 3, 12 * HOUR


def until_check(lifetime: float, chance: float) -> float:
    """Seconds until it is looked again whether a certificate is to be renewed; `chance` is from 0 to 1.

    Twice a day, and more often where certificates live for days or hours; when one is due is for certbot to say.
    """
    return min(LONGEST_CHECK, lifetime / CHECKS_IN_A_LIFE) * (1 - _JITTER * chance)


def until_retry(streak: int) -> float:
    """Seconds until the next try after so many that failed in a row."""
    return min(FIRST_PAUSE * 2.0 ** min(streak - 1, 10), LONGEST_PAUSE)


def until_allowed(failures: Sequence[float], now: float) -> float:
    """Seconds until the authority may be asked at all, whoever restarts what meanwhile."""
    recent = sorted(time for time in failures if now - HOUR < time <= now)
    if len(recent) < FAILURES_AN_HOUR:
        return 0.0
    return recent[-FAILURES_AN_HOUR] + HOUR - now


@dataclass(frozen=True, kw_only=True)
class Failures:
    """The times of tries that brought nothing; kept in a file, so that a restart does not forget them."""

    path: Path

    def times(self) -> list[float]:
        try:
            lines = self.path.read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return []
        return [float(line) for line in lines if line.replace(".", "", 1).isdigit()]

    def add(self, now: float) -> None:
        """Note a try as failed: before it, so that one that is killed counts."""
        kept = [time for time in self.times() if now - HOUR < time <= now]
        self.path.write_text("".join(f"{time:.0f}\n" for time in [*kept, now]), encoding="utf-8")

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)
