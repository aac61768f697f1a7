"""A project as `ppmctl package show` prints it."""

from __future__ import annotations

from ppmctl import output
from ppmctl.client.query import Project
from ppmctl.distributions.distribution import one_line
from ppmctl.index import project_details
from ppmctl.index.claims import Claim


def as_values(project: Project) -> dict[str, object]:
    """Return the project's JSON."""
    return project_details.values(project.page, project.release, project.metadata, project.claim)


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
