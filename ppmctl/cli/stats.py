"""`ppmctl stats`."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import urlencode

import click

from ppmctl import output
from ppmctl.access import audit_query, rights
from ppmctl.cli import suggestions
from ppmctl.cli.groups import Group
from ppmctl.cli.options import Answer
from ppmctl.cli.package_source import Place, connected, place_command
from ppmctl.cli.volume import find_volume, volume_command
from ppmctl.distributions.distribution import normalise
from ppmctl.distributions.names import is_name
from ppmctl.downloads.report import Downloads, Installed
from ppmctl.errors import NOT_SUCH_JSON, PpmError, UsageError
from ppmctl.index.layout import Volume
from ppmctl.index.statistics import Statistics

_SHOWN_DAYS = 14
_YEARS = re.compile(r"([0-9]{1,2})y", re.ASCII)
_since_option = click.option(
    "--since", metavar="TIME", help=f"Only downloads since then: 1y, {rights.DURATIONS} ago, or a date (UTC)."
)


@click.group(cls=Group, invoke_without_command=True)
@place_command
def stats(place: Place) -> Answer:
    """Count an index's projects, files, bytes, and uploads per month; the subcommands count its downloads.

    With --root also shows who uploaded, and what was changed and refused according to the audit. --index works with
    any index that you may read.
    """
    context = click.get_current_context()
    if context.invoked_subcommand is not None:
        if place.was_typed or context.params["as_json"]:
            raise UsageError(f"Options go after the subcommand: ppmctl stats {context.invoked_subcommand} …")
        return Answer(None, lambda: None)
    with place.query() as query:
        statistics = query.statistics()
    return Answer(statistics.to_json(), lambda: _print(statistics))


@stats.command()
@click.argument("project", required=False, shell_complete=suggestions.projects)
@_since_option
@place_command
def downloads(place: Place, project: str | None, since: str | None) -> Answer:
    """Print how often projects were installed, or the releases and files of PROJECT.

    An install is a file that was sent whole to an installer or a browser. Copies for mirrors and metadata are counted
    apart. The counts are at most a minute old, and have no addresses and no users.
    """
    if project is not None and not is_name(project):
        raise PpmError(f"{project!r} is not a name of a project.")
    name = normalise(project) if project is not None else None
    start = _day(since)
    found = (
        _of_volume(find_volume(place.root), name, start) if place.root is not None else _of_index(place, name, start)
    )
    return Answer(found.to_json(), lambda: _print_downloads(found))


@stats.command()
@click.option("--since", required=True, metavar="TIME", help=f"1y, {rights.DURATIONS} ago, or a date (UTC).")
@volume_command
def unused(root: Path, since: str) -> Answer:
    """List the releases that were not installed since TIME.

    What was installed before the counting began, or before its last gap, is not known: the first line has that day.
    """
    from ppmctl.downloads import usage

    volume, start = find_volume(root), _day(since) or date.min
    installs = usage.last_installs(volume)
    rows = [
        (project, version, uploaded, _text(last))
        for project, version, uploaded in _releases(volume)
        if uploaded < start.isoformat() and ((last := installs.of(project, version)) is None or last < start)
    ]
    gap = installs.gap(start, datetime.now(UTC).date())
    names = ("project", "version", "uploaded", "last_install")
    return Answer(
        {
            "counted_since": _text(installs.since),
            "counted_until": _text(installs.until),
            "since": start.isoformat(),
            "releases": [dict(zip(names, row, strict=True)) for row in rows],
        },
        lambda: output.table(("PROJECT", "VERSION", "UPLOADED", "LAST INSTALL"), rows),
        notes=[gap] if gap else [],
    )


@stats.command()
@click.option(
    "--log",
    "logs",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),  # on the machine of the volume, with its rotated files: never copied
    help="A log of requests, with its rotated files FILE.1, FILE.2.gz, …; by default ROOT/requests/requests.log.",
)
@click.option(
    "--every", metavar="DURATION", help=f"Repeat this until a signal, at this interval: {rights.DURATIONS}."
)
@volume_command
def count(root: Path, logs: tuple[Path, ...], every: str | None) -> Answer:
    """Count the new lines in logs of requests.

    A server does this every minute with the log on its volume, and ppm-count.timer on a host with nginx's. Each line
    is counted once, also if a log was rotated, copied, compressed or truncated, or if this command was interrupted.
    """
    from ppmctl.downloads.counter import Counter

    if every is not None and click.get_current_context().params["as_json"]:
        raise UsageError("--json prints the result of one run; --every never ends.")
    counter = Counter(find_volume(root), [path.absolute() for path in logs])
    if every is not None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: stop.set())
        counter.run(every=rights.parse_duration(every).total_seconds(), stop=stop)
        return Answer(None, lambda: None)
    counted = counter.count()
    if counted is None:
        return Answer({"lines": 0, "broken": 0}, lambda: output.say("Another process is counting."))
    if counted.unreadable:
        raise PpmError(f"Requests can't be counted: {'; '.join(counted.unreadable)}.")
    notes = [f"Skipped {output.count(counted.broken, 'invalid line')}."] if counted.broken else []
    return Answer({"lines": counted.lines, "broken": counted.broken}, lambda: None, notes=notes)


def _day(text: str | None) -> date | None:
    """Return the day of `--since`. Raise UsageError for another text."""
    if text is None:
        return None
    years = _YEARS.fullmatch(text)
    text = f"{int(years[1]) * 365}d" if years else text
    return audit_query.parse_since(text, now=datetime.now(UTC)).date()


def _of_volume(volume: Volume, project: str | None, start: date | None) -> Downloads:
    from ppmctl.downloads import report
    from ppmctl.index.store import Store

    if project is not None and not Store(volume).has_project(project):
        raise PpmError(f"There is no project {project!r} in the volume at {volume.root}.")
    return report.read(volume, project=project, start=start)


def _of_index(place: Place, project: str | None, start: date | None) -> Downloads:
    asked = {"project": project, "since": start and start.isoformat()}
    query = urlencode({name: value for name, value in asked.items() if value})
    with connected(place.index, place.credential_file) as (address, transport):
        answer = transport.request("GET", f"{address.base}/api/stats/downloads?{query}")
        try:
            return Downloads.from_json(answer.values)
        except NOT_SUCH_JSON as exc:
            raise PpmError(
                f"The index at {address.base} does not count downloads.",
                hint="Its release of ppm may be an older one.",
            ) from exc


def _releases(volume: Volume) -> Iterator[tuple[str, str, str]]:
    """Yield each release of a volume: its project, its version, and the day of its last upload."""
    from ppmctl.index.store import Store
    from ppmctl.server.catalog import Catalogue

    catalogue = Catalogue(Store(volume))
    for name in catalogue.names():
        page = catalogue.project(name)
        for release in page.releases if page is not None else ():
            times = [file.upload_time.astimezone(UTC) for file in release.files if file.upload_time is not None]
            yield name, str(release.version), f"{max(times):%Y-%m-%d}" if times else ""


def _print_downloads(found: Downloads) -> None:
    if found.since is None:
        output.say("Nothing was counted yet.")
        return
    output.fields(
        [
            ("Counted since", found.since.isoformat()),
            ("Installs", found.installs),
            ("In CI", found.in_ci),
            ("Copies for mirrors", found.mirrors),
            ("Metadata", found.metadata),
        ]
    )
    days = sorted(found.days.items())[-_SHOWN_DAYS:]
    names = "PROJECT" if found.project is None else "FILE"
    for header, rows in (
        (("DAY", "INSTALLS"), [(day.isoformat(), number) for day, number in days]),
        (("CLIENT", "INSTALLS"), list(found.clients.items())),
        (("PYTHON", "INSTALLS"), list(found.pythons.items())),
        (("VERSION", "INSTALLS", "LAST"), _rows(found.releases)),
        ((names, "INSTALLS", "LAST"), _rows(found.entries)),
    ):
        if rows:
            output.data("")
            output.table(header, rows)


def _rows(entries: Iterable[Installed]) -> list[tuple[str, int, str | None]]:
    return [(each.name, each.installs, _text(each.last)) for each in entries]


def _text(day: date | None) -> str | None:
    return day.isoformat() if day is not None else None


def _print(statistics: Statistics) -> None:
    size = "unknown" if statistics.size is None else output.Bytes(statistics.size)
    output.fields([("Projects", len(statistics.holdings)), ("Files", statistics.files), ("Size", size)])
    for header, counts in (
        (("MONTH", "UPLOADS"), statistics.uploads),
        (("PUBLISHER", "UPLOADS"), statistics.publishers),
        (("CHANGE", "TIMES"), statistics.changes),
        (("REFUSED", "TIMES"), statistics.refused),
    ):
        if counts:
            output.data("")
            output.table(header, sorted(counts.items()))
    if statistics.holdings:
        output.data("")
        rows = [
            (
                each.name,
                each.version or None,
                each.versions,
                each.files,
                None if each.size is None else output.Bytes(each.size),
                each.uploaded,
            )
            for each in statistics.holdings
        ]
        output.table(("PROJECT", "LATEST", "RELEASES", "FILES", "SIZE", "UPLOADED"), rows)
