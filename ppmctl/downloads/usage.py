"""When each release was last installed, for the retention of releases and `ppmctl stats unused`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from packaging.version import Version

from ppmctl.downloads import database
from ppmctl.index.layout import Volume


@dataclass(frozen=True, kw_only=True)
class LastInstalls:
    """The last install of each release. `since` is the first day that was counted; None if nothing was ever counted.

    A release without a last install was not installed since then: what was before is not known.
    """

    since: date | None
    _days: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def of(self, project: str, version: Version | str) -> date | None:
        """Return the day (UTC) of the last install of a release; None without one. `project` is normalised."""
        day = self._days.get((project, str(version)))
        return None if day is None else database.day_of(day)


def last_installs(volume: Volume) -> LastInstalls:
    """Return the last installs of all releases. Raise PpmError if the counts can't be read."""
    with database.reading(volume) as connection:
        if connection is None:
            return LastInstalls(since=None)
        query = "SELECT project, version, max(last_install) FROM files WHERE last_install IS NOT NULL GROUP BY 1, 2"
        days = {(project, version): day for project, version, day in connection.execute(query)}
        return LastInstalls(
            since=database.day_of(*connection.execute("SELECT day FROM started").fetchone()), _days=days
        )
