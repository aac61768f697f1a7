"""A colleague joins: an administrator makes an invite, its code is exchanged for a token of one's own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ppmctl import files
from ppmctl.access import accounts, credential_files, invites
from ppmctl.access.account import Actor, Issued, NotAllowed, Taken, require_live, unknown
from ppmctl.access.invites import Invite
from ppmctl.errors import PpmError, UsageError
from ppmctl.index.layout import Volume
from ppmctl.secret import Secret

_PURPOSE = re.compile(r"[A-Za-z0-9._-]{1,48}", re.ASCII)
_TOKENS = 100  # of one purpose: laptop, laptop-2, …


class Void(PpmError):
    """The code is none, or was used, or has expired, or its user may not come in: which of them is not said."""

    status = 403

    def __init__(self) -> None:
        super().__init__("This code does not work, or not any more: an invite holds once and for 48 hours.")


def invite(
    volume: Volume,
    actor: Actor,
    name: str,
    *,
    role: str | None = None,
    projects: Sequence[str] = (),
    expires: str | None = None,
    email: str | None = None,
) -> tuple[Invite, Secret]:
    """An invite of the user `name`, and its code, which is stored nowhere; an earlier one of that user is void.

    A user that is not there is made, without a secret, as these values say. UsageError where a user that is there
    is given other rights by the way, or one that is not lacks a role.
    """
    if "+" in name:
        user = name.partition("+")[0]
        raise UsageError(f"{name!r} is a token's name; a user is invited.", hint=f"ppmctl user invite {user}")
    is_known = any(each.access.name == name for each in accounts.accounts(volume, owner=name))
    if is_known and (role, tuple(projects), expires, email) != (None, (), None, None):
        raise UsageError(
            f"There is a user {name!r} already; an invite changes no rights.",
            hint=f"ppmctl user invite {name}  alone; ppmctl user change {name}  for the rights.",
        )
    if not is_known:
        if role is None:
            raise UsageError(f"There is no user {name!r} yet.", hint="--role ROLE makes one, and invites it.")
        accounts.prepare_user(volume, actor, name, role=role, projects=projects, expires=expires, email=email)
    code = invites.new_code()
    with files.lock(volume.credentials_lock):
        entry = credential_files.read_access(volume.access).get(name)
        if entry is None:
            raise unknown(name)
        require_live(entry)
        made = invites.new(entry, code, by=actor.name)
        invites.put(volume, made)
    actor.record(volume, "user invite", f"{name} until {made.expires}")
    return made, Secret(code)


def withdraw(volume: Volume, actor: Actor, name: str) -> bool:
    """Make the open invite of the user `name` void; whether there was one."""
    with files.lock(volume.credentials_lock):
        user = credential_files.read_access(volume.access).get(name)
        found = invites.waiting(volume, user) if user is not None else None
        was_open = found is not None and found.is_open(user)
        invites.drop(volume, {name})
    if was_open:
        actor.record(volume, "user invite", f"{name} withdrawn")
    return was_open


def join(volume: Volume, origin: str, code: str, *, purpose: str) -> Issued:
    """Exchange `code` for a new token of the invited user, with all of the user's rights; the code is used up.

    The token is USER+PURPOSE, or the next that is free: USER+PURPOSE-2. Void for every code that does not work: the
    same answer, after the same look at all invites. Of several exchanges at once, one gets the token.
    """
    if not _PURPOSE.fullmatch(purpose):
        raise UsageError(f"{purpose!r} is no purpose of a token: letters, digits, and . _ - (48 at most).")
    # without the lock and all other files: whoever guesses must not keep the administrators waiting
    found = invites.find(invites.read(volume), code)
    owner = credential_files.read_access(volume.access).get(found.name) if found is not None else None
    if found is None or owner is None or not found.is_open(owner):
        raise Void

    def use_up(_issued: Issued) -> None:
        # within the one step that makes the token, so that nobody else is at it; if this raises there is no token,
        # and a crash after it leaves a used code without one
        again = invites.find(invites.read(volume), code)
        if again is None or not again.is_open(credential_files.read_access(volume.access).get(again.name)):
            raise Void
        invites.drop(volume, {again.name})

    actor = Actor(name=owner.name, origin=origin, access=owner)
    for number in range(1, _TOKENS + 1):
        name = f"{owner.name}+{purpose}{f'-{number}' if number > 1 else ''}"
        try:
            issued = accounts.create_token(volume, actor, name, role=owner.role, deliver=use_up)
        except Taken:
            continue
        except NotAllowed as exc:  # disabled or expired since
            raise Void from exc
        actor.record(volume, "user join", f"{name} by an invite of {found.by}")
        return issued
    raise UsageError(f"{owner.name} has {_TOKENS} tokens for {purpose!r}: say another purpose.")
