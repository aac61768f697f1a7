"""`ppmctl stats`."""

from __future__ import annotations

import click

from ppmctl import output
from ppmctl.cli.options import Answer, answers
from ppmctl.cli.package_source import Place, pass_place
from ppmctl.index.statistics import Statistics


@click.command()
@pass_place
@answers
def stats(place: Place) -> Answer:
    """Count an index's projects, files and bytes, and what was uploaded in which month.

    Beside the volume (--root) also who uploaded, and from the audit what was changed and refused; over HTTP (--index)
    of any index, with the right to read.
    """
    with place.query() as query:
        found = query.statistics()
    return Answer(found.to_json(), lambda: _print(found))


def _print(found: Statistics) -> None:
    size = "unknown" if found.size is None else output.Bytes(found.size)
    output.fields([("Projects", len(found.holdings)), ("Files", found.files), ("Size", size)])
    for header, counts in (
        (("MONTH", "UPLOADS"), found.uploads),
        (("PUBLISHER", "UPLOADS"), found.publishers),
        (("CHANGE", "TIMES"), found.changes),
        (("REFUSED", "TIMES"), found.refused),
    ):
        if counts:
            output.data("")
            output.table(header, sorted(counts.items()))
    if found.holdings:
        output.data("")
        output.table(
            ("PROJECT", "LATEST", "RELEASES", "FILES", "SIZE", "UPLOADED"),
            [
                (
                    holding.name,
                    holding.version or None,
                    holding.versions,
                    holding.files,
                    None if holding.size is None else output.Bytes(holding.size),
                    holding.uploaded,
                )
                for holding in found.holdings
            ],
        )
