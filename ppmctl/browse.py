"""What a person asks an index: which projects are there, what is this, which are about that. Any Simple API 1.x."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import quote

from packaging.metadata import RawMetadata
from packaging.version import InvalidVersion, Version

from ppmctl import catalogue, dists
from ppmctl.catalogue import Holding
from ppmctl.dists import InvalidDistribution, one_line
from ppmctl.download import Downloaded, Source
from ppmctl.errors import PpmError, Unreachable, UsageError
from ppmctl.simple import NOT_SUCH_JSON, Index, PageFile, ProjectPage
from ppmctl.stats import Statistics, of_holdings
from ppmctl.transport import Transport

SUMMARIES = 100  # projects whose pages a search reads, two requests each
_COMPARED = 20_000  # names, which takes a second


@dataclass(frozen=True, kw_only=True)
class Release:
    """The files of a version, in the page's order."""

    version: str
    files: tuple[PageFile, ...]

    @property
    def is_yanked(self) -> bool:
        return all(file.yanked is not None for file in self.files)

    @property
    def reason(self) -> str:
        """Why it was yanked, in one line; ""."""
        return next((one_line(file.yanked) for file in self.files if file.yanked), "")

    @property
    def size(self) -> int | None:
        """Bytes; None where the index does not say all."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def uploaded(self) -> str:
        """When its first file came, in ISO 8601; "" where the index does not say."""
        times = [file.upload_time for file in self.files if file.upload_time is not None]
        return f"{min(times):%Y-%m-%dT%H:%M:%SZ}" if times else ""


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project: its page, its releases (the newest first), and the one that was asked for with its metadata."""

    page: ProjectPage
    releases: tuple[Release, ...]
    release: Release | None
    metadata: RawMetadata


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search found; `by_name_alone`: the index has too many projects to read all summaries."""

    holdings: tuple[Holding, ...]
    by_name_alone: bool = False


class Browser:
    """Asks one index; reading rights are enough."""

    def __init__(self, index: Index, transport: Transport) -> None:
        self._index = index
        self._transport = transport
        self._source = Source(transport)

    def names(self) -> list[str]:
        """The normalised names of all projects."""
        return self._index.names()

    def project(self, name: str, version: str | None = None) -> Project:
        """A project with the release `version`, or the latest; PpmError where the index has no such."""
        page = self._page(name)
        found = releases(page)
        release = choose(page, found, version) if version is not None else latest(found)
        return Project(page=page, releases=tuple(found), release=release, metadata=self._metadata(release))

    def files(
        self, name: str, version_or_filename: str | None = None, *, of_all: bool = False
    ) -> tuple[PageFile, ...]:
        """The files of a release, by default of the latest, or one file by its name; or those `of_all` releases."""
        page = self._page(name)
        if of_all and page.files:
            return page.files
        if version_or_filename is not None and (file := page.file(version_or_filename)) is not None:
            return (file,)
        found = releases(page)
        if version_or_filename is not None:
            return choose(page, found, version_or_filename).files
        release = latest(found)
        if release is None:
            raise PpmError(f"{page.name} has no files in this index.", hint=_state(page))
        return release.files

    def download(self, file: PageFile, folder: Path, *, step: Callable[[int], None]) -> Downloaded:
        """Put a file into `folder`, as `Source.download` does."""
        return self._source.download(file, folder, step=step)

    def search(self, text: str, *, limit: int, step: Callable[[int], None] = lambda _: None) -> Found:
        """The projects that have every word of `text` in their name or summary, at most `limit`.

        Our index says it itself. Of another every project's page is read (`step` for each), and its summary where it
        has core metadata; one that has more than SUMMARIES is searched by name alone.
        """
        if not text.split():
            raise UsageError("There is nothing to search for.", hint="Every project: ppmctl package list")
        said = self._ask(f"{self._index.address.base}/api/packages?q={quote(text, errors='replace')}")
        if said is not None:
            return Found(holdings=tuple(said[:limit]))
        names = self.names()
        if len(names) <= SUMMARIES:
            holdings = []
            for name in names:
                holdings.append(self._holding(name))
                step(1)
            return Found(holdings=tuple(catalogue.search(text, holdings)[:limit]))
        matching = catalogue.search(text, [Holding(name=name) for name in names])[:limit]
        return Found(holdings=tuple(self._holding(found.name) for found in matching), by_name_alone=True)

    def statistics(self, *, step: Callable[[int], None]) -> Statistics:
        """Numbers about the index; where it does not say them itself, from each project's page (`step` for each)."""
        answer = self._transport.request("GET", f"{self._index.address.base}/api/stats")
        if answer.status == 200 and answer.content_type == "application/json":
            try:
                return Statistics.from_json(json.loads(answer.body))
            except NOT_SUCH_JSON:
                pass  # another server's
        holdings = []
        for name in self.names():
            page = self._index.project(name)
            holdings.append(Holding(name=name) if page is None else holding_of(name, page))
            step(1)
        return of_holdings(holdings)

    def _page(self, name: str) -> ProjectPage:
        if not dists.is_name(name):
            raise PpmError(f"{name!r} is not a name of a project.")
        page = self._index.project(name)
        normalised = dists.normalise(name)
        if page is None:
            raise PpmError(
                f"There is no project {normalised!r} in the index at {self._index.address.base}.",
                hint=self._similar(normalised) or "What there is: ppmctl package list",
            )
        return replace(page, name=normalised)

    def _similar(self, name: str) -> str:
        try:
            names = self.names()
        except PpmError:  # there is a cause to name already
            return ""
        similar = get_close_matches(name, names, n=3) if len(names) <= _COMPARED else []
        return f"Is it {' or '.join(similar)}?" if similar else ""

    def _ask(self, url: str) -> list[Holding] | None:
        """What our own index finds; None where it is another, or its application is down and pages are all it has."""
        answer = self._transport.request("GET", url)
        if answer.status != 200 or answer.content_type != "application/json":
            return None
        try:
            found = [
                Holding(
                    name=dists.normalise(item["name"]),
                    version=one_line(item["version"] or ""),
                    summary=one_line(item["summary"]),
                )
                for item in json.loads(answer.body)["projects"]
            ]
            return found if all(dists.is_name(holding.name) for holding in found) else None
        except NOT_SUCH_JSON:
            return None

    def _holding(self, name: str) -> Holding:
        page = self._index.project(name)
        release = latest(releases(page)) if page is not None else None
        if release is None:
            return Holding(name=name)
        summary = one_line(self._metadata(release).get("summary") or "")
        return Holding(name=name, version=release.version, summary=summary)

    def _metadata(self, release: Release | None) -> RawMetadata:
        for file in release.files if release is not None else ():
            try:
                content = self._source.metadata(file)
            except Unreachable:
                raise
            except PpmError:
                continue  # of another file, perhaps
            if content is not None:
                return dists.core_metadata(content)
        return {}


def releases(page: ProjectPage) -> list[Release]:
    """A page's files by version, the newest first; files whose names say none are left out."""
    found: dict[Version, list[PageFile]] = {}
    for file in page.files:
        try:
            found.setdefault(dists.parse_filename(file.filename).version, []).append(file)
        except InvalidDistribution:
            continue
    return [Release(version=str(version), files=tuple(found[version])) for version in sorted(found, reverse=True)]


def latest(found: list[Release]) -> Release | None:
    """The release that an installer takes, or None of none."""
    version = catalogue.latest({release.version: release.is_yanked for release in found})
    return next((release for release in found if release.version == version), None)


def choose(page: ProjectPage, found: list[Release], version: str) -> Release:
    """The release `version`; PpmError names those that there are."""
    try:
        wanted = str(Version(version))
    except InvalidVersion as exc:
        raise PpmError(f"{page.name} has no release or file {version!r}.", hint=_known(found)) from exc
    for release in found:
        if release.version == wanted:
            return release
    raise PpmError(f"{page.name} has no release {version!r}.", hint=_known(found) or _state(page))


def holding_of(name: str, page: ProjectPage) -> Holding:
    """A project's page in numbers."""
    found = releases(page)
    release = latest(found)
    sizes = [file.size for file in page.files]
    times = [file.upload_time for file in page.files if file.upload_time is not None]
    return Holding(
        name=name,
        version=release.version if release is not None else "",
        versions=len(found),
        files=len(page.files),
        size=None if None in sizes else sum(size or 0 for size in sizes),
        uploaded=f"{max(times):%Y-%m-%dT%H:%M:%S.%fZ}" if times else "",
        uploads=Counter(f"{time:%Y-%m}" for time in times),
    )


def _known(found: list[Release]) -> str:
    shown = [release.version for release in found[:10]]
    return f"It has {', '.join(shown)}{' and older ones' if len(found) > len(shown) else ''}." if shown else ""


def _state(page: ProjectPage) -> str:
    because = f": {one_line(page.status_reason)}" if page.status_reason else ""
    return f"It is {one_line(page.status)}{because}." if page.status != "active" else ""
