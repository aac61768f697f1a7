"""What docs/credentials.md says of users and tokens, as a small model: who may do what, and what a change changes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase

ROLES = ("reader", "publisher", "admin")
PROJECTS = ("acme-x", "acme-y", "other")
SERVER = "ppm"  # who makes changes on the server host


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The rights of a credential as they were granted."""

    role: str
    projects: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    expires: datetime | None = None
    disabled: bool = False
    by: str = SERVER
    tokens_only: bool = False

    def scoped(self) -> Entry | None:
        """Return the entry as it is granted: a reader's projects are what it may read. None if it must be refused."""
        if self.role == "admin":
            return None if self.projects or self.reads else self
        if self.role == "reader":
            both = self.projects and self.reads
            return None if both else replace(self, projects=(), reads=self.projects or self.reads)
        return self if _are_within(self.projects, self.reads) else None


def _are_within(globs: tuple[str, ...], limit: tuple[str, ...]) -> bool:
    return not limit or all(any(fnmatchcase(glob, other) for other in limit) for glob in globs)


@dataclass(kw_only=True)
class Model:
    """All credentials. `working` and `parked` have the names whose secret is stored, and works or may work again."""

    entries: dict[str, Entry] = field(default_factory=dict)
    working: set[str] = field(default_factory=set)
    parked: set[str] = field(default_factory=set)

    def copy(self) -> Model:
        return copy.deepcopy(self)

    @property
    def named(self) -> set[str]:
        return {*self.entries, *self.working, *self.parked}

    # rights

    def holders(self, name: str) -> list[str]:
        """Return the credentials that limit a token: its user, and the user's token that made it."""
        owner, plus, _purpose = name.partition("+")
        by = self.entries[name].by
        return [] if not plus else [by, owner] if by.startswith(f"{owner}+") else [owner]

    def chain(self, name: str, above: tuple[str, ...] = ()) -> Iterator[str | None]:
        """Yield the name and what limits it; None for one that is missing, or that limits itself."""
        yield name
        for holder in self.holders(name):
            if holder not in self.entries or holder in (*above, name):
                yield None
            else:
                yield from self.chain(holder, (*above, name))

    def is_blocked(self, name: str) -> bool:
        return any(each is None or self.entries[each].disabled for each in self.chain(name))

    def is_live(self, name: str, now: datetime) -> bool:
        ends = [self.entries[each].expires for each in self.chain(name) if each is not None]
        return not self.is_blocked(name) and all(end is None or end > now for end in ends)

    def may(self, name: str, action: str, project: str, now: datetime) -> bool:
        """Return whether its rights allow this; whether its secret works is another question."""
        least = {"read": 0, "publish": 1, "manage": 2, "monitor": 2}[action]
        for each in self.chain(name) if self.is_live(name, now) else (None,):
            if each is None or ROLES.index(self.entries[each].role) < least:
                return False
            entry = self.entries[each]
            for globs in (entry.reads, entry.projects if action != "read" else ()):
                if globs and not any(fnmatchcase(project, glob) for glob in globs):
                    return False
        return True

    def rights(self, name: str, now: datetime) -> set[tuple[str, str]]:
        """Return the pairs of action and project that the working secret of `name` allows."""
        if name not in self.working or name not in self.entries:
            return set()
        actions = ("read", "publish", "manage", "monitor")
        return {
            (action, project) for action in actions for project in PROJECTS if self.may(name, action, project, now)
        }

    def role(self, name: str) -> int:
        return min(ROLES.index(self.entries[each].role) for each in self.chain(name) if each is not None)

    def projects(self, name: str) -> tuple[str, ...]:
        every = [self.entries[each].projects for each in self.chain(name) if each is not None]
        return next((globs for globs in every if globs), ())

    def reads(self, name: str) -> tuple[str, ...]:
        every = [self.entries[each].reads for each in self.chain(name) if each is not None]
        return next((globs for globs in every if globs), ())

    def expires(self, name: str) -> datetime | None:
        ends = [self.entries[each].expires for each in self.chain(name) if each is not None]
        return min((end for end in ends if end is not None), default=None)

    def is_within(self, wanted: Entry, holder: str) -> bool:
        """Return whether rights are no more than those of `holder`."""
        if ROLES.index(wanted.role) > self.role(holder):
            return False
        limit, end = self.projects(holder), self.expires(holder)
        if wanted.role != "reader" and limit and not (wanted.projects and _are_within(wanted.projects, limit)):
            return False
        reads = self.reads(holder)
        if reads and not (wanted.reads and _are_within(wanted.reads, reads)):
            return False
        return end is None or (wanted.expires is not None and wanted.expires <= end)

    def effective(self, name: str) -> Entry:
        return replace(
            self.entries[name],
            role=ROLES[self.role(name)],
            projects=self.projects(name),
            reads=self.reads(name),
            expires=self.expires(name),
        )

    def dependents(self, name: str) -> set[str]:
        """Return the name, its tokens, and what it limits."""
        tokens = {each for each in self.named if each.startswith(f"{name}+")}
        return {name} | tokens | {each for each in self.entries if name in self.chain(each)}

    def is_admin(self, actor: str, now: datetime) -> bool:
        return actor == SERVER or self.may(actor, "manage", PROJECTS[0], now)

    def can_change(self, actor: str, name: str, now: datetime) -> bool:
        """Return whether `actor` may rotate or remove `name`: itself, or tokens of its user with no more rights."""
        if name not in self.entries:
            return False
        if self.is_admin(actor, now) or actor == name:
            return True
        is_own = name.startswith(f"{actor.partition('+')[0]}+")
        return is_own and self.is_within(self.effective(name), actor)

    # changes: None if it must be refused

    def settled(self, now: datetime) -> Model:
        """Park the secrets that do not work: this is done with each change."""
        for name in list(self.working):
            if name not in self.entries or not self.is_live(name, now):
                self.working.remove(name)
                self.parked.add(name)
        self.parked -= self.working
        return self

    def with_secret(self, name: str, entry: Entry) -> Model:
        self.entries[name] = entry
        self.working.add(name)
        self.parked.discard(name)
        return self

    def add(self, name: str, wanted: Entry, actor: str, now: datetime) -> Model | None:
        is_taken = name in self.named and (name not in self.entries or name in self.working | self.parked)
        entry = wanted.scoped()
        if not self.is_admin(actor, now) or is_taken or entry is None:
            return None
        return self.with_secret(name, replace(entry, by=actor))

    def create_token(self, name: str, wanted: Entry, actor: str, now: datetime) -> Model | None:
        owner = name.partition("+")[0]
        entry = wanted.scoped()
        if entry is None or name in self.named:
            return None
        wanted = entry
        holders = [owner]
        if actor != SERVER:
            if owner not in self.entries or actor not in self.entries or actor.partition("+")[0] != owner:
                return None
            holders = [actor, owner] if "+" in actor else [owner]
        elif owner not in self.entries:
            if owner in self.named:
                return None
            self.entries[owner] = replace(wanted, expires=None, tokens_only=True)
        elif self.entries[owner].tokens_only:
            self.entries[owner] = _widened(self.entries[owner], wanted)
        for holder in holders:
            if not self.is_live(holder, now):
                return None
            projects = wanted.projects if wanted.role == "reader" else wanted.projects or self.projects(holder)
            reads, expires = wanted.reads or self.reads(holder), wanted.expires or self.expires(holder)
            wanted = replace(wanted, projects=projects, reads=reads, expires=expires)
            if not self.is_within(wanted, holder):
                return None
        return self.with_secret(name, replace(wanted, by=actor))

    def rotate(self, name: str, expires: datetime | None, actor: str, now: datetime) -> Model | None:
        if not self.can_change(actor, name, now):
            return None
        entry = self.entries[name]
        self.with_secret(name, replace(entry, expires=expires or entry.expires, tokens_only=False))
        return self if self.is_live(name, now) else None

    def change(self, name: str, wanted: Entry, actor: str, now: datetime) -> Model | None:
        if not self.is_admin(actor, now) or name not in self.entries:
            return None
        scoped = wanted.scoped()
        if scoped is None:
            return None
        entry = replace(self.entries[name], role=scoped.role, projects=scoped.projects, reads=scoped.reads)
        for holder in self.holders(name):
            if holder not in self.entries:
                continue
            entry = replace(entry, reads=entry.reads or self.reads(holder))
            if not self.is_within(replace(entry, expires=self.expires(holder)), holder):
                return None
        self.entries[name] = entry
        return self

    def disable(self, name: str, actor: str, now: datetime) -> Model | None:
        if not self.is_admin(actor, now) or name not in self.entries:
            return None
        self.entries[name] = replace(self.entries[name], disabled=True)
        return self

    def enable(self, name: str, expires: datetime | None, actor: str, now: datetime) -> Model | None:
        if not self.is_admin(actor, now) or name not in self.entries:
            return None
        entry = self.entries[name]
        self.entries[name] = replace(entry, disabled=False, expires=expires or entry.expires)
        if not self.is_live(name, now):
            return None
        back = {each for each in self.dependents(name) & self.parked if each in self.entries}
        back = {each for each in back if self.is_live(each, now)}
        self.working |= back
        self.parked -= back
        return self

    def remove(self, name: str, actor: str, now: datetime) -> Model | None:
        if name in self.entries:
            if not self.can_change(actor, name, now):
                return None
        elif name not in self.named or actor != SERVER:
            return None
        gone, owner = self.dependents(name), name.partition("+")[0]
        is_last = owner in self.entries and self.dependents(owner) <= {owner, *gone}
        if is_last and self.entries[owner].tokens_only:
            gone.add(owner)
        for each in gone:
            self.entries.pop(each, None)
        self.working -= gone
        self.parked -= gone
        return self


def _widened(owner: Entry, token: Entry) -> Entry:
    """Return the entry of a user that has tokens alone: it may what they may."""
    is_scoped = bool(owner.projects and token.projects) or "reader" in (owner.role, token.role)
    return replace(
        owner,
        role=max(owner.role, token.role, key=ROLES.index),
        projects=tuple(dict.fromkeys([*owner.projects, *token.projects])) if is_scoped else (),
        reads=tuple(dict.fromkeys([*owner.reads, *token.reads])) if owner.reads and token.reads else (),
    )
