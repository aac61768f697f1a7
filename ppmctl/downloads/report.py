"""Numbers about downloads, for `ppmctl stats downloads`, the HTTP API and web pages."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from ppmctl import files
from ppmctl.distributions.distribution import normalise, one_line
from ppmctl.distributions.names import is_name
from ppmctl.downloads import database
from ppmctl.downloads.database import INSTALL, METADATA, MIRROR
from ppmctl.index.layout import Volume

_KEPT = 8  # reports
UNKNOWN = "unknown"  # Python of a client that does not send its version


@dataclass(frozen=True, kw_only=True)
class Installed:
    """The installs of a project, a release or a file, and the day of the last one."""

    name: str
    installs: int
    last: date | None


@dataclass(frozen=True, kw_only=True)
class Downloads:
    """The downloads since `start`, of one project or of all. `since` is the first day that was counted, or None.

    `installs` are files that were sent whole, but for those to `mirrors`. `metadata` are core metadata files.
    `days` has the installs by day; those of more than 400 days ago are at the first day of their month. `entries` are
    projects; of a single project its files, and `releases` its releases.
    """

    since: date | None = None
    start: date | None = None
    project: str | None = None
    mirrors: int = 0
    metadata: int = 0
    in_ci: int = 0
    days: Mapping[date, int] = field(default_factory=dict)
    clients: Mapping[str, int] = field(default_factory=dict)
    pythons: Mapping[str, int] = field(default_factory=dict)
    entries: tuple[Installed, ...] = ()
    releases: tuple[Installed, ...] = ()

    @property
    def installs(self) -> int:
        return sum(self.days.values())

    @property
    def months(self) -> dict[str, int]:
        """Return the installs by month (2026-11), the oldest first."""
        months: Counter[str] = Counter()
        for day, number in sorted(self.days.items()):
            months[f"{day:%Y-%m}"] += number
        return dict(months)

    def to_json(self) -> dict[str, Any]:
        """Return the values for `--json` and the HTTP API."""
        values: dict[str, Any] = {
            "counted_since": self.since and self.since.isoformat(),
            "since": self.start and self.start.isoformat(),
            "project": self.project,
            "installs": self.installs,
            "mirrors": self.mirrors,
            "metadata": self.metadata,
            "ci": self.in_ci,
            "by_day": {day.isoformat(): number for day, number in sorted(self.days.items())},
            "by_client": dict(self.clients),
            "by_python": dict(self.pythons),
        }
        if self.project is None:
            return values | {"by_project": _to_json(self.entries)}
        return values | {"by_version": _to_json(self.releases), "by_file": _to_json(self.entries)}

    @classmethod
    def from_json(cls, values: Any) -> Downloads:
        """Return the downloads in an answer of `/api/stats/downloads`; an error of NOT_SUCH_JSON for other values."""
        project = values["project"]
        if project is not None and not is_name(project):
            raise ValueError(f"{project!r} is not a name of a project")
        return cls(
            since=_day(values["counted_since"]),
            start=_day(values["since"]),
            project=project and normalise(project),
            mirrors=int(values["mirrors"]),
            metadata=int(values["metadata"]),
            in_ci=int(values["ci"]),
            days={date.fromisoformat(day): int(number) for day, number in values["by_day"].items()},
            clients={one_line(name): int(number) for name, number in values["by_client"].items()},
            pythons={one_line(name): int(number) for name, number in values["by_python"].items()},
            entries=_from_json(values["by_project" if project is None else "by_file"]),
            releases=_from_json(values.get("by_version", [])),
        )


def _to_json(entries: tuple[Installed, ...]) -> list[dict[str, Any]]:
    return [
        {"name": each.name, "installs": each.installs, "last_install": each.last and each.last.isoformat()}
        for each in entries
    ]


def _from_json(values: Any) -> tuple[Installed, ...]:
    return tuple(
        Installed(name=one_line(each["name"]), installs=int(each["installs"]), last=_day(each["last_install"]))
        for each in values
    )


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


class Reports:
    """The reports of a server. Those of all projects are kept until something was counted: they take the longest."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._kept: dict[tuple[object, date | None], Downloads] = {}

    def read(self, project: str | None, start: date | None, may_read: Callable[[str], bool] | None) -> Downloads:
        """Return what `read` returns."""
        if project is not None or may_read is not None:
            return read(self._volume, project=project, start=start, may_read=may_read)
        key = files.identity(self._volume.downloads), start
        kept = self._kept.get(key)
        if kept is None:
            kept = read(self._volume, start=start)
            self._kept = ({} if len(self._kept) >= _KEPT else self._kept) | {key: kept}
        return kept


def read(
    volume: Volume,
    *,
    project: str | None = None,
    start: date | None = None,
    may_read: Callable[[str], bool] | None = None,
) -> Downloads:
    """Return the downloads since `start`, of a project (a normalised name) or of all projects.

    With `may_read` only projects count for which it returns True. Raise PpmError if the counts can't be read.
    """
    with database.reading(volume) as connection:
        if connection is None:
            return Downloads(start=start, project=project)
        _choose(connection, project, may_read)
        since = database.day_of(*connection.execute("SELECT day FROM started").fetchone())
        return _counted(connection, Downloads(since=since, start=start, project=project))


def _choose(connection: sqlite3.Connection, project: str | None, may_read: Callable[[str], bool] | None) -> None:
    """Write the numbers of the wanted files into a temporary table. So no query reads the rows of other files."""
    connection.execute("CREATE TEMP TABLE chosen (id INTEGER PRIMARY KEY)")
    if project is None and may_read is None:
        connection.execute("INSERT INTO chosen SELECT id FROM files")
        return
    names = [project] if project is not None else [row[0] for row in connection.execute("SELECT project FROM files")]
    for name in dict.fromkeys(names):
        if may_read is None or may_read(name):
            connection.execute("INSERT INTO chosen SELECT id FROM files WHERE project = ?", (name,))


def _counted(connection: sqlite3.Connection, about: Downloads) -> Downloads:
    start = database.number_of(about.start) if about.start else 0
    totals = connection.execute(
        "SELECT day, what, sum(number) FROM chosen CROSS JOIN downloads ON file = chosen.id"
        " WHERE day >= ? GROUP BY 1, 2",
        (start,),
    ).fetchall()
    clients: Counter[str] = Counter()
    pythons: Counter[str] = Counter()
    in_ci = 0
    for name, python, is_ci, number in connection.execute(
        "SELECT name, python, ci, number FROM clients JOIN ("
        " SELECT client, sum(number) AS number FROM chosen CROSS JOIN downloads ON file = chosen.id"
        " WHERE day >= ? AND what = ? GROUP BY 1) ON client = clients.id",
        (start, INSTALL),
    ):
        clients[name] += number
        pythons[python or UNKNOWN] += number
        in_ci += number if is_ci else 0
    rows = connection.execute(
        "SELECT project, version, filename, number, last_install FROM files JOIN ("
        " SELECT file, sum(number) AS number FROM chosen CROSS JOIN downloads ON file = chosen.id"
        " WHERE day >= ? AND what = ? GROUP BY 1) ON file = files.id",
        (start, INSTALL),
    ).fetchall()
    return Downloads(
        since=about.since,
        start=about.start,
        project=about.project,
        mirrors=sum(number for _day, what, number in totals if what == MIRROR),
        metadata=sum(number for _day, what, number in totals if what == METADATA),
        in_ci=in_ci,
        days={database.day_of(day): number for day, what, number in totals if what == INSTALL},
        clients=dict(clients.most_common()),
        pythons=dict(pythons.most_common()),
        entries=_added(rows, 0 if about.project is None else 2),
        releases=() if about.project is None else _added(rows, 1),
    )


def _added(rows: list[tuple[Any, ...]], column: int) -> tuple[Installed, ...]:
    """Return the installs by project, version or file name (the number of the column), the most first."""
    numbers: Counter[str] = Counter()
    last: dict[str, int] = {}
    for row in rows:
        numbers[row[column]] += row[3]
        last[row[column]] = max(last.get(row[column], 0), row[4] or 0)
    made = (Installed(name=name, installs=numbers[name], last=database.day_of(last[name])) for name in numbers)
    return tuple(sorted(made, key=lambda each: (-each.installs, each.name)))
