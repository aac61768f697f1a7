"""Users and tokens, as people and programs change them: one interface for the command line and for HTTP.

Each function takes the volume and who asks (`Actor`), checks that they may, changes `credentials/` in one step that a
crash can't leave half done, writes a line of the audit, and returns frozen values. What a running server or nginx has
read before counts no more from the next request on. What is refused to an actor over HTTP is the server's to write.

Errors, all with one line for a person: UsageError (a name, a role, a glob, an address that makes no sense: HTTP 400),
NotAllowed (the actor has not the right: 403), Unknown (there is no such credential: 404), Taken (there is one: 409);
PpmError or OSError where the volume can't be used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ppmctl import access, audit, credentials, htpasswd, invites
from ppmctl.access import Access
from ppmctl.account import (
    Account,
    Actor,
    Deliver,
    Issued,
    NotAllowed,
    Taken,
    Unknown,
    as_account,
    demand,
    demand_admin,
    demand_live,
    granted,
    holders_of,
    noun,
    said,
    taken,
    unknown,
    until,
)
from ppmctl.credential import Secret
from ppmctl.credentials import Change
from ppmctl.errors import PpmError, UsageError
from ppmctl.volume import Volume

__all__ = ["Account", "Actor", "Deliver", "Issued", "NotAllowed", "Taken", "Unknown"]


def accounts(volume: Volume, *, owner: str | None = None) -> tuple[Account, ...]:
    """All credentials by name, or `owner` and the tokens of `owner`."""
    known = credentials.known(volume)
    names = sorted(name for name, entry in known.access.items() if owner in (None, entry.owner))
    return tuple(as_account(known, name) for name in names)


def account(volume: Volume, name: str) -> Account:
    """The credential `name`. Unknown if there is none."""
    known = credentials.known(volume)
    if name not in known.access:
        raise unknown(name)
    return as_account(known, name)


def create_user(
    volume: Volume,
    actor: Actor,
    name: str,
    *,
    role: str,
    projects: Sequence[str] = (),
    expires: str | None = None,
    email: str | None = None,
    deliver: Deliver | None = None,
) -> Issued:
    """Make the user `name`; an actor over HTTP must be an admin. Taken if there is one with a secret.

    `expires` is a moment as `access.expiry` gives it, or None for never.
    """
    with _changing(volume, actor, "user add", said(name, role, projects, expires)) as change:
        _put_user(change, actor, name, role, projects, expires, email)
        return _issue(change, name, deliver)


def prepare_user(
    volume: Volume,
    actor: Actor,
    name: str,
    *,
    role: str,
    projects: Sequence[str] = (),
    expires: str | None = None,
    email: str | None = None,
) -> Account:
    """Make the user `name` as `create_user` does, but without a secret: somebody else gets it, by `rotate`."""
    with _changing(volume, actor, "user add", f"{said(name, role, projects, expires)}, no secret") as change:
        _put_user(change, actor, name, role, projects, expires, email)
        return as_account(change.known(), name)


def create_token(
    volume: Volume,
    actor: Actor,
    name: str,
    *,
    role: str,
    projects: Sequence[str] = (),
    expires: str | None = None,
    deliver: Deliver | None = None,
) -> Issued:
    """Make the token `name`, `owner+purpose`. NotAllowed where it would have more right than its owner has.

    An actor over HTTP makes tokens of its own owner, with no more right than its own. Without projects, and without
    `expires`, they are those of whom it can't exceed. A token that a token made is gone with it. Beside the volume an
    owner that is not there is made too: without a secret, with the rights of its tokens, and gone with the last.
    """
    wanted_said = said(name, role, projects, expires)
    with _changing(
        volume, actor, "token create", wanted_said, done=lambda change: granted(change.access[name])
    ) as change:
        wanted = _new(actor, name, role, projects, expires)
        if not wanted.is_token:
            raise UsageError(f"{name!r} is no token's name.", hint="It is OWNER+PURPOSE, such as ops+laptop.")
        holders = holders_of(change, actor, wanted)  # first: whether somebody else has such a token is not told
        if name in change.named:
            raise taken(name)
        for holder in holders:
            if not holder.is_live():
                raise NotAllowed(f"{holder.name} is disabled or has expired; it can have no tokens.")
            limit = holder.effective
            if wanted.role != "reader":
                wanted = replace(wanted, projects=wanted.projects or limit.projects)
            wanted = replace(wanted, expires=wanted.expires or limit.expires)
            if more := access.exceeds(wanted, holder):
                raise NotAllowed(f"{name} would have more right than {holder.name} has: {more}.")
        change.put(wanted)
        return _issue(change, name, deliver)


def rotate(
    volume: Volume, actor: Actor, name: str, *, expires: str | None = None, deliver: Deliver | None = None
) -> Issued:
    """Give the credential `name` another secret (or its first), and another expiry if one is given.

    The old secret holds for no request more. PpmError for a disabled one, and for an expired one without `expires`.
    """
    with _changing(volume, actor, f"{noun(name)} rotate", until(name, expires)) as change:
        entry = demand(change, actor, name)
        change.put(replace(entry, expires=expires or entry.expires, has_tokens_only=False))
        demand_live(change.access[name])
        return _issue(change, name, deliver)


def change(
    volume: Volume,
    actor: Actor,
    name: str,
    *,
    role: str | None = None,
    projects: Sequence[str] | None = None,
    email: str | None = None,
) -> Account:
    """Change what the credential `name` is for; None leaves a value as it is. It keeps its secret.

    An actor over HTTP must be an admin. Its tokens are held to what their owner has from then on.
    """
    globs = None if projects is None else tuple(projects)
    values = [role or "", f"projects {' '.join(globs) or '*'}" if globs is not None else "", email or ""]
    with _changing(volume, actor, f"{noun(name)} change", f"{name} to {', '.join(filter(None, values))}") as change:
        demand_admin(actor)
        entry = demand(change, actor, name)
        changed = replace(
            entry,
            role=entry.role if role is None else access.check_role(role),
            projects=entry.projects if globs is None else access.check_projects(globs),
            email=entry.email if email is None else access.check_email(email),
        )
        _check_scope(changed)
        for holder in entry.holders:
            if more := access.exceeds(replace(changed, expires=holder.effective.expires), holder):
                raise NotAllowed(f"{name} would have more right than {holder.name} has: {more}.")
        change.put(changed)
        return as_account(change.known(), name)


def disable(volume: Volume, actor: Actor, name: str) -> tuple[str, ...]:
    """Let the credential `name`, and a user's tokens, in no more; `enable` gives their secrets back.

    The names that were let in before and are no more.
    """
    with _changing(volume, actor, f"{noun(name)} disable", name) as change:
        demand_admin(actor)
        before = change.known()
        change.put(replace(demand(change, actor, name), disabled=True))
        held = (entry for entry in change.access.values() if entry.stands_on(name))
        out = tuple(sorted(entry.name for entry in held if entry.name in before.hashes))
    _audit_others(volume, actor, "disable", name, out)
    return out


def enable(volume: Volume, actor: Actor, name: str, *, expires: str | None = None) -> Account:
    """Let a disabled credential in again, with the secret that it had; an expired one with another expiry.

    The tokens of a user come back with it, but for those that are disabled or expired themselves.
    """
    with _changing(volume, actor, f"{noun(name)} enable", until(name, expires)) as change:
        demand_admin(actor)
        entry = demand(change, actor, name)
        change.put(replace(entry, disabled=False, expires=expires or entry.expires))
        demand_live(change.access[name])
        change.restore(each for each, held in change.access.items() if held.stands_on(name))
        return as_account(change.known(), name)


def remove(volume: Volume, actor: Actor, name: str) -> tuple[str, ...]:
    """Remove the credential `name` for good: a user with all tokens, a token with those made with it. The names.

    An actor over HTTP may remove tokens of its own owner that are no stronger than itself; an admin may remove any.
    """
    with _changing(volume, actor, f"{noun(name)} {'revoke' if '+' in name else 'remove'}", name) as change:
        if name in change.access:
            demand(change, actor, name)
        elif name not in change.named or actor.access is not None:
            raise unknown(name)
        gone = {name, *_tokens(change, name)}
        gone |= {each for each, entry in change.access.items() if entry.stands_on(name)}
        owner = change.access.get(name.partition("+")[0])
        if owner is not None and owner.has_tokens_only and not _tokens(change, owner.name) - gone:
            gone.add(owner.name)
        change.drop(gone)
        invites.drop(volume, gone)
    _audit_others(volume, actor, "remove", name, gone)
    return tuple(sorted(gone))


def prune(volume: Volume) -> tuple[str, ...]:
    """Take out of htpasswd what lets in whom it should not: expired ones above all. The names; never grants anything.

    For a timer, and for a server that runs: nginx knows no expiry.
    """
    with credentials.changing(volume) as change:
        invites.drop(volume, ())
    _audit_pruned(volume, change)
    return change.taken_out


@contextlib.contextmanager
def _changing(
    volume: Volume, actor: Actor, action: str, what: str, *, done: Callable[[Change], str] | None = None
) -> Iterator[Change]:
    """A change, and its line of the audit: `what` was to be done, and what `done` says of it when it was."""
    result = "failed"
    try:
        with credentials.changing(volume) as change:
            yield change
        result, what = "done", what if done is None else done(change)
        _audit_pruned(volume, change)
    except PpmError as exc:
        result = exc.message
        raise
    finally:
        if result == "done" or actor.access is None:
            audit.write(volume, action=action, by=actor.name, origin=actor.origin, what=what, result=result)


def _audit_others(volume: Volume, actor: Actor, verb: str, name: str, names: Iterable[str]) -> None:
    """What was done to these with `name`."""
    for other in sorted(set(names) - {name}):
        does = "revoke" if verb == "remove" and "+" in other else verb
        audit.write(
            volume,
            action=f"{noun(other)} {does}",
            by=actor.name,
            origin=actor.origin,
            what=f"{other} with {name}",
            result="done",
        )


def _audit_pruned(volume: Volume, change: Change) -> None:
    for name in change.taken_out:
        if name not in change.access or not change.access[name].is_shut:  # nobody asked for it: its time was over
            audit.write(volume, action="prune", by="ppm", origin="here", what=name, result="done")


def _issue(change: Change, name: str, deliver: Deliver | None) -> Issued:
    secret = htpasswd.new_secret()
    change.put_hash(name, htpasswd.hash_of(secret))
    issued = Issued(account=as_account(change.known(), name), secret=Secret(secret))
    if deliver is not None:
        deliver(issued)
    return issued


def _put_user(
    change: Change,
    actor: Actor,
    name: str,
    role: str,
    projects: Sequence[str],
    expires: str | None,
    email: str | None,
) -> None:
    demand_admin(actor)
    user = replace(_new(actor, name, role, projects, expires), email=access.check_email(email))
    if user.is_token:
        raise UsageError(f"{name!r} is a token's name, no user's.", hint=f"ppmctl token create {name} --role {role}")
    known = change.known()
    if name in change.named and (name not in known.access or name in known.hashes or name in known.parked):
        raise taken(name)
    change.put(user)


def _new(actor: Actor, name: str, role: str, projects: Sequence[str], expires: str | None) -> Access:
    access.check_name(name)
    entry = Access(
        name=name,
        role=access.check_role(role),
        created=access.stamp(datetime.now(UTC)),
        projects=access.check_projects(projects),
        expires=expires,
        by=actor.name if actor.access is None else actor.access.name,
    )
    _check_scope(entry)
    return entry


def _check_scope(entry: Access) -> None:
    if entry.role == "admin" and entry.projects:
        raise UsageError("An admin manages the whole index; projects are for publishers.")


def _tokens(change: Change, owner: str) -> set[str]:
    return {each for each in change.named if each.startswith(f"{owner}+")}
