"""Read the projects of a volume: pages and statistics, for the server and for commands on its host."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable

from ppmctl.access import audit_query
from ppmctl.access.audit_query import Entry
from ppmctl.distributions.project_page import PageFile, ProjectPage
from ppmctl.errors import PpmError
from ppmctl.index import project_details, project_folder, statistics
from ppmctl.index.project_folder import Folder
from ppmctl.index.search_index import ALL, SearchIndex
from ppmctl.index.statistics import Holding, Statistics
from ppmctl.index.store import Store


class Catalogue:
    """The projects of a volume."""

    def __init__(self, store: Store) -> None:
        self.where = f"the volume at {store.volume.root}"
        self.names = store.projects
        self.claim = store.last_claim_of
        self._store = store

    def project(self, name: str) -> ProjectPage | None:
        """Return the page of a project, or None if there never was one of that name."""
        self._store.cache.require(name)
        content = project_folder.read(self._store.volume, name)
        return project_details.page(content) if content is not None else None

    def metadata(self, file: PageFile) -> bytes | None:
        """Return the core metadata of a file, or None if it has none."""
        return project_details.metadata(self._store, file)

    def search(self, text: str) -> list[Holding]:
        """Return what the search index finds, the best match first, once it is up to date."""
        index = SearchIndex(self._store)
        with contextlib.suppress(OSError, PpmError):  # an index that is out of date answers too
            index.refresh()
        listed, _total = index.search(text, limit=ALL)
        return [Holding(name=each.name, version=each.version, summary=each.summary) for each in listed]

    def statistics(self) -> Statistics:
        """Return all numbers, with those of the audit. This reads every project."""
        holdings: list[Holding] = []
        stored: set[str] = set()  # files that a project's page hides are counted too
        for name in self.names():
            with contextlib.suppress(PpmError, OSError):  # removed meanwhile, or damaged, which `index check` reports
                content = self._store.read(name)
                stored.update(file.filename for file in content.files)
                holdings.append(_holding(content))
        return _with_audit(tuple(holdings), stored, audit_query.read(self._store.volume).entries)


def _holding(content: Folder) -> Holding:
    page = project_details.page(content)
    records = {file.filename: file.record for file in content.files}
    return Holding.of(page, publishers=[records[file.filename].uploaded_by for file in page.files])


def _with_audit(holdings: tuple[Holding, ...], stored: set[str], entries: Iterable[Entry]) -> Statistics:
    """Return the numbers of `holdings` and of the audit. Uploads of the files `stored` are counted already."""
    uploads = statistics.add_up(holding.uploads for holding in holdings)
    publishers = statistics.add_up(holding.publishers for holding in holdings)
    changes: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    published: set[str] = set()
    for entry in entries:
        if not entry.is_done:
            refused[str(entry.values.get("status", "other"))] += _times(entry)
            continue
        if entry.action == "publish" and entry.what in published:
            continue  # the same file was sent again
        changes[entry.action] += 1
        if entry.action != "publish":
            continue
        published.add(entry.what)
        if entry.what not in stored:  # removed since
            uploads[f"{entry.time:%Y-%m}"] += 1
            publishers[entry.by] += 1
    return Statistics(holdings=holdings, uploads=uploads, publishers=publishers, changes=changes, refused=refused)


def _times(entry: Entry) -> int:
    count = entry.values.get("refused", 1)  # one line can stand for many refusals
    return count if isinstance(count, int) else 1
