"""List, show and search the projects of a volume or of an index."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Protocol
from urllib.parse import quote

from packaging.metadata import RawMetadata

from ppmctl import events
from ppmctl.client.download import Source
from ppmctl.client.http import Transport
from ppmctl.client.index_url import Address
from ppmctl.client.package_admin import parse_claim
from ppmctl.client.simple_api import Index
from ppmctl.distributions import distribution
from ppmctl.distributions.distribution import one_line
from ppmctl.distributions.names import is_name
from ppmctl.distributions.project_page import PageFile, ProjectPage, Release
from ppmctl.errors import NOT_SUCH_JSON, PpmError, Unreachable, UsageError
from ppmctl.index import statistics
from ppmctl.index.claims import Claim
from ppmctl.index.statistics import Holding, Statistics

SUMMARIES = 100  # projects whose pages a search reads, two requests each
_COMPARED = 20_000  # names, which takes a second


class Projects(Protocol):
    """A source of projects: a volume (`ppmctl.server.catalog`), or a Simple API."""

    where: str

    def names(self) -> list[str]: ...

    def project(self, name: str) -> ProjectPage | None: ...

    def metadata(self, file: PageFile) -> bytes | None: ...

    def claim(self, name: str) -> Claim | None:
        """Return the claim of a name (`ppmctl package claim`); None without one."""

    def search(self, text: str) -> list[Holding] | None:
        """Return the projects that have every word of `text`, in order; None if only pages can be searched."""

    def statistics(self) -> Statistics | None:
        """Return all numbers; None if they can only be counted on pages."""


class SimpleApi(Index):
    """The projects of an index with a Simple API 1.x. An index of ppm also searches and counts them itself."""

    def __init__(self, address: Address, transport: Transport) -> None:
        super().__init__(address, transport)
        self.where = f"the index at {address.base}"
        self._source = Source(transport)
        self.download = self._source.download

    def metadata(self, file: PageFile) -> bytes | None:
        """Return the core metadata of a file, or None if the index has none or it can't be read."""
        try:
            return self._source.metadata(file)
        except PpmError as exc:
            if type(exc) is Unreachable:
                raise
            return None

    def claim(self, name: str) -> Claim | None:
        """Return the claim of a name; None without one, and for an index that ppm does not serve."""
        url = f"{self.address.base}/api/claims/{name}"
        try:
            return parse_claim(self._transport.request("GET", url).values)
        except Unreachable:
            return None

    def search(self, text: str) -> list[Holding] | None:
        """Return what an index of ppm finds; None for another index, and while the application is down."""
        url = f"{self.address.base}/api/packages?q={quote(text, errors='replace')}"
        try:
            return [Holding.from_json(item) for item in self._transport.request("GET", url).values["projects"]]
        except NOT_SUCH_JSON:
            return None

    def statistics(self) -> Statistics | None:
        """Return what an index of ppm counts; None for another index."""
        try:
            return Statistics.from_json(self._transport.request("GET", f"{self.address.base}/api/stats").values)
        except NOT_SUCH_JSON:
            return None


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project's page, the requested release with its metadata, and the claim of the name."""

    page: ProjectPage
    release: Release | None
    metadata: RawMetadata
    claim: Claim | None = None


class Query:
    """Queries on the projects of one source, with the right to read. Raises what the source raises."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects
        self.names = projects.names

    def page(self, name: str) -> ProjectPage:
        """Return a project's page. Raise PpmError if there is no such project."""
        if not is_name(name):
            raise PpmError(f"{name!r} is not a name of a project.")
        normalised = distribution.normalise(name)
        page = self._projects.project(normalised)
        if page is None:
            raise self._missing(normalised)
        return replace(page, name=normalised)

    def _missing(self, name: str) -> PpmError:
        hint = self._similar(name) or "All projects: ppmctl package list"
        return PpmError(f"There is no project {name!r} in {self._projects.where}.", hint=hint)

    def project(self, name: str, version: str | None = None) -> Project:
        """Return a project with the release `version`, or the latest. Raise PpmError if there is none.

        A name that was claimed counts as a project, without files.
        """
        if not is_name(name):
            raise PpmError(f"{name!r} is not a name of a project.")
        normalised = distribution.normalise(name)
        page, claim = self._projects.project(normalised), self._projects.claim(normalised)
        if page is None and claim is None:
            raise self._missing(normalised)
        page = replace(page or ProjectPage(name=normalised, files=()), name=normalised)
        release = page.release(version) if version is not None else page.latest
        return Project(page=page, release=release, metadata=self._metadata(release), claim=claim)

    def files(
        self, name: str, version_or_filename: str | None = None, *, of_all: bool = False
    ) -> tuple[PageFile, ...]:
        """Return the files of a release (by default the latest), one file by its name, or those `of_all` releases."""
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
        """Return at most `limit` projects that have every word of `text`, as the source finds them.

        If the source can't search, read the names and summaries of all projects; of over SUMMARIES only the names.
        """
        if not text.split():
            raise UsageError("There is nothing to search for.", hint="All projects: ppmctl package list")
        holdings = self._projects.search(text)
        if holdings is not None:
            return holdings[:limit]
        names = self.names()
        if len(names) <= SUMMARIES:
            return statistics.search(text, self._holdings(names, summaries=True))[:limit]
        events.note("This index has too many projects to read all summaries: only names were searched.")
        matching = statistics.search(text, [Holding(name=name) for name in names])
        return self._holdings([holding.name for holding in matching[:limit]], summaries=True)

    def statistics(self) -> Statistics:
        """Return numbers about all projects, counted on each project's page if the source does not count."""
        counted = self._projects.statistics()
        if counted is not None:
            return counted
        return statistics.of_holdings(self._holdings(self.names(), summaries=False))

    def _holdings(self, names: list[str], *, summaries: bool) -> list[Holding]:
        holdings = []
        with events.progress("Projects", len(names)) as step:
            for name in names:
                page = self._projects.project(name) or ProjectPage(name=name, files=())
                summary = self._metadata(page.latest).get("summary") if summaries else None
                holdings.append(Holding.of(replace(page, name=name), summary=one_line(summary or "")))
                step(1)
        return holdings

    def _metadata(self, release: Release | None) -> RawMetadata:
        for file in release.files if release is not None else ():
            if (content := self._projects.metadata(file)) is not None:
                return distribution.core_metadata(content)
        return {}

    def _similar(self, name: str) -> str:
        try:
            names = self.names()
        except PpmError:  # only for a hint: the caller raises the real error
            return ""
        similar = get_close_matches(name, names, n=3) if len(names) <= _COMPARED else []
        return f"Is it {' or '.join(similar)}?" if similar else ""
