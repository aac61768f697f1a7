"""A project as `ppmctl package show` prints it."""

from __future__ import annotations

from ppmctl import output
from ppmctl.client.query import Project
from ppmctl.distributions.distribution import one_line
from ppmctl.index.claims import Claim


def as_values(project: Project) -> dict[str, object]:
    """Return the project's JSON."""
    meta = project.metadata
    return {
        "name": project.page.name,
        "status": project.page.status,
        "status_reason": project.page.status_reason,
        "claim": project.claim.to_json() if project.claim is not None else None,
        "version": str(project.release.version) if project.release is not None else None,
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
            for release in project.page.releases
        ],
    }


def _claimed(claim: Claim | None) -> str | None:
    return None if claim is None else f"by {claim.by or 'hand'} {claim.at}".rstrip()


def show(project: Project) -> None:
    """Print the project as text."""
    values, meta = as_values(project), project.metadata
    status = project.page.status + (f": {project.page.status_reason}" if project.page.status_reason else "")
    fields = [
        ("Name", project.page.name),
        ("Version", values["version"]),
        ("Summary", values["summary"]),
        ("Status", status if project.page.status != "active" else None),
        ("Claimed", _claimed(project.claim)),
        ("Python", values["requires_python"]),
        ("License", values["license"]),
        ("Author", values["author"]),
        *meta.get("project_urls", {}).items(),
        *(("Requires", requirement) for requirement in meta.get("requires_dist", [])),
    ]
    output.fields([(one_line(label), one_line(str(text))) for label, text in fields if text])
    output.data("")
    rows = [
        (
            str(release.version),
            release.uploaded,
            len(release.files),
            None if release.size is None else output.Bytes(release.size),
            f"yanked{f': {release.reason}' if release.reason else ''}" if release.is_yanked else "",
        )
        for release in project.page.releases
    ]
    output.table(("RELEASE", "UPLOADED", "FILES", "SIZE", ""), rows)
