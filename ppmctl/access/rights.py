"""What a credential may do, as values: its role, its projects, until when, and whose it is.

A credential is `owner` (a user: a person or a pipeline) or `owner+purpose` (a token of that user). A token has no
more right than its owner has at that moment, nor than the token it was made with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Literal

from ppmctl.errors import UsageError

Role = Literal["reader", "publisher", "admin"]
ROLES: tuple[Role, ...] = ("reader", "publisher", "admin")  # each may what those before it may
Action = Literal["read", "publish", "manage"]

_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
_NAME = re.compile(rf"{_OWNER.pattern}(\+[A-Za-z0-9._-]{{1,64}})?", re.ASCII)
_EMAIL = re.compile(r"[^\s@<>\",;:]{1,64}@[^\s@<>\",;:]{1,190}")
_GLOB = re.compile(r"[a-z0-9*?\[\]!-]{1,200}", re.ASCII)
_SEPARATORS = re.compile(r"[-_.]+")
_DURATION = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)
DURATIONS = "45s, 10m, 12h or 90d"  # examples, for users
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = timedelta(days=100 * 365)
_RIGHTS: dict[Role, frozenset[Action]] = {
    "reader": frozenset({"read"}),
    "publisher": frozenset({"read", "publish"}),
    "admin": frozenset({"read", "publish", "manage"}),
}


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a credential is for, as access.yml says it.

    `projects` are globs of normalised names that a publisher may publish, none meaning all; `created` and `expires`
    are UTC in ISO 8601 with a Z, `expires` None for never; `by` is who made it. A user that `has_tokens_only` came
    with its first token. `holders` are those it can't be stronger than, as they are now; an orphan lacks one.
    """

    name: str
    role: Role
    created: str
    projects: tuple[str, ...] = ()
    expires: str | None = None
    disabled: bool = False
    email: str | None = None
    by: str | None = None
    has_tokens_only: bool = False
    holders: tuple[Access, ...] = ()
    is_orphan: bool = False

    @property
    def owner(self) -> str:
        """The user whose credential this is; of a user the name itself."""
        return self.name.partition("+")[0]

    @property
    def is_token(self) -> bool:
        return "+" in self.name

    @property
    def is_shut(self) -> bool:
        """Whether it or one of its holders is disabled, or it has none that it needs: it lets nobody in."""
        return self.disabled or self.is_orphan or any(holder.is_shut for holder in self.holders)

    def stands_on(self, name: str) -> bool:
        """Whether it is the credential `name`, or can't be stronger than that one."""
        return self.name == name or any(holder.stands_on(name) for holder in self.holders)

    def is_live(self, now: datetime | None = None) -> bool:
        """Whether the credential lets anybody in at `now`: it and its holders are neither disabled nor expired."""
        if self.is_shut:
            return False
        if self.expires is not None and datetime.fromisoformat(self.expires) <= (now or datetime.now(UTC)):
            return False
        return all(holder.is_live(now) for holder in self.holders)

    def may(self, action: Action, project: str | None = None) -> bool:
        """Whether the credential has this right now; for publishing and managing also: for this project."""
        return self.is_live() and self._reaches(action, project)

    def _reaches(self, action: Action, project: str | None) -> bool:
        if action not in _RIGHTS[self.role]:
            return False
        is_scoped = action != "read" and bool(self.projects) and not (action == "publish" and project is None)
        if is_scoped and not any(fnmatchcase(project or "", glob) for glob in self.projects):
            return False
        return all(holder._reaches(action, project) for holder in self.holders)

    @property
    def effective(self) -> Access:
        """The same credential with what is left of it beside its holders: the lesser role, the earlier expiry.

        `projects` are its own, or where it has none its holders'; `may` is what decides.
        """
        left = [self, *(holder.effective for holder in self.holders)]
        ends = [each.expires for each in left if each.expires is not None]
        return replace(
            self,
            role=min((each.role for each in left), key=ROLES.index),
            projects=next((each.projects for each in left if each.projects), ()),
            expires=min(ends, key=datetime.fromisoformat) if ends else None,
            disabled=self.is_shut,
        )

    def as_values(self) -> dict[str, object]:
        """The form that `--json` and the HTTP API have of a credential."""
        return {
            "name": self.name,
            "owner": self.owner,
            "role": self.role,
            "projects": list(self.projects),
            "expires": self.expires,
            "created": self.created,
            "disabled": self.disabled,
            "email": self.email,
        }


def held(entries: Mapping[str, Access]) -> dict[str, Access]:
    """The same entries, each token with its holders: its owner, and that owner's token that it was made with.

    A token without an owner among the entries, or made in a circle, is an orphan: it lets nobody in.
    """
    done: dict[str, Access] = {}

    def resolve(name: str, above: frozenset[str]) -> Access:
        if name in done:
            return done[name]
        entry = entries[name]
        if not entry.is_token:
            done[name] = entry
            return entry
        makers = [entry.owner]
        if entry.by is not None and "+" in entry.by and entry.by.partition("+")[0] == entry.owner:
            makers.append(entry.by)
        if any(maker not in entries or maker in above for maker in makers):
            done[name] = replace(entry, is_orphan=True)
        else:
            holders = tuple(resolve(maker, above | {name}) for maker in makers)
            done[name] = replace(entry, holders=holders)
        return done[name]

    for name in entries:
        resolve(name, frozenset({name}))
    return done


def check_name(name: str) -> None:
    """UsageError where `name` can't be the name of a credential."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} can't be the name of a credential: letters, digits, and . _ @ - ; a purpose after one +;"
            " 64 characters each at most."
        )


def check_role(role: str) -> Role:
    """`role`, if it is one. UsageError otherwise."""
    for known in ROLES:
        if role == known:
            return known
    raise UsageError(f"{role!r} is not a role.", hint=f"One of: {', '.join(ROLES)}.")


def check_email(email: str | None) -> str | None:
    """`email`, if it can be an address, or None. UsageError otherwise."""
    if email is not None and not _EMAIL.fullmatch(email):
        raise UsageError(f"{email!r} is not an e-mail address.")
    return email


def check_projects(globs: Iterable[str]) -> tuple[str, ...]:
    """Globs of names of projects, as normalised names are written (`Acme_*` is `acme-*`). UsageError otherwise."""
    found = []
    for glob in globs:
        normalised = _SEPARATORS.sub("-", glob).lower()
        if not _GLOB.fullmatch(normalised):
            raise UsageError(f"{glob!r} is not a name of projects, such as acme-*: letters, digits, - and * ? [ ].")
        found.append(normalised)
    return tuple(dict.fromkeys(found))


def expiry(duration: str, *, now: datetime | None = None) -> str:
    """When something that lasts `duration` from now is over: 45s, 10m, 12h or 90d → UTC in ISO 8601 with a Z.

    UsageError for what is no such duration.
    """
    lasts = span(duration)
    # to the millisecond where a second would be much of it
    return stamp((now or datetime.now(UTC)) + lasts, fine=lasts < timedelta(minutes=1))


def span(duration: str) -> timedelta:
    """How long 45s, 10m, 12h or 90d is. UsageError for what is no such duration."""
    match = _DURATION.fullmatch(duration)
    lasts = timedelta(seconds=int(match[1]) * _UNITS[match[2]]) if match else timedelta()
    if not timedelta() < lasts <= _LONGEST:
        raise UsageError(f"{duration!r} is not a duration, such as {DURATIONS} (100 years at most).")
    return lasts


def stamp(moment: datetime, *, fine: bool = False) -> str:
    """`moment` in UTC, ISO 8601 with a Z, in whole seconds or in milliseconds."""
    spec = "milliseconds" if fine else "seconds"
    return moment.astimezone(UTC).isoformat(timespec=spec).replace("+00:00", "Z")


def exceeds(wanted: Access, holder: Access) -> str:
    """What `wanted` has that `holder` has not, in words; "" where it has no more right.

    `wanted` is what is to be made, its own values alone. A glob counts as within another where it is the same, or
    where the other has no wildcard but * and matches it as it is written.
    """
    limit = holder.effective
    if ROLES.index(wanted.role) > ROLES.index(limit.role):
        return f"the role {wanted.role} ({holder.name} is a {limit.role})"
    if wanted.role != "reader" and limit.projects:
        outside = [glob for glob in wanted.projects if not any(_within(glob, other) for other in limit.projects)]
        if outside or not wanted.projects:
            return f"the projects {', '.join(outside) or '*'} ({holder.name} has {', '.join(limit.projects)})"
    if limit.expires is not None and _is_later(wanted.expires, limit.expires):
        until = f"until {wanted.expires}" if wanted.expires else "without end"
        return f"a life {until} ({holder.name} ends at {limit.expires})"
    return ""


def _is_later(expires: str | None, other: str) -> bool:
    return expires is None or datetime.fromisoformat(expires) > datetime.fromisoformat(other)


def _within(glob: str, other: str) -> bool:
    return glob == other or (not set("?[") & set(other) and fnmatchcase(glob, other))
