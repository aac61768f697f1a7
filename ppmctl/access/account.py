"""A credential as it is listed, who changes it, and the errors of such changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Required, TypedDict

from ppmctl.access import audit_log, rights
from ppmctl.access.credential_files import Snapshot
from ppmctl.access.rights import Access
from ppmctl.errors import CredentialError, PpmError
from ppmctl.index.layout import Volume
from ppmctl.secret import Secret

State = Literal["active", "disabled", "expired", "no secret"]


class NotAllowed(CredentialError):
    """The actor does not have the right to make this change."""

    status = 403


class Unknown(PpmError):
    """No credential has this name."""

    status = 404

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no credential {name!r}.", hint="ppmctl user list")


class Taken(PpmError):
    """A credential has this name already."""

    status = 409

    def __init__(self, name: str) -> None:
        ways = f"ppmctl user change {name}  changes its rights, and  ppmctl user rotate {name}  its secret."
        if "+" in name:
            ways += f" For another token: {name.partition('+')[0]}+ANOTHER-PURPOSE"
        super().__init__(f"There is a credential {name!r} already.", hint=ways)


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who makes a change, and from where, for the audit log.

    `access` is what their credential may do (from `Credentials.authenticate`); None for a command on the server host,
    where the user could edit the volume's files anyway.
    """

    name: str
    origin: str
    access: Access | None = None

    def record(self, volume: Volume, action: str, what: str, result: str = "done") -> None:
        """Write to the audit log what the actor did, or why it failed."""
        audit_log.write(volume, action=action, by=self.name, origin=self.origin, what=what, result=result)


SERVER = Actor(name=rights.SERVER, origin="here")


class Grant(TypedDict, total=False):
    """The rights of a new credential: `expires` as `rights.expiry` returns it, None for never.

    `projects` are what a publisher may publish, and `reads` what it may read; for a reader both are what it may read.
    """

    role: Required[str]
    projects: Sequence[str]
    reads: Sequence[str]
    expires: str | None


class UserGrant(Grant, total=False):
    """The rights of a new user, and an e-mail address."""

    email: str | None


@dataclass(frozen=True, kw_only=True)
class Account:
    """A credential's rights as they were granted (`access.effective` has the limits of its owner), and its state.

    It is "active" if its secret works now, and "no secret" if it has none: an invited user, a user with tokens only,
    or a change that was interrupted.
    """

    access: Access
    state: State

    @classmethod
    def of(cls, snapshot: Snapshot, name: str) -> Account:
        """Return the credential `name`. Raise Unknown if it does not exist."""
        entry = snapshot.access.get(name)
        if entry is None:
            raise Unknown(name)
        if entry.is_blocked:
            state: State = "disabled"
        elif not entry.is_live():
            state = "expired"
        elif name in snapshot.hashes:
            state = "active"
        else:
            state = "disabled" if name in snapshot.parked else "no secret"
        return cls(access=entry, state=state)

    def as_values(self) -> dict[str, object]:
        """Return the account for lists in `--json` and the HTTP API: name, owner, role and so on, and its state."""
        return {**self.access.as_values(), "state": self.state}


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A credential with its new secret, which is stored nowhere."""

    account: Account
    secret: Secret

    @property
    def line(self) -> str:
        """Return `name:secret`, for a credential file. It is a secret."""
        return f"{self.account.access.name}:{self.secret.reveal()}"


# Called with a credential before it is stored; if another node is faster, again with another secret. If it raises,
# nothing is changed.
Hook = Callable[[Issued], None]
