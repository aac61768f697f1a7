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
from typing import Unpack

from ppmctl.access import account as rules
from ppmctl.access import credential_files, htpasswd, invites, rights
from ppmctl.access.account import SERVER, Account, Actor, Deliver, Grant, Issued, NotAllowed, UserGrant
from ppmctl.access.credential_files import Change
from ppmctl.errors import PpmError, UsageError
from ppmctl.index.layout import Volume
from ppmctl.secret import Secret


def accounts(volume: Volume, *, owner: str | None = None) -> tuple[Account, ...]:
    """All credentials by name, or `owner` and the tokens of `owner`."""
    known = credential_files.known(volume)
    names = sorted(name for name, entry in known.access.items() if owner in (None, entry.owner))
    return tuple(rules.as_account(known, name) for name in names)


def account(volume: Volume, name: str) -> Account:
    """The credential `name`. Unknown if there is none."""
    known = credential_files.known(volume)
    if name not in known.access:
        raise rules.unknown(name)
    return rules.as_account(known, name)


def resting_on(volume: Volume, account: Account) -> tuple[Account, ...]:
    """Return the tokens that can't be stronger than `account`: a user's, or those made with a token."""
    name = account.access.name
    held = accounts(volume, owner=account.access.owner)
    return tuple(each for each in held if each.access.name != name and each.access.stands_on(name))


def create_user(
    volume: Volume, actor: Actor, name: str, *, deliver: Deliver | None = None, **grant: Unpack[UserGrant]
) -> Issued:
    """Make the user `name`; an actor over HTTP must be an admin. Taken if there is one with a secret."""
    with _adding(volume, actor, name, grant, rules.requested(name, grant)) as change:
        return _issue(change, name, deliver)


def prepare_user(volume: Volume, actor: Actor, name: str, **grant: Unpack[UserGrant]) -> Account:
    """Make the user `name` as `create_user` does, but without a secret: somebody else gets it, by `rotate`."""
    with _adding(volume, actor, name, grant, f"{rules.requested(name, grant)}, no secret") as change:
        return rules.as_account(change.known(), name)


def create_token(
    volume: Volume, actor: Actor, name: str, *, deliver: Deliver | None = None, **grant: Unpack[Grant]
) -> Issued:
    """Make the token `name`, `owner+purpose`. NotAllowed where it would have more right than its owner has.

    An actor over HTTP makes tokens of its own owner, with no more right than its own. Without projects, and without
    `expires`, they are those of whom it can't exceed. A token that a token made is gone with it. Beside the volume an
    owner that is not there is made too: without a secret, with the rights of its tokens, and gone with the last.
    """

    def made(change: Change) -> str:
        return rules.granted(change.access[name])

    with _changing(volume, actor, "token create", rules.requested(name, grant), done=made) as change:
        rights.check_name(name)
        wanted = rules.new_entry(actor, name, grant)
        if not wanted.is_token:
            raise UsageError(f"{name!r} is no token's name.", hint="It is OWNER+PURPOSE, such as ops+laptop.")
        holders = rules.holders_of(change, actor, wanted)  # first: whether somebody else has such a token is not told
        if name in change.named:
            raise rules.taken(name)
        for holder in holders:
            if not holder.is_live():
                raise NotAllowed(f"{holder.name} is disabled or has expired; it can have no tokens.")
            wanted = rules.narrowed(wanted, holder)
        change.put(wanted)
        return _issue(change, name, deliver)


def rotate(
    volume: Volume, actor: Actor, name: str, *, expires: str | None = None, deliver: Deliver | None = None
) -> Issued:
    """Give the credential `name` another secret (or its first), and another expiry if one is given.

    The old secret holds for no request more. PpmError for a disabled one, and for an expired one without `expires`.
    """
    with _changing(volume, actor, f"{rules.noun(name)} rotate", rules.until(name, expires)) as change:
        entry = rules.require_entry(change, actor, name)
        change.put(replace(entry, expires=expires or entry.expires, has_tokens_only=False))
        rules.require_live(change.access[name])
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
    what = f"{name} to {', '.join(filter(None, values))}"
    with _changing(volume, actor, f"{rules.noun(name)} change", what) as change:
        rules.require_admin(actor)
        entry = rules.require_entry(change, actor, name)
        changed = replace(
            entry,
            role=entry.role if role is None else rights.check_role(role),
            projects=entry.projects if globs is None else rights.check_projects(globs),
            email=entry.email if email is None else rights.check_email(email),
        )
        rules.require_scope(changed)
        for holder in entry.holders:
            rules.require_within(replace(changed, expires=holder.effective.expires), holder)
        change.put(changed)
        return rules.as_account(change.known(), name)


def disable(volume: Volume, actor: Actor, name: str) -> tuple[str, ...]:
    """Let the credential `name`, and a user's tokens, in no more; `enable` gives their secrets back.

    The names that were let in before and are no more.
    """
    with _changing(volume, actor, f"{rules.noun(name)} disable", name) as change:
        rules.require_admin(actor)
        before = change.known()
        change.put(replace(rules.require_entry(change, actor, name), disabled=True))
        held = (entry for entry in change.access.values() if entry.stands_on(name))
        out = tuple(sorted(entry.name for entry in held if entry.name in before.hashes))
    _audit_others(volume, actor, "disable", name, out)
    return out


def enable(volume: Volume, actor: Actor, name: str, *, expires: str | None = None) -> Account:
    """Let a disabled credential in again, with the secret that it had; an expired one with another expiry.

    The tokens of a user come back with it, but for those that are disabled or expired themselves.
    """
    with _changing(volume, actor, f"{rules.noun(name)} enable", rules.until(name, expires)) as change:
        rules.require_admin(actor)
        entry = rules.require_entry(change, actor, name)
        change.put(replace(entry, disabled=False, expires=expires or entry.expires))
        rules.require_live(change.access[name])
        change.restore(each for each, held in change.access.items() if held.stands_on(name))
        return rules.as_account(change.known(), name)


def remove(volume: Volume, actor: Actor, name: str) -> tuple[str, ...]:
    """Remove the credential `name` for good: a user with all tokens, a token with those made with it. The names.

    An actor over HTTP may remove tokens of its own owner that are no stronger than itself; an admin may remove any.
    """
    with _changing(volume, actor, f"{rules.noun(name)} {'revoke' if '+' in name else 'remove'}", name) as change:
        if name in change.access:
            rules.require_entry(change, actor, name)
        elif name not in change.named or actor.access is not None:
            raise rules.unknown(name)
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
    with credential_files.changing(volume) as change:
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
        with credential_files.changing(volume) as change:
            yield change
        result, what = "done", what if done is None else done(change)
        _audit_pruned(volume, change)
    except PpmError as exc:
        result = exc.message
        raise
    finally:
        if result == "done" or actor.access is None:
            actor.record(volume, action, what, result)


@contextlib.contextmanager
def _adding(volume: Volume, actor: Actor, name: str, grant: UserGrant, what: str) -> Iterator[Change]:
    """Yield a change that has the new user; `what` is its line of the audit."""
    with _changing(volume, actor, "user add", what) as change:
        rules.require_admin(actor)
        rights.check_name(name)
        user = replace(rules.new_entry(actor, name, grant), email=rights.check_email(grant.get("email")))
        if user.is_token:
            hint = f"ppmctl token create {name} --role {user.role}"
            raise UsageError(f"{name!r} is a token's name, no user's.", hint=hint)
        known = change.known()
        if name in change.named and (name not in known.access or name in known.hashes or name in known.parked):
            raise rules.taken(name)
        change.put(user)
        yield change


def _audit_others(volume: Volume, actor: Actor, verb: str, name: str, names: Iterable[str]) -> None:
    """What was done to these with `name`."""
    for other in sorted(set(names) - {name}):
        does = "revoke" if verb == "remove" and "+" in other else verb
        actor.record(volume, f"{rules.noun(other)} {does}", f"{other} with {name}")


def _audit_pruned(volume: Volume, change: Change) -> None:
    for name in change.taken_out:
        if name not in change.access or not change.access[name].is_shut:  # nobody asked for it: its time was over
            SERVER.record(volume, "prune", name)


def _issue(change: Change, name: str, deliver: Deliver | None) -> Issued:
    secret = htpasswd.new_secret()
    change.put_hash(name, htpasswd.hash_of(secret))
    issued = Issued(account=rules.as_account(change.known(), name), secret=Secret(secret))
    if deliver is not None:
        deliver(issued)
    return issued


def _tokens(change: Change, owner: str) -> set[str]:
    return {each for each in change.named if each.startswith(f"{owner}+")}
