"""How many requests were answered, by what they were for and by status, and when they were counted, for metrics."""

from __future__ import annotations

from ppmctl.downloads import database
from ppmctl.index.layout import Volume


def totals(volume: Volume) -> dict[tuple[str, int], int]:
    """Return how many requests were answered since the first one that was counted, by kind and status.

    The kinds are those of `request_line.KINDS`; the status is 0 for a damaged line.
    Raise PpmError if the counts can't be read.
    """
    with database.reading(volume) as connection:
        if connection is None:
            return {}
        return {(kind, status): number for kind, status, number in connection.execute("SELECT * FROM traffic")}


def last_run(volume: Volume) -> int | None:
    """Return when all logs were read last, in seconds since the epoch; None if never. Raise PpmError as `totals`."""
    with database.reading(volume) as connection:
        times = None if connection is None else database.counted(connection)
        return times and times[1]
