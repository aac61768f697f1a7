"""List and change users and tokens, for the command line and for HTTP.

Each function checks that the actor may do it, changes `credentials/` in one step, which a crash can't leave half
done, and writes a line of the audit log. A running server and nginx apply a change from the next request on. If an
actor over HTTP is refused, the server writes the line.

Errors: UsageError (an invalid name, role, glob or address: HTTP 400), NotAllowed (403), Unknown (404), Taken (409);
PpmError or OSError if the volume can't be used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Unpack

from ppmctl.access import credential_files, htpasswd, rights, rules
from ppmctl.access.account import SERVER, Account, Actor, Grant, Hook, Issued, NotAllowed, Taken, Unknown, UserGrant
from ppmctl.access.credential_files import Change
from ppmctl.access.shared_credentials import ChangedElsewhere, repeated
from ppmctl.errors import PpmError, UsageError
from ppmctl.index.layout import Volume
from ppmctl.secret import Secret


def accounts(volume: Volume, *, owner: str | None = None) -> tuple[Account, ...]:
    """Return all credentials by name, or `owner` and the tokens of `owner`."""
    snapshot = credential_files.snapshot(volume)
    names = sorted(name for name, entry in snapshot.access.items() if owner in (None, entry.owner))
    return tuple(Account.of(snapshot, name) for name in names)


def account(volume: Volume, name: str) -> Account:
    """Return the credential `name`. Raise Unknown if it does not exist."""
    return Account.of(credential_files.snapshot(volume), name)


def token_with(volume: Volume, owner: str, secret: Secret) -> str | None:
    """Return the name of the token of `owner` that has this secret, or None; it may be disabled or expired.

    Only hashes of issued secrets are tried, which are fast. A user's own secret is not a token's.
    """
    snapshot = credential_files.snapshot(volume)
    for name, stored in (*snapshot.hashes.items(), *snapshot.parked.items()):
        entry, kind = snapshot.access.get(name), htpasswd.kind_of(stored)
        if entry is None or not entry.is_token or entry.owner != owner or kind is None or not kind.is_fast:
            continue
        if htpasswd.is_secret_of(secret.reveal(), stored):
            return name
    return None


def dependent_tokens(volume: Volume, account: Account) -> tuple[Account, ...]:
    """Return the tokens that `account` limits: a user's tokens, or those that a token created."""
    name = account.access.name
    owned = accounts(volume, owner=account.access.owner)
    return tuple(each for each in owned if each.access.name != name and each.access.depends_on(name))


@repeated
def create_user(
    volume: Volume, actor: Actor, name: str, *, deliver: Hook | None = None, **grant: Unpack[UserGrant]
) -> Issued:
    """Create the user `name`; an actor over HTTP must be an admin. Raise Taken if it exists and has a secret."""
    with _adding(volume, actor, name, grant, rules.requested(name, grant)) as change:
        return _issue(change, name, deliver)


@repeated
def register(volume: Volume, origin: str, name: str) -> Issued:
    """Create the user `name` for anyone at the address `origin`, with a reader's rights, where the server allows it.

    Raise Taken also for a name that differs from another one only in upper and lower case, and TooManyRegistrations.
    """
    actor = Actor(name=rights.ANONYMOUS, origin=origin, access=rights.ANYONE)
    with _adding(volume, actor, name, {"role": "reader"}, name, by_anyone=True) as change:
        return _issue(change, name, None)


@repeated
def prepare_user(volume: Volume, actor: Actor, name: str, **grant: Unpack[UserGrant]) -> Account:
    """Create the user `name` as `create_user` does, but without a secret: `rotate` makes the first one."""
    with _adding(volume, actor, name, grant, f"{rules.requested(name, grant)}, no secret") as change:
        return Account.of(change.snapshot(), name)


@repeated
def create_token(
    volume: Volume,
    actor: Actor,
    name: str,
    *,
    deliver: Hook | None = None,
    along: Callable[[Change], None] | None = None,
    **grant: Unpack[Grant],
) -> Issued:
    """Create the token `name`, `owner+purpose`. Raise Taken if it exists and has a secret.

    Raise NotAllowed if it would have more rights than its owner.

    An actor over HTTP creates tokens of its own user, with no more rights than its own. By default a token has the
    projects and the expiry of the credentials that limit it. A token that was created with a token is removed with
    it. On the server host a missing owner is created too: it has no secret, has the rights of its tokens, and is
    removed with the last one. `along` makes another change in the same step; nothing is changed if it raises.
    """
    with _changing(volume, actor, "token create", rules.requested(name, grant), token=name) as change:
        rights.check_name(name)
        token = rules.new_entry(actor, name, grant)
        if not token.is_token:
            raise UsageError(f"{name!r} is not a token's name.", hint="It is OWNER+PURPOSE, such as ops+laptop.")
        holders = rules.holders_of(change, actor, token)  # first: nobody can find out the names of others' tokens
        if _is_taken(change, name):
            raise Taken(name)
        if actor.access is not None and name not in change.access:
            rules.require_room(change, token.owner)
        for holder in holders:
            if not holder.is_live():
                raise NotAllowed(f"{holder.name} is disabled or has expired; it can have no tokens.")
            token = rules.narrowed(token, holder)
        if along is not None:
            along(change)
        change.put(token)
        return _issue(change, name, deliver)


@repeated
def rotate(
    volume: Volume, actor: Actor, name: str, *, expires: str | None = None, deliver: Hook | None = None
) -> Issued:
    """Give the credential `name` a new secret, and a new expiry if one is given. The old secret stops working.

    Raise PpmError if it is disabled, or has expired and no `expires` is given.
    """
    with _changing(volume, actor, f"{rights.noun(name)} rotate", rules.until(name, expires)) as change:
        entry = rules.require_entry(change, actor, name)
        change.put(replace(entry, expires=expires or entry.expires, has_tokens_only=False))
        rules.require_live(change.access[name])
        return _issue(change, name, deliver)


@repeated
def change(
    volume: Volume,
    actor: Actor,
    name: str,
    *,
    role: str | None = None,
    projects: Sequence[str] | None = None,
    reads: Sequence[str] | None = None,
    email: str | None = None,
) -> Account:
    """Change the rights of the credential `name`, but not its secret; None leaves a value as it is.

    An actor over HTTP must be an admin. A user's tokens are limited by the new rights too.
    """
    scopes = {"projects": projects, "reads": reads}
    globs = [f"{key} {' '.join(each) or '*'}" for key, each in scopes.items() if each is not None]
    values = [role or "", *globs, email or ""]
    what = f"{name} to {', '.join(filter(None, values))}"
    with _changing(volume, actor, f"{rights.noun(name)} change", what) as change:
        rules.require_admin(actor)
        entry = rules.require_entry(change, actor, name)
        changed = replace(
            entry,
            role=entry.role if role is None else rights.check_role(role),
            email=entry.email if email is None else rights.check_email(email),
        )
        changed = rules.with_scope(changed, projects, reads)
        for holder in entry.holders:
            changed = replace(changed, reads=changed.reads or holder.effective.reads)
            rules.require_within(replace(changed, expires=holder.effective.expires), holder)
        change.put(changed)
        return Account.of(change.snapshot(), name)


@repeated
def disable(volume: Volume, actor: Actor, name: str) -> tuple[str, ...]:
    """Disable the credential `name`, and the tokens that depend on it. Return the names that worked before.

    `enable` gives their secrets back.
    """
    with _changing(volume, actor, f"{rights.noun(name)} disable", name) as change:
        rules.require_admin(actor)
        worked = change.snapshot().hashes
        change.put(replace(rules.require_entry(change, actor, name), disabled=True))
        stopped = tuple(
            sorted(each for each in worked if each in change.access and change.access[each].depends_on(name))
        )
    _audit_others(volume, actor, "disable", name, stopped)
    return stopped


@repeated
def enable(volume: Volume, actor: Actor, name: str, *, expires: str | None = None) -> Account:
    """Enable a disabled credential with the secret that it had; an expired one needs a new `expires`.

    A user's tokens work again too, except those that are disabled or expired themselves.
    """
    with _changing(volume, actor, f"{rights.noun(name)} enable", rules.until(name, expires)) as change:
        rules.require_admin(actor)
        entry = rules.require_entry(change, actor, name)
        change.put(replace(entry, disabled=False, expires=expires or entry.expires))
        rules.require_live(change.access[name])
        change.restore(change.with_dependents(name))
        return Account.of(change.snapshot(), name)


@repeated
def remove(volume: Volume, actor: Actor, name: str) -> tuple[str, ...]:
    """Remove the credential `name` and the tokens that depend on it. Return the removed names.

    An actor over HTTP may remove itself, and tokens of its own user that have no more rights; an admin any.
    """
    with _changing(volume, actor, f"{rights.noun(name)} {'revoke' if '+' in name else 'remove'}", name) as change:
        if name in change.access:
            rules.require_entry(change, actor, name)
        elif name not in change.named or actor.access is not None:
            raise Unknown(name)
        gone = change.with_dependents(name)
        owner = change.access.get(name.partition("+")[0])
        if owner is not None and owner.has_tokens_only and change.with_dependents(owner.name) <= {owner.name, *gone}:
            gone.add(owner.name)
        change.drop(gone)
        change.drop_invites(gone)
    _audit_others(volume, actor, "remove", name, gone)
    return tuple(sorted(gone))


def prune(volume: Volume) -> tuple[str, ...]:
    """Take expired and invalid credentials out of htpasswd, because nginx knows no expiry. Return their names.

    Those that were taken out while the clock was wrong are put back.
    """
    return settle(volume).taken_out


@repeated
def settle(volume: Volume) -> Change:
    """Make only the changes that are due: what has expired, and with storage what other nodes changed.

    If the bucket can't be reached, the first alone.
    """
    with credential_files.changing(volume, may_be_local=True) as change:
        change.drop_invites(())
    _audit_pruned(volume, change)
    return change


@contextlib.contextmanager
def _changing(volume: Volume, actor: Actor, action: str, what: str, *, token: str | None = None) -> Iterator[Change]:
    """Yield a change, then write its line of the audit log: `what`, or the rights that `token` got."""
    result = "failed"
    try:
        with credential_files.changing(volume) as change:
            yield change
        result, what = "done", what if token is None else rules.granted(change.access[token])
        _audit_pruned(volume, change)
    except ChangedElsewhere:
        result = ""  # it is repeated
        raise
    except PpmError as exc:
        result = exc.message
        raise
    finally:
        if result == "done" or (result and actor.access is None):
            actor.record(volume, action, what, result)


@contextlib.contextmanager
def _adding(
    volume: Volume, actor: Actor, name: str, grant: UserGrant, what: str, *, by_anyone: bool = False
) -> Iterator[Change]:
    """Yield a change that has the new user; `what` is for the audit log."""
    with _changing(volume, actor, "user register" if by_anyone else "user add", what) as change:
        if not by_anyone:
            rules.require_admin(actor)
        rights.check_name(name)
        user = replace(rules.new_entry(actor, name, grant), email=rights.check_email(grant.get("email")))
        if user.is_token:
            hint = f"ppmctl token create {name} --role {user.role}"
            raise UsageError(f"{name!r} is a token's name, not a user's.", hint=hint)
        if by_anyone:
            rules.require_registrable(change, name)
        elif _is_taken(change, name):
            raise Taken(name)
        change.put(user)
        yield change


def _is_taken(change: Change, name: str) -> bool:
    """Return whether `name` is in use. A valid entry without a hash is not: its creation may have failed."""
    before = change.snapshot()
    return name in change.named and (name not in before.access or name in before.hashes or name in before.parked)


def _audit_others(volume: Volume, actor: Actor, verb: str, name: str, names: Iterable[str]) -> None:
    """Write to the audit log what was done to other credentials along with `name`."""
    for other in sorted(set(names) - {name}):
        action = "token revoke" if verb == "remove" and "+" in other else f"{rights.noun(other)} {verb}"
        actor.record(volume, action, f"{other} with {name}")


def _audit_pruned(volume: Volume, change: Change) -> None:
    for name in change.taken_out:
        if name not in change.access or not change.access[name].is_blocked:  # a disabled one has its own line
            SERVER.record(volume, "prune", name)
    for name in change.put_back:
        SERVER.record(volume, "restore", name)


def _issue(change: Change, name: str, deliver: Hook | None) -> Issued:
    secret = htpasswd.new_secret()
    change.put_hash(name, htpasswd.hash_of(secret))
    issued = Issued(account=Account.of(change.snapshot(), name), secret=Secret(secret))
    if deliver is not None:
        deliver(issued)
    return issued
