"""Yank, unyank and remove releases, and set a project's status, with the rights and audit lines of the HTTP API.

The actor has a credential (`Actor.access`). Each function raises Refused (400, 403) or NotHere (404), and then
changes nothing; the server writes the refusal to the audit.
"""

from __future__ import annotations

from typing import Literal

from ppmctl.access.account import Actor
from ppmctl.access.rights import Access
from ppmctl.distributions.environment_revision import environment_of
from ppmctl.errors import Refused
from ppmctl.index.project_folder import MAX_REASON, STATUSES, Status, is_reason
from ppmctl.index.store import Store
from ppmctl.server import environment_policy

Action = Literal["yank", "unyank", "remove"]


def require(store: Store, by: Access, action: Action, project: str) -> None:
    """Raise Refused (403) where `by` may not do this to releases of a project, before anything tells what it has."""
    if not _has_right(by, action, project):
        why = ": it has no admin's rights" if action == "remove" else ""
        raise Refused(403, f"The credential {by.name} may not {action} releases of {project}{why}")
    if not by.may("manage", project):  # an admin may change each environment, whatever the bucket has of it
        environment_policy.require_change(store, project, by)


def may(store: Store, by: Access, action: Action, project: str) -> bool:
    """Return whether `by` may do this to releases of a project, as far as the disk tells: for a page."""
    return _has_right(by, action, project) and environment_policy.may_change(store, project, by)


def require_status(store: Store, by: Access, project: str) -> None:
    """Raise Refused (403) where `by` may not set the project's status."""
    if not by.may("manage", project):
        environment_policy.require_status(store, project, by)


def statuses(store: Store, by: Access, project: str) -> tuple[str, ...]:
    """Return the statuses that `by` may set, none if not any, as far as the disk tells: for a page."""
    if by.may("manage", project):
        return tuple(STATUSES)
    may_set = environment_of(project) is not None and environment_policy.may_change(store, project, by)
    return tuple(each for each in STATUSES if may_set and each in environment_policy.OWNERS_STATUSES)


def yank(store: Store, actor: Actor, project: str, release: str, reason: str) -> list[str]:
    """Yank a release, or one of its files; return the filenames."""
    by = _access(actor)
    require(store, by, "yank", project)
    reason = environment_policy.signed_reason(_checked(reason), project, by)
    return _recorded(store, actor, "yank", store.yank(project, release, reason))


def unyank(store: Store, actor: Actor, project: str, release: str) -> list[str]:
    """Undo a yank; return the filenames."""
    require(store, _access(actor), "unyank", project)
    return _recorded(store, actor, "unyank", store.unyank(project, release))


def remove(store: Store, actor: Actor, project: str, release: str) -> list[str]:
    """Remove a release, or one of its files, for good; return the filenames."""
    require(store, _access(actor), "remove", project)
    return _recorded(store, actor, "remove", store.remove(project, release))


def set_status(store: Store, actor: Actor, project: str, state: object, reason: str) -> Status:
    """Set a project's status; its owner may switch an environment between two of them."""
    by = _access(actor)
    require_status(store, by, project)
    if not isinstance(state, str) or state not in STATUSES:
        raise Refused(400, f"The status must be one of {', '.join(STATUSES)} (PEP 792)")
    among = None if by.may("manage", project) else environment_policy.OWNERS_STATUSES
    status = store.set_status(project, state, _checked(reason), among=among)
    actor.record(store.volume, "status", f"{project} {state}")
    return status


def _has_right(by: Access, action: Action, project: str) -> bool:
    return by.may("manage" if action == "remove" else "publish", project)


def _access(actor: Actor) -> Access:
    if actor.access is None:
        raise TypeError(f"{actor.name} has no credential")
    return actor.access


def _checked(reason: object) -> str:
    if not isinstance(reason, str) or not is_reason(reason):
        raise Refused(400, f"The reason is one line of text, of {MAX_REASON} characters at most")
    return reason


def _recorded(store: Store, actor: Actor, action: str, filenames: list[str]) -> list[str]:
    for filename in filenames:
        actor.record(store.volume, action, filename)
    return filenames
