"""Check who may change which credential, and how far a new one may reach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ppmctl.access.account import Actor, Grant, NotAllowed, Taken, Unknown
from ppmctl.access.credential_files import Change
from ppmctl.access.rights import ANONYMOUS, ROLES, Access, check_role, exceeds, stamp
from ppmctl.distributions import name_glob
from ppmctl.errors import PpmError, UsageError

MAX_TOKENS = 100  # of one owner, made over HTTP
MAX_CHAIN = 10  # credentials of which each made the next: all of them limit the last
MAX_REGISTRATIONS = 100  # a day, of the whole index


class TooManyTokens(PpmError):
    """An owner has as many tokens as can be made over HTTP."""

    status = 403


class TooManyRegistrations(PpmError):
    """As many accounts were created in a day as anyone may create."""

    status = 429


class NotLive(PpmError):
    """A credential is disabled or has expired, or its owner is or has."""

    status = 409


def require_admin(actor: Actor) -> None:
    """Raise NotAllowed for an actor over HTTP who is not an admin."""
    if actor.access is not None and not actor.access.may("manage"):
        raise NotAllowed(f"The credential {actor.access.name} is not an admin's.")


def require_entry(change: Change, actor: Actor, name: str) -> Access:
    """Return the credential `name` if the actor may change it; others can't find out whether it exists.

    Over HTTP an actor may change itself, and tokens of its own user that have no more rights than itself.
    """
    entry, by = change.access.get(name), actor.access
    if by is not None and not by.may("manage") and (entry is None or not may_change(entry, by)):
        raise NotAllowed(f"The credential {by.name} may not change {name}.")
    if entry is None:
        raise Unknown(name)
    return entry


def may_change(entry: Access, by: Access) -> bool:
    """Return whether the credential `by` may change `entry` over HTTP."""
    is_own = entry.owner == by.owner and entry.is_token
    return by.may("manage") or entry.name == by.name or (is_own and not exceeds(entry.effective, by))


def require_valid_entry(change: Change, name: str) -> None:
    """Raise PpmError if `name` is in the files but has no valid entry: its htpasswd line must not get rights."""
    if name not in change.access and name in change.named:
        raise PpmError(
            f"{name} is in the credential files already, but has no valid entry in access.yml.",
            hint=f"Correct its entry in credentials/access.yml; or, if nobody needs it: ppmctl user remove {name}",
        )


def require_live(entry: Access) -> None:
    """Raise NotLive with the reason if the credential does not work."""
    if entry.disabled:
        raise NotLive(f"{entry.name} is disabled.", hint=f"ppmctl user enable {entry.name}")
    if entry.is_orphan:
        raise NotLive(f"{entry.name} has lost its owner, or the token that created it.")
    for holder in entry.holders:
        if not holder.is_live():
            raise NotLive(f"{entry.name} does not work: {holder.name} is disabled or has expired.")
    if not entry.is_live():
        raise NotLive(f"{entry.name} has expired.", hint="--expires DURATION gives it more time.")


def holders_of(change: Change, actor: Actor, token: Access) -> list[Access]:
    """Return the credentials that limit the new `token`.

    On the server host a missing owner is created, and one that has only tokens gets the token's rights: the patterns
    of all of them together have no limit.
    """
    owner = change.access.get(token.owner)
    if actor.access is not None:
        maker = change.access.get(actor.access.name)
        if owner is None or maker is None or actor.access.owner != token.owner:
            raise NotAllowed(f"The credential {actor.access.name} may only create tokens of {actor.access.owner}.")
        if _chain(maker) >= MAX_CHAIN:
            raise NotAllowed(f"{maker.name} is the last of {MAX_CHAIN} tokens that made each other; use another.")
        return [maker, owner] if maker.is_token else [owner]
    require_valid_entry(change, token.owner)
    if owner is None:
        change.put(replace(token, name=token.owner, expires=None, has_tokens_only=True))
    elif owner.has_tokens_only:
        require_same_kind(owner, token)
        is_scoped = bool(owner.projects and token.projects) or "reader" in (owner.role, token.role)
        wider = replace(
            owner,
            role=max(owner.role, token.role, key=ROLES.index),
            projects=tuple(dict.fromkeys([*owner.projects, *token.projects])) if is_scoped else (),
            reads=tuple(dict.fromkeys([*owner.reads, *token.reads])) if owner.reads and token.reads else (),
        )
        change.put(wider)
    return [change.access[token.owner]]


def _chain(entry: Access) -> int:
    """Return how many credentials made each other, from a user to this one."""
    return 1 + max(map(_chain, entry.holders), default=0)


def require_same_kind(owner: Access, token: Access) -> None:
    """Raise UsageError if one of the two is a monitor and the other is not: no role but admin has both rights."""
    if (owner.role == "monitor") != (token.role == "monitor") and "admin" not in (owner.role, token.role):
        raise UsageError(
            f"{owner.name} has tokens for {'monitoring' if owner.role == 'monitor' else 'packages'} alone.",
            hint="Give a token for the other an owner of its own, such as monitoring+prometheus.",
        )


def require_registrable(change: Change, name: str) -> None:
    """Raise Taken or TooManyRegistrations if anyone may not create the user `name`.

    A user without a secret is taken too: an invite may be on its way to the person.
    """
    if name.casefold() in (each.partition("+")[0].casefold() for each in change.named):
        raise Taken(name)
    since = stamp(datetime.now(UTC) - timedelta(days=1))
    if sum(entry.by == ANONYMOUS and entry.created > since for entry in change.access.values()) >= MAX_REGISTRATIONS:
        raise TooManyRegistrations(
            f"{MAX_REGISTRATIONS} accounts were created here in a day, which is the limit: try again tomorrow,"
            " or ask an administrator of this index for an invitation."
        )


def require_room(change: Change, owner: str) -> None:
    """Raise TooManyTokens if `owner` has so many tokens that it can make no more over HTTP."""
    if sum(entry.is_token and entry.owner == owner for entry in change.access.values()) >= MAX_TOKENS:
        raise TooManyTokens(f"{owner} has {MAX_TOKENS} tokens; revoke one first.")


def narrowed(token: Access, holder: Access) -> Access:
    """Return the token with the holder's projects, reads and expiry if it has none of its own.

    Raise NotAllowed if it would have more rights than the holder.
    """
    limit = holder.effective
    if token.role not in ("monitor", "reader"):
        token = replace(token, projects=token.projects or limit.projects)
    token = replace(token, expires=token.expires or limit.expires, reads=token.reads or limit.reads)
    require_within(token, holder)
    return token


def require_within(token: Access, holder: Access) -> None:
    """Raise NotAllowed if the token would have more rights than the holder."""
    if more := exceeds(token, holder):
        raise NotAllowed(f"{token.name} would have more rights than {holder.name}: {more}.")


def new_entry(actor: Actor, name: str, grant: Grant) -> Access:
    """Return a new credential that the actor creates now. Raise UsageError for an invalid role or projects."""
    entry = Access(
        name=name,
        role=check_role(grant["role"]),
        created=stamp(datetime.now(UTC)),
        expires=grant.get("expires"),
        by=actor.name if actor.access is None else actor.access.name,
    )
    return with_scope(entry, grant.get("projects", ()), grant.get("reads", ()))


def with_scope(entry: Access, projects: Iterable[str] | None, reads: Iterable[str] | None) -> Access:
    """Return the entry with these globs; None leaves them as they are. The projects of a reader are its `reads`.

    Raise UsageError for a glob that matches no name, and for a scope that the role can't have.
    """
    if entry.role == "reader" and projects is not None:
        if projects and reads:
            raise UsageError("A reader has either projects or reads: both name the projects that it may read.")
        projects, reads = (), projects or reads or ()
    entry = replace(
        entry,
        projects=entry.projects if projects is None else check_projects(projects),
        reads=entry.reads if reads is None else check_projects(reads),
    )
    if entry.role == "monitor" and (entry.projects or entry.reads):
        raise UsageError("A monitor reads /metrics and no project; projects are for publishers and readers.")
    if entry.role == "admin" and (entry.projects or entry.reads):
        raise UsageError("An admin manages the whole index; projects are for publishers and readers.")
    unreadable = name_glob.outside(entry.reads, entry.projects) if entry.role == "publisher" else []
    if unreadable:
        could_not = f"{entry.name or 'It'} could not publish {', '.join(unreadable)}"
        raise UsageError(f"{could_not}: it may read only {', '.join(entry.reads)}.")
    return entry


def check_projects(globs: Iterable[str]) -> tuple[str, ...]:
    """Return globs of project names, normalised: `Acme_*` is `acme-*`.

    Raise UsageError for one that matches none, and for too many patterns.
    """
    checked = []
    for glob in globs:
        if reason := name_glob.problem(glob):
            raise UsageError(f"{glob[:80]!r} is not a name of projects, such as acme-*: {reason}.")
        checked.append(name_glob.normalise(glob))
    distinct = tuple(dict.fromkeys(checked))
    if reason := name_glob.excess(distinct):
        raise UsageError(
            f"A list of projects has {reason}.",
            hint="Use wider patterns such as acme-*, or whole names: these are not counted.",
        )
    return distinct


def requested(name: str, grant: Grant) -> str:
    """Return what is to be created, for the audit log."""
    scope = name_glob.scope_text(grant["role"], grant.get("projects", ()), grant.get("reads", ()))
    return until(f"{name} as {grant['role']}{scope}", grant.get("expires"))


def granted(entry: Access) -> str:
    """Return what was created, for the audit log."""
    grant: Grant = {"role": entry.role, "projects": entry.projects, "reads": entry.reads, "expires": entry.expires}
    return requested(entry.name, grant)


def until(what: str, expires: str | None) -> str:
    """Return `what` with the time of expiry, for the audit log."""
    return f"{what} until {expires}" if expires else what
