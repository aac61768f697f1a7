"""Count the projects, files, uploads and downloads of an index in the background, for pages that must not wait."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ppmctl.index.search_index import SearchIndex
from ppmctl.index.statistics import Holding
from ppmctl.index.store import Store
from ppmctl.web import download_plots
from ppmctl.web.download_plots import Plots

log = logging.getLogger(__name__)

FRESH = 300.0  # seconds after which the numbers are counted again
_WAIT = 1.0  # seconds that a page waits for them
_MOST = 20  # projects in the list of the largest


@dataclass(frozen=True, kw_only=True)
class Counted:
    """The numbers of an index at the time `at`. `size` is in bytes; `uploads` are by month, `largest` by size."""

    at: datetime
    projects: int
    files: int
    size: int
    uploads: Mapping[str, int]
    largest: tuple[Holding, ...]
    plots: Plots | None


class Numbers:
    """The numbers of one index. Only one thread counts at a time, and nothing is read before they are wanted."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._guard = threading.Lock()
        self._counting: threading.Thread | None = None
        self._counted: Counted | None = None
        self._until = 0.0  # when they are too old

    def get(self) -> Counted | None:
        """Return the last numbers, and count again if they are old; None during the first count."""
        with self._guard:
            if self._counting is None and time.monotonic() >= self._until:
                self._counting = threading.Thread(target=self._count, daemon=True)
                self._counting.start()
            counting = self._counting
        if counting is not None:
            counting.join(_WAIT)
        return self._counted

    def _count(self) -> None:
        try:
            plots = download_plots.of(self._store.volume)
            self._counted = _counted(SearchIndex(self._store), plots)
            self._until = time.monotonic() + FRESH
        except Exception:  # the last numbers stay, and the next page tries again
            log.exception("The numbers of the index can't be counted")
        finally:
            with self._guard:
                self._counting = None


def _counted(index: SearchIndex, plots: Plots | None) -> Counted:
    totals = index.totals()
    return Counted(
        at=datetime.now(UTC),
        projects=totals.projects,
        files=totals.files,
        size=totals.size,
        uploads=index.uploads(),
        plots=plots,
        largest=tuple(index.largest(_MOST)),
    )
