"""When each release was last installed, for the retention of releases and `ppmctl stats unused`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from packaging.version import Version

from ppmctl.downloads import database
from ppmctl.index.layout import Volume

_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class LastInstalls:
    """The last install of each release. `since` and `until` are the first and the last day of the counting without
    a gap until now; None if nothing was ever counted.

    A release without a last install was not installed within: what was before is not known.
    """

    since: date | None
    until: date | None = None
    _days: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def of(self, project: str, version: Version | str) -> date | None:
        """Return the day (UTC) of the last install of a release; None without one. `project` is normalised."""
        day = self._days.get((project, str(version)))
        return None if day is None else database.day_of(day)

    def gap(self, start: date, today: date) -> str:
        """Return a sentence that says which installs from `start` to `today` are not known; "" if all are."""
        if self.since is None or self.until is None:
            return "No downloads have been counted yet: what was installed before is not known."
        if self.until < today - _ONE_DAY:
            return f"Downloads have not been counted since {self.until}: what was installed later is not known."
        if self.since > start:
            why = "what was installed before is not known"
            return f"Downloads are counted without a gap only since {self.since}: {why}."
        return ""


def last_installs(volume: Volume) -> LastInstalls:
    """Return the last installs of all releases. Raise PpmError if the counts can't be read."""
    with database.reading(volume) as connection:
        if connection is None:
            return LastInstalls(since=None)
        times = database.counted(connection)
        query = "SELECT project, version, max(last_install) FROM files WHERE last_install IS NOT NULL GROUP BY 1, 2"
        days = {(project, version): day for project, version, day in connection.execute(query)}
        first, last = (datetime.fromtimestamp(each, UTC).date() for each in times) if times else (None, None)
        return LastInstalls(since=first, until=last, _days=days)
