"""Invites: a code for a user that works once and for 48 hours, in `credentials/invites`; it gives a first token.

Of a code only a hash is kept, a fast one without salt: the code is 192 random bits, so there is nothing to guess and
no table to look it up in, whatever the hash costs. Who changes the file holds the lock of the credentials.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import secrets
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

from ppmctl import files
from ppmctl.access import rights
from ppmctl.access.rights import Access
from ppmctl.index.layout import Volume

log = logging.getLogger(__name__)

LASTS = timedelta(hours=48)
PREFIX = "ppm_join_"  # as with secrets: what scanners find, and what the audit blots out

_MODE = 0o600
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Invite:
    """An invite of the user `name`, who was made at `user_created`; times as in access.yml. `by` made it."""

    name: str
    user_created: str
    expires: str
    by: str
    hash: str

    def is_open(self, entry: Access | None, now: datetime | None = None) -> bool:
        """Whether its code works, `entry` being what access.yml has for that name: it is the same user still."""
        if entry is None or entry.created != self.user_created or not entry.is_live(now):
            return False
        return datetime.fromisoformat(self.expires) > (now or datetime.now(UTC))


def new_code() -> str:
    """A code that nobody can guess."""
    return PREFIX + secrets.token_urlsafe(24)


def new(user: Access, code: str, *, by: str) -> Invite:
    """An invite of `user` by this code, from now on."""
    expires = rights.stamp(datetime.now(UTC) + LASTS)
    return Invite(name=user.name, user_created=user.created, expires=expires, by=by, hash=_hashed(code))


def read(volume: Volume) -> tuple[Invite, ...]:
    """The invites. A line that makes no sense invites nobody and is logged."""
    path = volume.invites
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ()
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(_parsed(line))
        except (ValueError, TypeError, KeyError, RecursionError):
            log.error("%s: line %d is not an invite; it invites nobody.", path, number)
    return tuple(found)


def waiting(volume: Volume, user: Access) -> Invite | None:
    """The invite that `user` has, if there is one: its code works now, or once the user is let in again."""
    let_in = replace(user, disabled=False, expires=None)
    return next((invite for invite in read(volume) if invite.name == user.name and invite.is_open(let_in)), None)


def find(invites: Iterable[Invite], code: str) -> Invite | None:
    """The invite with this code. Each is compared, whether or not one before it was the one."""
    wanted = _hashed(code)
    found = None
    for invite in invites:
        if hmac.compare_digest(invite.hash, wanted):
            found = invite
    return found


def put(volume: Volume, invite: Invite) -> None:
    """Have `invite`, in place of any other of that user. The caller holds the lock of the credentials."""
    _write(volume, [*(other for other in read(volume) if other.name != invite.name), invite])


def drop(volume: Volume, names: Collection[str]) -> None:
    """Have no invites of these users any more, nor such as have expired. The caller holds the lock."""
    now = datetime.now(UTC)
    before = read(volume)
    left = [invite for invite in before if invite.name not in names and datetime.fromisoformat(invite.expires) > now]
    if len(left) != len(before):
        _write(volume, left)


def _write(volume: Volume, invites: Iterable[Invite]) -> None:
    text = "".join(f"{json.dumps(asdict(invite))}\n" for invite in invites)
    files.write_atomic(volume.invites, text.encode(), mode=_MODE, sync=True)


def _parsed(line: str) -> Invite:
    values = json.loads(line)
    invite = Invite(**{key: values[key] for key in ("name", "user_created", "expires", "by", "hash")})
    if not all(isinstance(value, str) for value in asdict(invite).values()) or not _HASH.fullmatch(invite.hash):
        raise ValueError(line)
    if datetime.fromisoformat(invite.expires).tzinfo is None:
        raise ValueError(line)
    return invite


def _hashed(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()
