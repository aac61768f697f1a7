"""`ppmctl stats`."""

from __future__ import annotations

import click

from ppmctl import output
from ppmctl.cli.options import Answer
from ppmctl.cli.package_source import Place, place_command
from ppmctl.index.statistics import Statistics


@click.command()
@place_command
def stats(place: Place) -> Answer:
    """Count an index's projects, files, bytes, and uploads per month.

    With --root also shows who uploaded, and what was changed and refused according to the audit. --index works with
    any index that you may read.
    """
    with place.query() as query:
        statistics = query.statistics()
    return Answer(statistics.to_json(), lambda: _print(statistics))


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
