"""What a credential may do: its role, its projects, when it expires, and who owns it.

A credential is `owner` (a user: a person or a pipeline) or `owner+purpose` (a token of that user). A token never has
more rights than its owner has at that moment, nor than the token that created it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Literal

from ppmctl.access import secret_mask
from ppmctl.distributions import name_glob
from ppmctl.errors import UsageError
from ppmctl.index import project_folder

Role = Literal["monitor", "reader", "publisher", "admin"]
ROLES: tuple[Role, ...] = ("monitor", "reader", "publisher", "admin")  # by their rights; see `included`
Action = Literal["monitor", "read", "publish", "manage"]

# Names that the audit log and records have where no user did something, and the one that clients send with a secret
# alone, as PyPI has it.
SERVER, ANONYMOUS, SECRET_ALONE = "ppm", "anonymous", "__token__"
RESERVED = frozenset({SERVER, ANONYMOUS, SECRET_ALONE}) | project_folder.NOBODY

_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
_NAME = re.compile(rf"{_OWNER.pattern}(\+[A-Za-z0-9._-]{{1,64}})?", re.ASCII)
_EMAIL = re.compile(r"[^\s@<>\",;:]{1,64}@[^\s@<>\",;:]{1,190}")
_DURATION = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)
DURATIONS = "45s, 10m, 12h or 90d"  # examples, for users
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = timedelta(days=100 * 365)
_RIGHTS: dict[Role, frozenset[Action]] = {
    "monitor": frozenset({"monitor"}),
    "reader": frozenset({"read"}),
    "publisher": frozenset({"read", "publish"}),
    "admin": frozenset({"monitor", "read", "publish", "manage"}),
}


@dataclass(frozen=True, kw_only=True)
class Access:
    """A credential's rights, as access.yml has them.

    `projects`: globs of normalised names that it may publish; empty means all. `reads`: globs of those that it may
    read, and so publish or manage; empty means all. `created`, `expires`: UTC, ISO 8601 with a Z; `expires` is None
    for never. `by`: who created it. `has_tokens_only`: the user was created with its
    first token. `holders`: the credentials that limit it, as they are now. `is_orphan`: one of them is missing.
    """

    name: str
    role: Role
    created: str
    projects: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    expires: str | None = None
    disabled: bool = False
    email: str | None = None
    by: str | None = None
    has_tokens_only: bool = False
    holders: tuple[Access, ...] = ()
    is_orphan: bool = False

    @property
    def owner(self) -> str:
        """Return the name of the user that owns the credential; for a user its own name."""
        return self.name.partition("+")[0]

    @property
    def is_token(self) -> bool:
        return "+" in self.name

    @property
    def is_blocked(self) -> bool:
        """Return whether it or one of its holders is disabled, or a holder is missing."""
        return self.disabled or self.is_orphan or any(holder.is_blocked for holder in self.holders)

    @property
    def is_read_limited(self) -> bool:
        """Return whether it or one of its holders may read only some projects, or none."""
        return bool(self.reads) or self.role == "monitor" or any(holder.is_read_limited for holder in self.holders)

    def depends_on(self, name: str) -> bool:
        """Return whether it is the credential `name`, or is limited by that one."""
        return self.name == name or any(holder.depends_on(name) for holder in self.holders)

    def is_live(self, now: datetime | None = None) -> bool:
        """Return whether it works at `now`: neither it nor a holder is disabled or expired."""
        if self.is_blocked:
            return False
        if self.expires is not None and datetime.fromisoformat(self.expires) <= (now or datetime.now(UTC)):
            return False
        return all(holder.is_live(now) for holder in self.holders)

    def may(self, action: Action, project: str | None = None) -> bool:
        """Return whether the credential has this right now, for this project if one is given.

        Without a project: whether it has the right for any project, or to manage the whole index.
        """
        return self.is_live() and self._reaches(action, project)

    def _reaches(self, action: Action, project: str | None) -> bool:
        if action not in _RIGHTS[self.role]:
            return False
        if project is not None or action == "manage":
            if self.reads and not self._is_in_reads(project or ""):
                return False
            if self.projects and action != "read" and not self._is_in_projects(project or ""):
                return False
        return all(holder._reaches(action, project) for holder in self.holders)

    @cached_property
    def _is_in_projects(self) -> Callable[[str], bool]:
        return name_glob.matcher(self.projects)

    @cached_property
    def _is_in_reads(self) -> Callable[[str], bool]:
        return name_glob.matcher(self.reads)

    def readable(self, projects: Iterable[str]) -> list[str]:
        """Return those of the projects that the credential may read, if it is live."""
        return [name for name in projects if not self.is_read_limited or self._reaches("read", name)]

    @property
    def read_filter(self) -> Callable[[str], bool] | None:
        """Return what `readable` asks for each project; None for a credential that may read all of them."""
        return (lambda project: self._reaches("read", project)) if self.is_read_limited else None

    @property
    def effective(self) -> Access:
        """Return the credential as its holders limit it: the lesser role, the earlier expiry.

        `projects` and `reads` are its own; if it has none, its holders'. To decide about a request, use `may`.
        """
        left = [self, *(holder.effective for holder in self.holders)]
        ends = [each.expires for each in left if each.expires is not None]
        return replace(
            self,
            role=min((each.role for each in left), key=ROLES.index),
            projects=next((each.projects for each in left if each.projects), ()),
            reads=next((each.reads for each in left if each.reads), ()),
            expires=min(ends, key=datetime.fromisoformat) if ends else None,
            disabled=self.is_blocked,
        )

    def as_values(self) -> dict[str, object]:
        """Return the credential for `--json` and the HTTP API."""
        return {
            "name": self.name,
            "owner": self.owner,
            "role": self.role,
            "projects": list(self.projects),
            "reads": list(self.reads),
            "expires": self.expires,
            "created": self.created,
            "disabled": self.disabled,
            "email": self.email,
        }


ANYONE = Access(name=ANONYMOUS, role="reader", created="")  # a request without a credential, where it may read


def with_holders(entries: Mapping[str, Access]) -> dict[str, Access]:
    """Return the entries, each token with its holders: its owner, and the owner's token that created it.

    A token whose owner is missing, or that was created in a circle, is an orphan.
    """
    done = {name: entry for name, entry in entries.items() if not entry.is_token}

    def resolve(name: str, above: frozenset[str]) -> Access:
        if name not in done:
            entry = entries[name]
            makers = [entry.owner]
            if entry.by is not None and entry.by.startswith(f"{entry.owner}+"):
                makers.insert(0, entry.by)  # what it lacks itself comes from the closest
            if any(maker not in entries or maker in above for maker in makers):
                done[name] = replace(entry, is_orphan=True)
            else:
                done[name] = replace(entry, holders=tuple(resolve(maker, above | {name}) for maker in makers))
        return done[name]

    return {name: resolve(name, frozenset({name})) for name in entries}


def noun(name: str) -> str:
    """Return "token" or "user", whichever a credential with this name is."""
    return "token" if "+" in name else "user"


def check_name(name: str) -> None:
    """Raise UsageError if no new credential may have this name. Older ones with a reserved name still work."""
    if is_reserved(name):
        raise UsageError(
            f"{name.partition('+')[0]!r} can't be the name of a user: the index uses it itself, in the audit log.",
            hint=f"Reserved: {', '.join(sorted(RESERVED))}.",
        )
    check_form(name)
    if secret_mask.has_secret(name):
        raise UsageError(f"{secret_mask.mask(name)!r} can't be the name of a credential: it looks like a secret.")


def is_reserved(name: str) -> bool:
    """Return whether the index uses the name of this credential's owner itself."""
    return name.partition("+")[0].lower() in RESERVED


def reserved_warning(names: Iterable[str]) -> str:
    """Return a warning that names the users among these credentials whose name is reserved, or ""."""
    users = sorted({name.partition("+")[0] for name in names if is_reserved(name)})
    if not users:
        return ""
    return (
        f"The index uses these names itself, so its audit log does not tell who did something: {', '.join(users)}."
        f" Make other users for them, then  ppmctl user remove {users[0]}"
    )


def check_form(name: str) -> None:
    """Raise UsageError if `name` does not have the form of a credential's name."""
    if not has_form(name):
        raise UsageError(
            f"{name[:80]!r} can't be the name of a credential: letters, digits, and . _ @ - ; a purpose after one +;"
            " 64 characters each at most."
        )


def has_form(name: str) -> bool:
    """Return whether `name` has the form of a credential's name. nginx's map $ppm_reader has the same pattern."""
    return _NAME.fullmatch(name) is not None


def check_role(role: str) -> Role:
    """Return `role`. Raise UsageError if there is no such role."""
    for known in ROLES:
        if role == known:
            return known
    raise UsageError(f"{role!r} is not a role.", hint=f"One of: {', '.join(ROLES)}.")


def included(role: Role) -> tuple[Role, ...]:
    """Return the roles that have no other rights than `role`, and `role` itself."""
    return tuple(each for each in ROLES if _RIGHTS[each] <= _RIGHTS[role])


def check_email(email: str | None) -> str | None:
    """Return `email`, which may be None. Raise UsageError if it is not an address."""
    if email is not None and not _EMAIL.fullmatch(email):
        raise UsageError(f"{email!r} is not an e-mail address.")
    return email


def expiry(duration: str, *, now: datetime | None = None) -> str:
    """Return the time that is `duration` (45s, 10m, 12h, 90d) from now: UTC, ISO 8601 with a Z.

    Raise UsageError for an invalid duration.
    """
    length = parse_duration(duration)
    # milliseconds, where a second would be a large part of the duration
    return stamp((now or datetime.now(UTC)) + length, fine=length < timedelta(minutes=1))


def parse_duration(text: str) -> timedelta:
    """Return how long 45s, 10m, 12h or 90d is. Raise UsageError for an invalid duration."""
    match = _DURATION.fullmatch(text)
    length = timedelta(seconds=int(match[1]) * _UNITS[match[2]]) if match else timedelta()
    if not timedelta() < length <= _LONGEST:
        raise UsageError(f"{text!r} is not a duration, such as {DURATIONS} (100 years at most).")
    return length


def in_utc(moment: date) -> datetime:
    """Return the moment in UTC. One without a time zone is in UTC already; a date is its first moment."""
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def stamp(moment: date, *, fine: bool = False) -> str:
    """Return the moment (as in `in_utc`) in ISO 8601 with a Z, in whole seconds; in milliseconds with `fine`."""
    return in_utc(moment).isoformat(timespec="milliseconds" if fine else "seconds").replace("+00:00", "Z")


def exceeds(wanted: Access, holder: Access) -> str:
    """Return which right `wanted` has and `holder` lacks, as a phrase; "" if there is none.

    Only the own values of `wanted` count. Each of its globs has to be within one of the holder's.
    """
    limit = holder.effective
    if wanted.role not in included(limit.role):
        return f"the role {wanted.role} ({holder.name} is a {limit.role})"
    if "publish" in _RIGHTS[wanted.role] and limit.projects:
        more = name_glob.outside(limit.projects, wanted.projects)
        if more or not wanted.projects:
            return f"the projects {', '.join(more) or '*'} ({holder.name} has {', '.join(limit.projects)})"
    if limit.reads:
        more = name_glob.outside(limit.reads, wanted.reads)
        if more or not wanted.reads:
            return f"reads of {', '.join(more) or '*'} ({holder.name} may read {', '.join(limit.reads)})"
    if limit.expires is not None and _is_later(wanted.expires, limit.expires):
        until = f"until {wanted.expires}" if wanted.expires else "without end"
        return f"a life {until} ({holder.name} ends at {limit.expires})"
    return ""


def _is_later(expires: str | None, other: str) -> bool:
    return expires is None or datetime.fromisoformat(expires) > datetime.fromisoformat(other)
