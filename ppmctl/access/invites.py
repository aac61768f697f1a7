"""Store invites in `credentials/invites`: an invite's code gives a user a first token, once and within 48 hours.

Only a hash of a code is stored. It is fast and has no salt, because the code is 192 random bits, which nobody can
guess. A change of credentials writes the file.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ppmctl import files
from ppmctl.access import rights
from ppmctl.access.rights import Access
from ppmctl.index.layout import Volume

log = logging.getLogger(__name__)

LASTS = timedelta(hours=48)
_KEPT = timedelta(days=30)  # after its expiry, because the clock may be wrong
PREFIX = "ppm_join_"  # as for secrets: scanners find it, and the audit log masks it

_MODE = 0o600
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Invite:
    """An invite of the user `name`, made by `by`; `user_created` is when the user was created."""

    name: str
    user_created: str
    expires: str
    by: str
    hash: str

    def is_open(self, entry: Access | None, now: datetime | None = None) -> bool:
        """Return whether the code works. `entry` is the user now, who must not be a later one of the same name."""
        if entry is None or entry.created != self.user_created or not entry.is_live(now):
            return False
        return datetime.fromisoformat(self.expires) > (now or datetime.now(UTC))

    def is_old(self) -> bool:
        """Return whether it expired so long ago that it can be removed."""
        return datetime.fromisoformat(self.expires) <= datetime.now(UTC) - _KEPT


def new_code() -> str:
    """Return a random code."""
    return PREFIX + secrets.token_urlsafe(24)


def new(user: Access, code: str, *, by: str) -> Invite:
    """Return an invite of `user` with this code, valid from now on."""
    expires = rights.stamp(datetime.now(UTC) + LASTS)
    return Invite(name=user.name, user_created=user.created, expires=expires, by=by, hash=_hashed(code))


def read(volume: Volume) -> tuple[Invite, ...]:
    """Return the invites. An invalid line is ignored and logged."""
    path = volume.invites
    try:
        return parse(path.read_text(encoding="utf-8", errors="replace").splitlines(), path)
    except FileNotFoundError:
        return ()


def parse(rows: Iterable[str], path: Path) -> tuple[Invite, ...]:
    """Return the invites in the lines of the file at `path`. An invalid line is ignored and logged."""
    invites = []
    for number, row in enumerate(rows, start=1):
        try:
            invites.append(_parsed(row))
        except (ValueError, TypeError, KeyError, RecursionError):
            log.error("%s: line %d is not an invite; it invites nobody.", path, number)
    return tuple(invites)


def lines(invites: Iterable[Invite]) -> tuple[str, ...]:
    """Return the lines of the file with these invites."""
    return tuple(json.dumps(asdict(invite)) for invite in invites)


def write(volume: Volume, invites: Iterable[Invite]) -> None:
    """Replace the invites. Raise OSError."""
    text = "".join(f"{row}\n" for row in lines(invites))
    files.write_atomic(volume.invites, text.encode(), mode=_MODE, sync=True)


def pending(volume: Volume, user: Access) -> Invite | None:
    """Return the user's invite if its code works now, or would work if the user were not disabled or expired."""
    enabled = replace(user, disabled=False, expires=None)
    return next((invite for invite in read(volume) if invite.name == user.name and invite.is_open(enabled)), None)


def find(invites: Iterable[Invite], code: str) -> Invite | None:
    """Return the invite with this code. All are compared, so that the duration tells nothing."""
    wanted = _hashed(code)
    matching = [invite for invite in invites if hmac.compare_digest(invite.hash, wanted)]
    return matching[0] if matching else None


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
