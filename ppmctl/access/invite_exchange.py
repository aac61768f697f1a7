"""Invite a user, and exchange the invite's code for a token."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ppmctl.access import accounts, credential_files, invites, rights, rules
from ppmctl.access.account import Actor, Issued, NotAllowed, Taken, Unknown
from ppmctl.access.credential_files import Change
from ppmctl.access.invites import Invite
from ppmctl.access.rights import Access
from ppmctl.access.shared_credentials import repeated
from ppmctl.errors import PpmError, UsageError
from ppmctl.index.layout import Volume
from ppmctl.secret import Secret

_PURPOSE = re.compile(r"[A-Za-z0-9._-]{1,48}", re.ASCII)
_TOKENS = 100  # of one purpose: laptop, laptop-2, …


class InvalidCode(PpmError):
    """The code is wrong, used or expired, or its user is disabled: not distinguished, so that nobody can probe."""

    status = 403

    def __init__(self) -> None:
        super().__init__("This code does not work: an invite can be used once, within 48 hours.")


def invite(
    volume: Volume,
    actor: Actor,
    name: str,
    *,
    role: str | None = None,
    projects: Sequence[str] = (),
    reads: Sequence[str] = (),
    expires: str | None = None,
    email: str | None = None,
) -> tuple[Invite, Secret]:
    """Return a new invite of the user `name`, and its code, which is stored nowhere. An earlier invite is withdrawn.

    A user that does not exist is created, without a secret, with these values. Raise UsageError for an existing user
    with any of these values, or for a new one without a role.
    """
    if "+" in name:
        hint = f"ppmctl user invite {name.partition('+')[0]}"
        raise UsageError(f"{name!r} is a token's name; only users can be invited.", hint=hint)
    if name not in credential_files.snapshot(volume).access:
        if role is None:
            raise UsageError(f"There is no user {name!r} yet.", hint="--role ROLE creates and invites the user.")
        accounts.prepare_user(
            volume, actor, name, role=role, projects=projects, reads=reads, expires=expires, email=email
        )
    elif (role, *projects, *reads, expires, email) != (None, None, None):
        raise UsageError(
            f"There is a user {name!r} already; an invite changes no rights.",
            hint=f"ppmctl user invite {name}  without options; ppmctl user change {name}  for the rights.",
        )
    rights.check_name(name)
    code = invites.new_code()
    made = _store(volume, name, code, by=actor.name)
    actor.record(volume, "user invite", f"{name} until {made.expires}")
    return made, Secret(code)


@repeated
def _store(volume: Volume, name: str, code: str, *, by: str) -> Invite:
    with credential_files.changing_invites(volume) as change:
        entry = change.access.get(name)
        if entry is None:
            raise Unknown(name)
        rules.require_live(entry)
        made = invites.new(entry, code, by=by)
        change.put_invite(made)
        return made


@repeated
def withdraw(volume: Volume, actor: Actor, name: str) -> bool:
    """Withdraw the open invite of the user `name`. Return whether there was one."""
    with credential_files.changing_invites(volume) as change:
        user = change.access.get(name)
        was_open = any(each.name == name and each.is_open(user) for each in change.invites)
        change.drop_invites({name})
    if was_open:
        actor.record(volume, "user invite", f"{name} withdrawn")
    return was_open


def join(volume: Volume, origin: str, code: str, *, purpose: str) -> Issued:
    """Exchange `code` for a new token of the invited user, with all of the user's rights. The code works once.

    The token is USER+PURPOSE, or the next name that is free: USER+PURPOSE-2. Raise InvalidCode for every code that
    does not work. If several try at once, one gets the token.
    """
    if not _PURPOSE.fullmatch(purpose):
        raise UsageError(f"{purpose!r} is not a purpose of a token: letters, digits, and . _ - (48 at most).")
    # without the lock: wrong codes must not block administrators
    invited, owner = _open_invite(invites.read(volume), credential_files.read_access(volume.access), code)

    def use_up(change: Change) -> None:
        # the file of invites is written before the token is stored: after a crash the code may be lost, but is never
        # used twice
        again, _owner = _open_invite(change.invites, change.access, code)
        change.drop_invites({again.name})

    actor = Actor(name=owner.name, origin=origin, access=owner)
    for number in range(1, _TOKENS + 1):
        name = f"{owner.name}+{purpose}{f'-{number}' if number > 1 else ''}"
        try:
            issued = accounts.create_token(volume, actor, name, role=owner.role, along=use_up)
        except Taken:
            continue
        except NotAllowed as exc:  # disabled or expired since
            raise InvalidCode from exc
        actor.record(volume, "user join", f"{name} by an invite of {invited.by}")
        return issued
    raise UsageError(f"{owner.name} has {_TOKENS} tokens for {purpose!r} already; use another purpose.")


def _open_invite(open_ones: Iterable[Invite], access: Mapping[str, Access], code: str) -> tuple[Invite, Access]:
    """Return the open invite with this code, and its user. Raise InvalidCode."""
    invited = invites.find(open_ones, code)
    user = access.get(invited.name) if invited is not None else None
    if invited is None or user is None or not invited.is_open(user):
        raise InvalidCode
    return invited, user
