"""A credential as others see it, who asks for a change of it, and who may: the values and the rules of `accounts`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, Required, TypedDict

from ppmctl.access import audit_log
from ppmctl.access.credential_files import Change, Known
from ppmctl.access.rights import ROLES, Access, check_projects, check_role, exceeds, stamp
from ppmctl.errors import CredentialError, PpmError, UsageError
from ppmctl.index.layout import Volume
from ppmctl.secret import Secret

State = Literal["active", "disabled", "expired", "no secret"]


class NotAllowed(CredentialError):
    """Who asks has not the right to this change."""

    status = 403


class Unknown(PpmError):
    """There is no such credential."""

    status = 404


class Taken(PpmError):
    """There is such a credential already."""

    status = 409


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who asks for a change, and from where, as the audit has them.

    `access` is what their credential may (as `Credentials.authenticate` gave it); None for whoever runs a command
    beside the volume, who could write its files as well.
    """

    name: str
    origin: str
    access: Access | None = None

    def record(self, volume: Volume, action: str, what: str, result: str = "done") -> None:
        """Write a line of the audit: what the actor did, or why it failed."""
        audit_log.write(volume, action=action, by=self.name, origin=self.origin, what=what, result=result)


SERVER = Actor(name="ppm", origin="here")


class Grant(TypedDict, total=False):
    """What a new credential is for: `expires` is a moment as `access.expiry` returns it, None for never."""

    role: Required[str]
    projects: Sequence[str]
    expires: str | None


class UserGrant(Grant, total=False):
    """What a new user is for, with an e-mail address."""

    email: str | None


@dataclass(frozen=True, kw_only=True)
class Account:
    """A credential as it was granted (`access.effective` is what is left of that beside its owner), and how it is.

    `state` is "active" where its secret lets somebody in now, on its own and by its owner; "no secret" where it never
    got one (an invited user, a user with tokens only, a change that was killed).
    """

    access: Access
    state: State

    def as_values(self) -> dict[str, object]:
        """The form that `--json` and the HTTP API have of it in a list: name, owner, role, …, and its state."""
        return {**self.access.as_values(), "state": self.state}


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A credential with the secret that was just made for it, which is stored nowhere."""

    account: Account
    secret: Secret

    @property
    def line(self) -> str:
        """`name:secret`: what a credential file has. It is a secret."""
        return f"{self.account.access.name}:{self.secret.reveal()}"


# is called with what is about to be issued; if it raises, nothing was changed
Deliver = Callable[[Issued], None]


def require_admin(actor: Actor) -> None:
    """NotAllowed for an actor over HTTP who is no admin."""
    if actor.access is not None and not actor.access.may("manage"):
        raise NotAllowed(f"The credential {actor.access.name} is not an admin's.")


def require_entry(change: Change, actor: Actor, name: str) -> Access:
    """The credential `name`, if the actor may change it. Whether there is one is not told to who may not.

    Over HTTP that is itself, or a token of its own owner that has no more right: role, projects and time.
    """
    entry, by = change.access.get(name), actor.access
    if by is not None and not by.may("manage") and name != by.name:
        is_own = entry is not None and entry.owner == by.owner and entry.is_token
        if entry is None or not is_own or exceeds(entry.effective, by):
            raise NotAllowed(f"The credential {by.name} may not change {name}.")
    if entry is None:
        raise unknown(name)
    return entry


def require_live(entry: Access) -> None:
    """PpmError where the credential would let nobody in, with what stands in the way."""
    if entry.disabled:
        raise PpmError(f"{entry.name} is disabled.", hint=f"ppmctl user enable {entry.name}")
    if entry.is_orphan:
        raise PpmError(f"{entry.name} has no owner, or not the token any more that it was made with.")
    for holder in entry.holders:
        if not holder.is_live():
            raise PpmError(f"{holder.name} is disabled or has expired, and {entry.name} with it.")
    if not entry.is_live():
        raise PpmError(
            f"{entry.name} has expired, or lacks its owner.", hint="--expires DURATION gives it more time."
        )


def holders_of(change: Change, actor: Actor, token: Access) -> list[Access]:
    """Whom the new `token` may not exceed. Its owner is made, or made wider, where that is the actor's to do."""
    owner = change.access.get(token.owner)
    if actor.access is not None:
        maker = change.access.get(actor.access.name)
        if owner is None or maker is None or actor.access.owner != token.owner:
            raise NotAllowed(f"The credential {actor.access.name} makes tokens of its own: {actor.access.owner}+…")
        return [owner, maker] if maker.is_token else [owner]
    if owner is None and token.owner in change.named:  # a line of htpasswd would get rights that nobody meant for it
        raise PpmError(
            f"{token.owner} has no entry in access.yml that makes sense, but stands there or in htpasswd.",
            hint=f"ppmctl user remove {token.owner}  takes that away.",
        )
    if owner is None:
        owner = replace(token, name=token.owner, expires=None, has_tokens_only=True)
        change.put(owner)
    elif owner.has_tokens_only:
        is_scoped = bool(owner.projects and token.projects) or "reader" in (owner.role, token.role)
        owner = replace(
            owner,
            role=max(owner.role, token.role, key=ROLES.index),
            projects=tuple(dict.fromkeys([*owner.projects, *token.projects])) if is_scoped else (),
        )
        change.put(owner)
    return [change.access[token.owner]]


def narrowed(token: Access, holder: Access) -> Access:
    """Return the token with the holder's projects and expiry where it has none of its own.

    NotAllowed where it would have more right than the holder.
    """
    limit = holder.effective
    if token.role != "reader":
        token = replace(token, projects=token.projects or limit.projects)
    token = replace(token, expires=token.expires or limit.expires)
    require_within(token, holder)
    return token


def require_within(token: Access, holder: Access) -> None:
    """Raise NotAllowed where the token would have more right than the holder."""
    if more := exceeds(token, holder):
        raise NotAllowed(f"{token.name} would have more right than {holder.name} has: {more}.")


def new_entry(actor: Actor, name: str, grant: Grant) -> Access:
    """Return a new credential that the actor makes now; UsageError for a role or projects that can't be."""
    entry = Access(
        name=name,
        role=check_role(grant["role"]),
        created=stamp(datetime.now(UTC)),
        projects=check_projects(grant.get("projects", ())),
        expires=grant.get("expires"),
        by=actor.name if actor.access is None else actor.access.name,
    )
    require_scope(entry)
    return entry


def require_scope(entry: Access) -> None:
    """Raise UsageError for an admin of some projects."""
    if entry.role == "admin" and entry.projects:
        raise UsageError("An admin manages the whole index; projects are for publishers.")


def as_account(known: Known, name: str) -> Account:
    """The credential `name`, which is known."""
    entry = known.access[name]
    if entry.is_shut:
        state: State = "disabled"
    elif not entry.is_live():
        state = "expired"
    elif name in known.hashes:
        state = "active"
    else:
        state = "disabled" if name in known.parked else "no secret"
    return Account(access=entry, state=state)


def unknown(name: str) -> Unknown:
    """The error for a name that no credential has."""
    return Unknown(f"There is no credential {name!r}.", hint="ppmctl user list")


def taken(name: str) -> Taken:
    """The error for a name that a credential has already."""
    command = f"token revoke {name}" if "+" in name else f"user remove {name}"
    return Taken(f"There is a credential {name!r} already.", hint=f"ppmctl {command}  takes it away first.")


def noun(name: str) -> str:
    """What a credential of this name is."""
    return "token" if "+" in name else "user"


def requested(name: str, grant: Grant) -> str:
    """Return what is to be made, in the words of the audit."""
    scope = f" of {' '.join(grant['projects'])}" if grant.get("projects") else ""
    return until(f"{name} as {grant['role']}{scope}", grant.get("expires"))


def granted(entry: Access) -> str:
    """Return what was made, in the same words."""
    return requested(entry.name, {"role": entry.role, "projects": entry.projects, "expires": entry.expires})


def until(what: str, expires: str | None) -> str:
    """Return `what`, and how long."""
    return f"{what} until {expires}" if expires else what
