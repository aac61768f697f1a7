"""The projects of a volume: their pages, searches and numbers, for the server and for commands on its host."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable

from ppmctl import files
from ppmctl.access import audit_query
from ppmctl.access.audit_query import Entry
from ppmctl.distributions import distribution
from ppmctl.distributions.distribution import one_line
from ppmctl.distributions.project_page import PageFile, ProjectPage
from ppmctl.errors import PpmError
from ppmctl.index import pages, project_folder, statistics
from ppmctl.index.layout import METADATA
from ppmctl.index.project_folder import Folder
from ppmctl.index.statistics import Holding, Statistics
from ppmctl.index.store import Store


class Catalogue:
    """The projects of a volume; a project's holding is read again when its folder has changed."""

    def __init__(self, store: Store) -> None:
        self.where = f"the volume at {store.volume.root}"
        self.names = store.projects
        self._store = store
        self._kept: dict[str, tuple[int, Holding]] = {}

    def project(self, name: str) -> ProjectPage | None:
        """The page of the project `name`; None where it never was."""
        content = project_folder.read(self._store.volume, name)
        return _page(content) if content is not None else None

    def metadata(self, file: PageFile) -> bytes | None:
        """The core metadata of a file, or None where there are none."""
        if file.core_metadata is None:
            return None
        project = distribution.parse_filename(file.filename).project
        try:
            return self._store.volume.side_file(project, file.filename, METADATA).read_bytes()
        except OSError:
            return None

    def holdings(self) -> list[Holding]:
        """All projects, by name; one without files that can be had is among them."""
        found = (self._holding(name) for name in self.names())
        return [holding for holding in found if holding is not None]

    def search(self, text: str) -> list[Holding]:
        """The projects whose name or summary has every word of `text`."""
        return statistics.search(text, self.holdings())

    def statistics(self) -> Statistics:
        """All numbers, with those of the audit."""
        read = (project_folder.read(self._store.volume, name) for name in self.names())
        # also of projects that hide theirs
        here = [file.filename for content in read if content is not None for file in content.files]
        return _with_audit(self.holdings(), here, audit_query.read(self._store.volume).entries)

    def _holding(self, name: str) -> Holding | None:
        try:
            changed = os.stat(self._store.volume.project(name)).st_mtime_ns
            kept = self._kept.get(name)
            if kept is not None and kept[0] == changed:
                return kept[1]
            holding = self._read(name)
        except (PpmError, OSError):  # removed meanwhile, or damaged: `index check` is who says that
            return None
        if files.is_settled(changed):
            self._kept[name] = (changed, holding)
        return holding

    def _read(self, name: str) -> Holding:
        content = self._store.read(name)
        page = _page(content)
        records = {file.filename: file.record for file in content.files}
        latest = page.latest.files if page.latest is not None else ()
        summary = next((text for file in latest if (text := records[file.filename].summary) is not None), None)
        if summary is None:  # published before records had it
            found = (self.metadata(file) for file in latest)
            summary = next((distribution.summary(metadata) for metadata in found if metadata is not None), "")
        publishers = [records[file.filename].uploaded_by for file in page.files]
        return Holding.of(page, summary=one_line(summary)[: project_folder.MAX_SUMMARY], publishers=publishers)


def _page(content: Folder) -> ProjectPage:
    # as an index shows it, so that the answers are the same
    values = pages.page_values(content, pages.listed_files(content))
    return ProjectPage.from_json(values, lambda url: url.removeprefix("../../"))


def _with_audit(holdings: Iterable[Holding], filenames: Iterable[str], entries: Iterable[Entry]) -> Statistics:
    """The same with what the audit's `entries` add; `filenames` are those that are here, and counted already."""
    holdings, here = tuple(holdings), set(filenames)
    uploads = statistics.add_up(holding.uploads for holding in holdings)
    publishers = statistics.add_up(holding.publishers for holding in holdings)
    changes: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for entry in entries:
        if not entry.is_done:
            refused[str(entry.values.get("status", "other"))] += _times(entry)
            continue
        changes[entry.action] += 1
        if entry.action == "publish" and entry.what not in here:  # removed since
            uploads[f"{entry.time:%Y-%m}"] += 1
            publishers[entry.by] += 1
    return Statistics(holdings=holdings, uploads=uploads, publishers=publishers, changes=changes, refused=refused)


def _times(entry: Entry) -> int:
    count = entry.values.get("refused", 1)  # of a line that stands for many
    return count if isinstance(count, int) else 1
