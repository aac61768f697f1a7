"""The row of a project in the search index, made of the project's folder."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ppmctl import files
from ppmctl.distributions import distribution
from ppmctl.distributions.distribution import one_line
from ppmctl.errors import PpmError
from ppmctl.index import pages, project_details, project_folder
from ppmctl.index.layout import Volume
from ppmctl.index.statistics import Holding
from ppmctl.index.store import Store

MAX_KEYWORDS = 1 << 10  # characters
MAX_DESCRIPTION = 1 << 16  # characters
_MAX_SIZE = 1 << 50  # bytes; SQLite adds up integers of 64 bits


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A project in a list: its latest `version` with the `summary`, and when its newest file was `uploaded`.

    `uploaded` is a `timestamp`, `size` the bytes of all listed files. Without a listed file, as in quarantine,
    `version`, `summary` and `uploaded` are "".
    """

    name: str
    version: str
    summary: str
    uploaded: str
    files: int
    size: int
    status: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """A project with its other texts and numbers, and the serial of the pages that show the same.

    `versions` is the number of its releases, `uploads` the number of its files by month, as a JSON object.
    """

    listed: Listed
    serial: int
    versions: int
    uploads: str
    keywords: str
    description: str


def read(store: Store, project: str, *, remember: bool = True) -> Row | None:
    """Return the row of a project; None if it does not exist, or if its status is damaged.

    `remember` is as in `project_folder.read`.
    """
    shown = serial(store.volume, project)  # before its files: a change meanwhile makes a later serial
    try:
        content = project_folder.read(store.volume, project, remember=remember)
    except PpmError:  # which `index check` reports
        return None
    if content is None:
        return None
    page = project_details.page(content)
    listed, numbers = pages.listed_files(content), Holding.of(page)
    latest = page.latest.files if page.latest is not None else ()
    records = {file.filename: file.record for file in listed}
    metadata = distribution.core_metadata(project_details.release_metadata(store, latest))
    summary = next((text for file in latest if (text := records[file.filename].summary) is not None), None)
    if summary is None:  # published before records had a summary
        summary = metadata.get("summary") or ""
    return Row(
        listed=Listed(
            name=project,
            version=numbers.version,
            summary=one_line(_storable(summary, project_folder.MAX_SUMMARY)),
            uploaded=max((file.record.upload_time for file in listed), default=""),
            files=len(listed),
            size=min(sum(file.record.size for file in listed), _MAX_SIZE),
            status=content.status.state,
        ),
        serial=shown,
        versions=numbers.versions,
        uploads=json.dumps(numbers.uploads, sort_keys=True),
        keywords=_storable(" ".join(metadata.get("keywords") or ()), MAX_KEYWORDS),
        description=_storable(metadata.get("description") or "", MAX_DESCRIPTION),
    )


def serial(volume: Volume, project: str) -> int:
    """Return the serial of a project's pages, -1 without pages.

    It is the file's time in seconds, too: ten thousand times are read in a tenth of the time of their content.
    """
    return files.changed_at(f"{volume.simple}/{project}/{pages.JSON_PAGE}")


def _storable(text: str, limit: int) -> str:
    """Return the beginning of a text without what a database's text can't have."""
    return text[:limit].encode(errors="replace").decode().replace("\0", " ")
