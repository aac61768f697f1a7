"""A project, as `ppmctl package show` prints it."""

from __future__ import annotations

from ppmctl import output
from ppmctl.client.query import Project
from ppmctl.distributions.distribution import one_line


def as_values(found: Project) -> dict[str, object]:
    """It as `--json` has it."""
    meta = found.metadata
    return {
        "name": found.page.name,
        "status": found.page.status,
        "status_reason": found.page.status_reason,
        "version": str(found.release.version) if found.release is not None else None,
        "summary": meta.get("summary"),
        "requires_python": meta.get("requires_python"),
        "requires_dist": meta.get("requires_dist", []),
        "license": meta.get("license_expression") or meta.get("license"),
        "author": meta.get("author") or meta.get("author_email"),
        "urls": meta.get("project_urls", {}),
        "releases": [
            {
                "version": str(release.version),
                "uploaded": f"{release.uploaded:%Y-%m-%dT%H:%M:%SZ}" if release.uploaded is not None else None,
                "bytes": release.size,
                "yanked": release.is_yanked and (release.reason or True),
                "files": [
                    {"filename": file.filename, "bytes": file.size, "sha256": file.sha256, "url": file.url}
                    for file in release.files
                ],
            }
            for release in found.page.releases
        ],
    }


def show(found: Project) -> None:
    """Print it for a person."""
    meta = found.metadata
    status = found.page.status + (f": {found.page.status_reason}" if found.page.status_reason else "")
    said = [
        ("Name", found.page.name),
        ("Version", str(found.release.version) if found.release is not None else ""),
        ("Summary", meta.get("summary") or ""),
        ("Status", status if found.page.status != "active" else ""),
        ("Python", meta.get("requires_python") or ""),
        ("License", meta.get("license_expression") or meta.get("license") or ""),
        ("Author", meta.get("author") or meta.get("author_email") or ""),
        *((label, url) for label, url in meta.get("project_urls", {}).items()),
        *(("Requires", needed) for needed in meta.get("requires_dist", [])),
    ]
    output.fields([(one_line(label), one_line(text)) for label, text in said if text])
    output.data("")
    output.table(
        ("RELEASE", "UPLOADED", "FILES", "SIZE", ""),
        [
            (
                str(release.version),
                release.uploaded,
                len(release.files),
                None if release.size is None else output.Bytes(release.size),
                f"yanked{f': {release.reason}' if release.reason else ''}" if release.is_yanked else "",
            )
            for release in found.page.releases
        ],
    )
