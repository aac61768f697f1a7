"""Users and tokens, as people and programs change them: one interface for the command line and for HTTP.

Each function takes the volume and who asks (`Actor`), checks that they may, changes `credentials/` in one step that a
crash can't leave half done, writes a line of the audit (also for what it refuses), and returns frozen values. What a
running server or nginx has read before counts no more from the next request on.

Errors, all with one line for a person: UsageError (a name, a role, a glob, an address that makes no sense: HTTP 400),
NotAllowed (the actor has not the right: 403), Unknown (there is no such credential: 404), Taken (there is one: 409);
PpmError or OSError where the volume can't be used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from ppmctl.access import Access
from ppmctl.credential import Secret
from ppmctl.errors import CredentialError, PpmError
from ppmctl.volume import Volume

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
    """A credential as it is: what it may (`access.effective` with its owner considered), and whether it lets in.

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


def accounts(volume: Volume, *, owner: str | None = None) -> tuple[Account, ...]:
    """All credentials by name, or `owner` and the tokens of `owner`."""
    raise NotImplementedError


def account(volume: Volume, name: str) -> Account:
    """The credential `name`. Unknown if there is none."""
    raise NotImplementedError


def create_user(
    volume: Volume,
    actor: Actor,
    name: str,
    *,
    role: str,
    projects: Iterable[str] = (),
    expires: str | None = None,
    email: str | None = None,
    deliver: Deliver | None = None,
) -> Issued:
    """Make the user `name`; an actor over HTTP must be an admin. Taken if there is one with a secret.

    `expires` is a moment as `access.expiry` gives it, or None for never.
    """
    raise NotImplementedError


def create_token(
    volume: Volume,
    actor: Actor,
    name: str,
    *,
    role: str,
    projects: Iterable[str] = (),
    expires: str | None = None,
    deliver: Deliver | None = None,
) -> Issued:
    """Make the token `name`, `owner+purpose`. NotAllowed where it would have more right than its owner has.

    An actor over HTTP makes tokens of its own owner, with no more right than its own: without projects they are the
    actor's, and without `expires` it ends when the actor does. A token made with a token is gone with it. Beside the
    volume an owner that is not there is made too: without a secret, and with the rights of its tokens.
    """
    raise NotImplementedError


def rotate(
    volume: Volume, actor: Actor, name: str, *, expires: str | None = None, deliver: Deliver | None = None
) -> Issued:
    """Give the credential `name` another secret (or its first), and another expiry if one is given.

    The old secret holds for no request more. PpmError for a disabled one, and for an expired one without `expires`.
    """
    raise NotImplementedError


def change(
    volume: Volume,
    actor: Actor,
    name: str,
    *,
    role: str | None = None,
    projects: Iterable[str] | None = None,
    email: str | None = None,
) -> Account:
    """Change what the credential `name` is for; None leaves a value as it is. It keeps its secret.

    An actor over HTTP must be an admin. Its tokens are held to what their owner has from then on.
    """
    raise NotImplementedError


def disable(volume: Volume, actor: Actor, name: str) -> tuple[str, ...]:
    """Let the credential `name`, and a user's tokens, in no more; `enable` gives their secrets back.

    The names that were let in before and are no more.
    """
    raise NotImplementedError


def enable(volume: Volume, actor: Actor, name: str, *, expires: str | None = None) -> Account:
    """Let a disabled credential in again, with the secret that it had; an expired one with another expiry.

    The tokens of a user come back with it, but for those that are disabled or expired themselves.
    """
    raise NotImplementedError


def remove(volume: Volume, actor: Actor, name: str) -> tuple[str, ...]:
    """Remove the credential `name` for good: a user with all tokens, a token with those made with it. The names.

    An actor over HTTP may remove tokens of its own owner that are no stronger than itself; an admin may remove any.
    """
    raise NotImplementedError


def prune(volume: Volume) -> tuple[str, ...]:
    """Take out of htpasswd what lets in whom it should not: expired ones above all. The names; never grants anything.

    For a timer, and for a server that runs: nginx knows no expiry.
    """
    raise NotImplementedError
