"""The rules that a change of a project has to keep; a change that breaks one is refused and changes nothing."""

from __future__ import annotations

from collections.abc import Collection

from ppmctl.distributions import release_file
from ppmctl.distributions.distribution import Filename
from ppmctl.errors import Refused
from ppmctl.index import lookup, project_folder
from ppmctl.index.layout import SIDE_FILES, TOMBSTONE, Volume
from ppmctl.index.project_folder import CLOSED


def is_published(volume: Volume, name: Filename, sha256: str) -> bool:
    """Return whether a file that is to be published is there, with this content. Raise Refused if it can't be."""
    if volume.side_file(name.project, name.filename, TOMBSTONE).exists():
        message = f"{name.filename} was removed from this index and its name can't be used again"
        raise Refused(409, message, hint="Publish a new version.")
    status = project_folder.read_status(volume, name.project)
    if status.state in CLOSED:
        because = f": {status.reason}" if status.reason else ""
        raise Refused(403, f"The project {name.project} is {status.state} and takes no uploads{because}")
    if lookup.has_file(volume, name.project, name.filename):
        if not lookup.holds(volume, name, sha256):
            advice = "a published file never changes, publish a new version"
            raise Refused(409, f"{name.filename} is already in this index with other content; {advice}")
        return True
    _refuse_other_name(volume, name)
    return False


def _refuse_other_name(volume: Volume, name: Filename) -> None:
    """Refuse another name of a file that the index has, and what could be installed instead of a removed one."""
    new, names = name.filename, project_folder.served_names(volume, name.project) or frozenset()
    removed = {used.removesuffix(TOMBSTONE) for used in names if used.endswith(TOMBSTONE)}
    live = [used for used in names if not used.endswith(SIDE_FILES) and used not in removed]
    for old in live:
        if old != new and release_file.is_same(new, old, project=name.project):
            what = f"{new} is another name of {old}, which is in this index"
            raise Refused(409, f"{what}: a published file never changes, publish a new version")
    for old in removed:
        if release_file.may_replace(new, old, project=name.project, live=live):
            what = f"{new} would replace {old}, which was removed from this index"
            raise Refused(409, f"{what}: a removed file never comes back, publish a new version")


def require_among(project: str, among: Collection[str] | None, volume: Volume, new: str) -> None:
    """Raise Refused (403) if a project's status, or the `new` one, is not `among` these."""
    if among is not None:
        for each in (project_folder.read_status(volume, project).state, new):
            if each not in among:
                raise Refused(403, f"Only an admin may set or unset the status {each} of {project}")
