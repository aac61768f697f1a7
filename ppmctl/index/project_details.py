"""The values of a project for `GET /api/packages/PROJECT` and `ppmctl package show --json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ppmctl.distributions.project_page import ProjectPage, Release
from ppmctl.index.claims import Claim


def values(
    page: ProjectPage, release: Release | None, metadata: Mapping[str, Any], claim: Claim | None
) -> dict[str, Any]:
    """Return the project as JSON; `metadata` is the core metadata of the release, {} without one."""
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
