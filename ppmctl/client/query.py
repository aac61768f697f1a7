"""What a person asks an index: which projects are there, what is this, which are about that; of any source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from packaging.metadata import RawMetadata

from ppmctl import events
from ppmctl.client.download import Downloaded, Source
from ppmctl.client.http import Transport
from ppmctl.client.index_url import Address
from ppmctl.client.simple_api import Index
from ppmctl.distributions import distribution
from ppmctl.distributions.distribution import one_line
from ppmctl.distributions.project_page import PageFile, ProjectPage, Release
from ppmctl.errors import NOT_SUCH_JSON, PpmError, Unreachable, UsageError
from ppmctl.index import statistics
from ppmctl.index.statistics import Holding, Statistics

SUMMARIES = 100  # projects whose pages a search reads, two requests each
_COMPARED = 20_000  # names, which takes a second


class Projects(Protocol):
    """Where projects are read from: a volume (`ppmctl.server.catalog`), or a Simple API."""

    where: str

    def names(self) -> list[str]: ...

    def project(self, name: str) -> ProjectPage | None: ...

    def metadata(self, file: PageFile) -> bytes | None: ...

    def search(self, text: str) -> list[Holding] | None:
        """The projects that have every word of `text`; None where their pages have to be read for it."""

    def statistics(self) -> Statistics | None:
        """All numbers; None where pages have to be read for them."""


class SimpleApi(Index):
    """The projects of an index over HTTP, with any Simple API 1.x. Ours searches and counts by itself."""

    def __init__(self, address: Address, transport: Transport) -> None:
        super().__init__(address, transport)
        self.where = f"the index at {address.base}"
        self._source = Source(transport)

    def metadata(self, file: PageFile) -> bytes | None:
        """The core metadata of a file, or None where the index has none that can be had."""
        try:
            return self._source.metadata(file)
        except PpmError as exc:
            if type(exc) is Unreachable:
                raise
            return None

    def download(self, file: PageFile, folder: Path) -> Downloaded:
        """Put a file into `folder`, as `Source.download` does."""
        return self._source.download(file, folder)

    def search(self, text: str) -> list[Holding] | None:
        """What our own index finds; None where it is another, or its application is down and pages are all it has."""
        url = f"{self.address.base}/api/packages?q={quote(text, errors='replace')}"
        try:
            return [Holding.from_json(item) for item in self._transport.request("GET", url).values["projects"]]
        except NOT_SUCH_JSON:
            return None

    def statistics(self) -> Statistics | None:
        """What our own index counts; None where it is another."""
        try:
            return Statistics.from_json(self._transport.request("GET", f"{self.address.base}/api/stats").values)
        except NOT_SUCH_JSON:
            return None


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project's page, and the release that was asked for with its metadata."""

    page: ProjectPage
    release: Release | None
    metadata: RawMetadata


class Query:
    """Questions about the projects of one source; reading rights are enough. PpmError as of the source."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects
        self.names = projects.names

    def page(self, name: str) -> ProjectPage:
        """A project's page; PpmError where there is no such project."""
        if not distribution.is_name(name):
            raise PpmError(f"{name!r} is not a name of a project.")
        normalised = distribution.normalise(name)
        page = self._projects.project(normalised)
        if page is None:
            raise PpmError(
                f"There is no project {normalised!r} in {self._projects.where}.",
                hint=self._similar(normalised) or "What there is: ppmctl package list",
            )
        return replace(page, name=normalised)

    def project(self, name: str, version: str | None = None) -> Project:
        """A project with the release `version`, or the latest; PpmError where there is no such."""
        page = self.page(name)
        release = page.release(version) if version is not None else page.latest
        return Project(page=page, release=release, metadata=self._metadata(release))

    def files(
        self, name: str, version_or_filename: str | None = None, *, of_all: bool = False
    ) -> tuple[PageFile, ...]:
        """The files of a release, by default of the latest, or one file by its name; or those `of_all` releases."""
        page = self.page(name)
        if of_all and page.files:
            return page.files
        if version_or_filename is not None:
            file = page.file(version_or_filename)
            return (file,) if file is not None else page.release(version_or_filename).files
        if page.latest is None:
            raise PpmError(f"{page.name} has no files in this index.", hint=page.state)
        return page.latest.files

    def search(self, text: str, *, limit: int) -> list[Holding]:
        """The projects that have every word of `text` in their name or summary, at most `limit`.

        Where the source can't search, every project's page is read, and its summary where it has core metadata; one
        that has more than SUMMARIES is searched by name alone.
        """
        if not text.split():
            raise UsageError("There is nothing to search for.", hint="Every project: ppmctl package list")
        found = self._projects.search(text)
        if found is not None:
            return found[:limit]
        names = self.names()
        if len(names) <= SUMMARIES:
            return statistics.search(text, self._holdings(names, summaries=True))[:limit]
        events.note("This index has too many projects to read all summaries: only names were searched.")
        matching = statistics.search(text, [Holding(name=name) for name in names])
        return self._holdings([holding.name for holding in matching[:limit]], summaries=True)

    def statistics(self) -> Statistics:
        """Numbers about all projects; where the source does not have them, from each project's page."""
        found = self._projects.statistics()
        return found if found is not None else statistics.of_holdings(self._holdings(self.names(), summaries=False))

    def _holdings(self, names: list[str], *, summaries: bool) -> list[Holding]:
        found = []
        with events.progress("Projects", len(names)) as step:
            for name in names:
                page = self._projects.project(name) or ProjectPage(name=name, files=())
                summary = self._metadata(page.latest).get("summary") if summaries else None
                found.append(Holding.of(replace(page, name=name), summary=one_line(summary or "")))
                step(1)
        return found

    def _metadata(self, release: Release | None) -> RawMetadata:
        for file in release.files if release is not None else ():
            if (content := self._projects.metadata(file)) is not None:
                return distribution.core_metadata(content)
        return {}

    def _similar(self, name: str) -> str:
        try:
            names = self.names()
        except PpmError:  # there is a cause to name already
            return ""
        similar = get_close_matches(name, names, n=3) if len(names) <= _COMPARED else []
        return f"Is it {' or '.join(similar)}?" if similar else ""
