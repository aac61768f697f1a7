"""The page of a project, the metadata of its files, and both as JSON: for the API, commands and the search index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ppmctl.distributions import distribution, inspection
from ppmctl.distributions.project_page import PageFile, ProjectPage, Release
from ppmctl.errors import InvalidDistribution
from ppmctl.index import pages
from ppmctl.index.claims import Claim
from ppmctl.index.layout import METADATA
from ppmctl.index.project_folder import Folder
from ppmctl.index.store import Store

_MAX_SDIST = 32 << 20  # bytes; a larger one takes seconds to read


def page(content: Folder) -> ProjectPage:
    """Return the page of a project, with the same values as over HTTP. URLs are relative to the root of the index."""
    values = pages.page_values(content, pages.listed_files(content))
    return ProjectPage.from_json(values, lambda url: url.removeprefix("../../"))


def metadata(store: Store, file: PageFile) -> bytes | None:
    """Return the core metadata of a file, or None if it has none."""
    if file.core_metadata is None:
        return None
    project = distribution.parse_filename(file.filename).project
    try:
        return store.cache.fetch(project, file.filename + METADATA).read_bytes()
    except OSError:
        return None


def release_metadata(store: Store, files: Sequence[PageFile], *, wait: float | None = None) -> bytes:
    """Return the core metadata of a release: of a wheel, or else of an sdist, which is opened; b"" without any.

    Raise inspection.Busy if an sdist can't be opened within `wait` seconds.
    """
    for file in files:
        if (text := metadata(store, file)) is not None:
            return text
    for file in files:
        if not file.filename.endswith(".whl") and (file.size or 0) <= _MAX_SDIST:
            try:
                project = distribution.parse_filename(file.filename).project
                path = store.cache.fetch(project, file.filename)
                return inspection.inspect(path, file.filename, old=True, wait=wait).metadata
            except (InvalidDistribution, OSError):
                continue
    return b""


def values(
    page: ProjectPage, release: Release | None, metadata: Mapping[str, Any], claim: Claim | None
) -> dict[str, Any]:
    """Return a project as `GET /api/packages/PROJECT` and `ppmctl package show --json` have it.

    `metadata` is the core metadata of the release, {} without one.
    """
    return {
        "name": page.name,
        "status": page.status,
        "status_reason": page.status_reason,
        "claim": claim.to_json() if claim is not None else None,
        "version": str(release.version) if release is not None else None,
        "summary": metadata.get("summary"),
        "requires_python": metadata.get("requires_python"),
        "requires_dist": metadata.get("requires_dist", []),
        "license": metadata.get("license_expression") or metadata.get("license"),
        "author": metadata.get("author") or metadata.get("author_email"),
        "urls": metadata.get("project_urls", {}),
        "releases": [
            {
                "version": str(each.version),
                "uploaded": f"{each.uploaded:%Y-%m-%dT%H:%M:%SZ}" if each.uploaded is not None else None,
                "bytes": each.size,
                "yanked": each.is_yanked and (each.reason or True),
                "files": [
                    {"filename": file.filename, "bytes": file.size, "sha256": file.sha256, "url": file.url}
                    for file in each.files
                ],
            }
            for each in page.releases
        ],
    }
