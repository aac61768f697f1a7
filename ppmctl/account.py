"""A credential as others see it, who asks for a change of it, and who may: the values and the rules of `accounts`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ppmctl.access import ROLES, Access
from ppmctl.credential import Secret
from ppmctl.credentials import Change, Known
from ppmctl.errors import CredentialError, PpmError

State = Literal["active", "disabled", "expired", "no secret"]


class NotAllowed(CredentialError):
    """Who asks has not the right to this change."""


class Unknown(PpmError):
    """There is no such credential."""


class Taken(PpmError):
    """There is such a credential already."""


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who asks for a change, and from where, as the audit has them.

    `access` is what their credential may (as `Credentials.authenticate` gave it); None for whoever runs a command
    beside the volume, who could write its files as well.
    """

    name: str
    origin: str
    access: Access | None = None


@dataclass(frozen=True, kw_only=True)
class Account:
    """A credential as it was granted (`access.effective` is what is left of that beside its owner), and how it is.

    `state` is "active" where its secret lets somebody in now, on its own and by its owner; "no secret" where it never
    got one (an invited user, a user with tokens only, a change that was killed).
    """

    access: Access
    state: State

    def as_values(self) -> dict[str, object]:
        """The form that `--json` and the HTTP API have of it: name, owner, role, projects, expires, created, …"""
        return self.access.as_values()


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


def demand_admin(actor: Actor) -> None:
    """NotAllowed for an actor over HTTP who is no admin."""
    if actor.access is not None and not actor.access.may("manage"):
        raise NotAllowed(f"The credential {actor.access.name} is not an admin's.")


def demand(change: Change, actor: Actor, name: str) -> Access:
    """The credential `name`, if the actor may change it. Whether there is one is not told to who may not."""
    entry, by = change.access.get(name), actor.access
    if by is not None and not by.may("manage"):
        is_own = entry is not None and entry.owner == by.owner and (entry.is_token or name == by.name)
        if entry is None or not is_own or ROLES.index(entry.effective.role) > ROLES.index(by.effective.role):
            raise NotAllowed(f"The credential {by.name} may not change {name}.")
    if entry is None:
        raise unknown(name)
    return entry


def demand_live(entry: Access) -> None:
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
