"""What a person asks the volume that is here: as `ppmctl.browse` asks an index over HTTP, with the same answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from packaging.metadata import RawMetadata

from ppmctl import browse, dists
from ppmctl.browse import Found, Project, Release
from ppmctl.catalogue import Catalogue
from ppmctl.errors import UsageError
from ppmctl.folder import Folder, StoredFile
from ppmctl.simple import PageFile, ProjectPage
from ppmctl.store import Store
from ppmctl.volume import METADATA


class Shelf:
    """The projects of one volume. PpmError and NotHere as of the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def names(self) -> list[str]:
        """The normalised names of all projects."""
        return self._store.projects()

    def project(self, name: str, version: str | None = None) -> Project:
        """A project with the release `version`, or the latest; NotHere where the volume has no such project."""
        page = _page(self._store.read(dists.normalise(name)))
        found = browse.releases(page)
        release = browse.choose(page, found, version) if version is not None else browse.latest(found)
        return Project(page=page, releases=tuple(found), release=release, metadata=self._metadata(page.name, release))

    def search(self, text: str, *, limit: int, step: Callable[[int], None]) -> Found:
        """The projects that have every word of `text` in their name or summary, at most `limit`."""
        if not text.split():
            raise UsageError("There is nothing to search for.", hint="Every project: ppmctl package list")
        found = Catalogue(self._store).search(text)
        step(len(found))
        return Found(holdings=tuple(found[:limit]))

    def _metadata(self, project: str, release: Release | None) -> RawMetadata:
        for file in release.files if release is not None else ():
            if file.core_metadata is not None:
                try:
                    content = self._store.volume.side_file(project, file.filename, METADATA).read_bytes()
                except OSError:
                    continue
                return dists.core_metadata(content)
        return {}


def _page(content: Folder) -> ProjectPage:
    hidden = content.status.state == "quarantined"
    return ProjectPage(
        name=content.project,
        files=() if hidden else tuple(_file(content.project, file) for file in content.files),
        status=content.status.state,
        status_reason=content.status.reason,
    )


def _file(project: str, file: StoredFile) -> PageFile:
    record = file.record
    return PageFile(
        filename=file.filename,
        url=f"packages/{project}/{file.filename}",
        sha256=record.sha256,
        size=record.size,
        upload_time=datetime.fromisoformat(record.upload_time).astimezone(UTC),
        requires_python=record.requires_python,
        yanked=file.yanked,
        core_metadata=record.core_metadata,
    )
