"""`ppmctl stats`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ppmctl import output
from ppmctl.cli.options import json_option
from ppmctl.cli.place import connected, place_options, volume_meant
from ppmctl.cli.volume import find_volume, there

if TYPE_CHECKING:
    from ppmctl.stats import Statistics


@click.command()
@place_options
@json_option
def stats(root: Path | None, index: str | None, credential_file: Path | None, as_json: bool) -> None:
    """Count an index's projects, files and bytes, and what was uploaded in which month.

    Beside the volume (--root) also who uploaded, and from the audit what was changed and refused; over HTTP (--index)
    of any index, with the right to read.
    """
    volume = volume_meant(root, index)
    found = _of_volume(volume) if volume is not None else _of_index(index, credential_file)
    if as_json:
        output.as_json(found.to_json())
    else:
        _print(found)


def _of_volume(root: Path) -> Statistics:
    from ppmctl import stats, trail
    from ppmctl.catalogue import Catalogue
    from ppmctl.store import Store

    store = Store(find_volume(there(root)))
    catalogue = Catalogue(store)
    entries = trail.read(store.volume).entries
    return stats.of_volume(catalogue.holdings(), catalogue.filenames(), entries)


def _of_index(index: str | None, credential_file: Path | None) -> Statistics:
    from ppmctl.browse import Browser
    from ppmctl.simple import Index

    with connected(index, credential_file) as (address, transport), output.progress("Projects") as step:
        return Browser(Index(address, transport), transport).statistics(step=step)


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
                    datetime.fromisoformat(holding.uploaded) if holding.uploaded else None,
                )
                for holding in found.holdings
            ],
        )
