"""Check who may change a shared environment, and that an upload is its next revision.

The owner is the user who uploaded the oldest revision in the index. Other users may change an environment while its
newest revision is shared, admins always. A credential's projects limit this further.
"""

from __future__ import annotations

from ppmctl.access.rights import Access
from ppmctl.distributions import environment_revision as formats
from ppmctl.distributions.environment_revision import RevisionHead, environment_of
from ppmctl.errors import Refused
from ppmctl.index import environment_files, project_folder
from ppmctl.index.project_folder import Folder
from ppmctl.index.store import Store

# the statuses between which an owner may switch
OWNERS_STATUSES = frozenset({"active", "archived"})


def require_change(store: Store, project: str, by: Access) -> None:
    """Raise Refused (403) where `project` is an environment that this credential may not change.

    What other nodes have changed counts. Raise Unavailable if the bucket can't be asked.
    """
    if environment_of(project) is not None:
        store.pull(project)
        _require_change_here(store, project, by)


def _require_change_here(store: Store, project: str, by: Access) -> None:
    content = _content(store, project)
    if content is None or not environment_files.revisions(content) or owns(content, by):
        return
    if not environment_files.is_shared(store.volume, content):
        owner = environment_files.owner(content)
        why = f"belongs to {owner}, and is not shared" if owner else "has no owner: only admins may change it"
        raise Refused(403, f"The environment {environment_of(project)} {why}")


def may_change(store: Store, project: str, by: Access) -> bool:
    """Return whether this credential may change the environment `project`, as far as the disk tells: for a page."""
    try:
        _require_change_here(store, project, by)
    except Refused:
        return False
    return by.may("publish", project)


def owns(content: Folder, by: Access) -> bool:
    """Return whether this credential may do what only the owner may: its own, or an admin's."""
    return by.may("manage", content.project) or by.owner == environment_files.owner(content)


def require_revision(store: Store, project: str, revision: RevisionHead, by: Access) -> None:
    """Check a revision that is to be the next one, right before it is published: nothing may change it in between.

    Raise Refused: 409 if its number leaves a gap, or its author did not know the revision before it; 403 if only the
    owner may send it. A number that exists passes: of two uploads of the next revision the store takes one, and
    refuses the other.
    """
    name = environment_of(project) or ""
    _require_change_here(store, project, by)
    content = _content(store, project) or Folder(project=project)
    following = next_number(content)
    if revision.number not in {following, *_used(content)}:
        raise Refused(409, f"Revision {revision.number} of {name} leaves a gap: the next is {following}")
    for stored in reversed(environment_files.revisions(content)):
        if (revision.base or 0) < stored.number < revision.number and stored.file.yanked is None:
            what = f"Revision {revision.number} of {name} is no change of revision {stored.number}"
            raise Refused(409, f"{what}: it would be lost. Read the latest revision, and change that")
    if not revision.shared and environment_files.revisions(content) and not owns(content, by):
        raise Refused(403, f"Only the owner of {name} may send a revision that is not shared")


def next_number(content: Folder | None) -> int:
    """Return the number of the next revision of an environment with this folder."""
    return 1 + max(_used(content) if content is not None else (), default=0)


def require_status(store: Store, project: str, by: Access) -> None:
    """Raise Refused (403) unless a credential that is not an admin's may set the status of `project`."""
    if environment_of(project) is None or not by.may("publish", project):
        raise Refused(403, f"The credential {by.name} may not set the status of {project}: it has no admin's rights")
    require_change(store, project, by)


def signed_reason(reason: str, project: str, by: Access) -> str:
    """Return the reason of a yank; of an environment with the user and the time, which its log shows."""
    if environment_of(project) is None:
        return reason
    return f"{reason} ({by.owner}, {project_folder.now().partition('.')[0]}Z)".lstrip()


def _content(store: Store, project: str) -> Folder | None:
    return project_folder.read(store.volume, project) if environment_of(project) is not None else None


def _used(content: Folder) -> set[int]:
    """Return the numbers of all revisions, also of removed ones."""
    name = environment_of(content.project) or ""
    removed = (formats.number_of(name, filename) for filename in content.removed)
    return {*(stored.number for stored in environment_files.revisions(content)), *filter(None, removed)}
