"""Who may change a shared environment, and which revision may follow: what the index demands of uploads and changes.

An environment is its owner's: the user that uploaded the first of its revisions that are here. Others may change it
while its newest revision says that it is shared, and admins at any time; the scopes of credentials go on top.
"""

from __future__ import annotations

from pathlib import Path

from ppmctl.access.rights import Access
from ppmctl.distributions import environment_revision as formats
from ppmctl.distributions import environment_wheel
from ppmctl.distributions.distribution import Filename
from ppmctl.distributions.environment_revision import Revision, environment_of
from ppmctl.errors import Refused
from ppmctl.index import environment_files, project_folder
from ppmctl.index.project_folder import Folder
from ppmctl.index.store import Store

# between which its owner may take an environment
OWNERS_STATUSES = frozenset({"active", "archived"})


def demand_change(store: Store, project: str, by: Access) -> None:
    """Refused, 403, where `project` is an environment that is not for this credential to change."""
    content = _content(store, project)
    if content is None or not environment_files.revisions(content) or _is_its_owner(content, by):
        return
    if not environment_files.is_shared(store.volume, content):
        owner = environment_files.owner(content)
        whose = f"belongs to {owner}, and is not shared" if owner else "belongs to nobody: admins may change it"
        raise Refused(403, f"The environment {environment_of(project)} {whose}")


def demand_revision(store: Store, name: Filename, wheel: Path, by: Access) -> None:
    """Refused unless `name`, of an environment, may follow, and may come from `by`: as `check_next`, and 403."""
    revision, content = check_next(store, name, wheel), _content(store, name.project)
    if not revision.shared and content and environment_files.revisions(content) and not _is_its_owner(content, by):
        raise Refused(403, f"Whether {revision.name} is shared is its owner's to say; send a revision that is")


def check_next(store: Store, name: Filename, wheel: Path) -> Revision:
    """Return the revision that `name` is, of an environment. Raise Refused: 400 as `check`, 409 if it leaves a gap.

    A number that is taken passes: of two that both come next the store takes one, and tells the other.
    """
    revision = environment_wheel.check(name, wheel)
    content = _content(store, name.project) or Folder(project=name.project)
    removed = (formats.number_of(revision.name, filename) for filename in content.removed)
    used = {*(stored.number for stored in environment_files.revisions(content)), *filter(None, removed)}
    following = 1 + max(used, default=0)
    if revision.number not in {following, *used}:
        raise Refused(409, f"Revision {revision.number} of {revision.name} leaves a gap: the next is {following}")
    return revision


def demand_status(store: Store, project: str, by: Access) -> None:
    """Refused, 403, unless `project` is an environment whose status this credential, no admin's, may set at all."""
    if environment_of(project) is None or not by.may("publish", project):
        raise Refused(403, f"The credential {by.name} may not set the status of {project}: it is not an admin's")
    demand_change(store, project, by)


def signed(reason: str, project: str, by: Access) -> str:
    """Why a release is yanked; of an environment also by whom and when, which its log is to say for ever."""
    if environment_of(project) is None:
        return reason
    return f"{reason} ({by.owner}, {project_folder.now().partition('.')[0]}Z)".lstrip()


def _content(store: Store, project: str) -> Folder | None:
    return project_folder.read(store.volume, project) if environment_of(project) is not None else None


def _is_its_owner(content: Folder, by: Access) -> bool:
    return by.may("manage", content.project) or by.owner == environment_files.owner(content)
