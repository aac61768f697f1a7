"""The plots of downloads on pages: of a project for its readers, of the whole index for administrators."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date

from ppmctl.downloads import report
from ppmctl.downloads.report import Downloads
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume
from ppmctl.web import charts
from ppmctl.web.charts import Bar

log = logging.getLogger(__name__)

_MONTHS = 12
_BARS = 10  # of clients, releases or projects


@dataclass(frozen=True, kw_only=True)
class Plots:
    """Downloads as the bars of plots: `months` are the newest, the others have the most installs."""

    counts: Downloads
    months: tuple[Bar, ...]
    clients: tuple[Bar, ...]
    most: tuple[Bar, ...]

    @property
    def since(self) -> date | None:
        return self.counts.since


def of(volume: Volume, project: str | None = None) -> Plots | None:
    """Return the plots of a project or of all; None if nothing was counted, or the counts can't be read."""
    try:
        counts = report.read(volume, project=project)
    except (PpmError, OSError) as exc:  # a page is more than its plots
        log.error("A page has no plots of downloads: %s", exc)
        return None
    if counts.since is None:
        return None
    most = counts.entries if project is None else counts.releases
    return Plots(
        counts=counts,
        months=charts.bars((month, number, str(number)) for month, number in [*counts.months.items()][-_MONTHS:]),
        clients=charts.bars((name, number, str(number)) for name, number in [*counts.clients.items()][:_BARS]),
        most=charts.bars((each.name, each.installs, str(each.installs)) for each in most[:_BARS]),
    )
