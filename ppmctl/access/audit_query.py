"""Read the audit log, with its rotated files, and select entries by time, user and project."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ppmctl.access import audit_files, audit_log, rights
from ppmctl.distributions.distribution import InvalidDistribution, normalise, parse_filename
from ppmctl.distributions.names import is_name
from ppmctl.errors import UsageError
from ppmctl.index.layout import Volume

# The `what` of these actions starts with a file or a project, that of the others with a credential.
ON_PACKAGES = frozenset({"publish", "yank", "unyank", "remove", "status", "claim", "unclaim", "write"})


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of the audit log. `time` is UTC; `values` has all keys of the line.

    `result` is "done", perhaps with a note, or the reason of a refusal.
    """

    time: datetime
    action: str
    by: str
    origin: str
    what: str
    result: str
    values: dict[str, Any]

    @property
    def is_elsewhere(self) -> bool:
        """Return whether it happened on another node of the same bucket."""
        return "node" in self.values

    @property
    def is_done(self) -> bool:
        return audit_log.is_done(self.result)

    @property
    def project(self) -> str | None:
        """Return the normalised name of the project that the entry is about, or None."""
        first = self.what.partition(" ")[0]
        if self.action not in ON_PACKAGES or not first:
            return None
        try:
            return parse_filename(first).project
        except InvalidDistribution:
            return normalise(first) if is_name(first) else None

    def is_about(self, user: str) -> bool:
        """Return whether the user or one of the user's tokens did it, or was changed by it."""
        named = [self.by] if self.action in ON_PACKAGES else [self.by, self.what.partition(" ")[0].rstrip(",")]
        return any(name == user or name.startswith(f"{user}+") for name in named)


@dataclass(frozen=True, kw_only=True)
class AuditEntries:
    """The selected entries, oldest first, and the number of invalid lines."""

    entries: tuple[Entry, ...]
    broken: int


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which entries are wanted: since a time, of a user, about a project, of an action, made or refused.

    `project` is normalised; None, or "" for a text, stands for all.
    """

    since: datetime | None = None
    user: str | None = None
    project: str | None = None
    action: str | None = None
    is_done: bool | None = None

    def has(self, entry: Entry) -> bool:
        """Return whether an entry is wanted."""
        return (
            (self.since is None or entry.time >= self.since)
            and (not self.user or entry.is_about(self.user))
            and (not self.project or entry.project == self.project)
            and (not self.action or entry.action == self.action)
            and self.is_done in (None, entry.is_done)
        )


def read(
    volume: Volume, *, since: datetime | None = None, user: str | None = None, project: str | None = None
) -> AuditEntries:
    """Read the audit log, even while it is written and rotated. Raise PpmError if a file can't be read."""
    selection = Selection(since=since, user=user, project=None if project is None else normalise(project))
    entries, broken = [], 0
    for line in _lines(volume):
        entry = parse(line)
        if entry is None:
            broken += 1
        elif selection.has(entry):
            entries.append(entry)
    entries.sort(key=lambda entry: entry.time)
    return AuditEntries(entries=tuple(entries), broken=broken)


def parse(line: bytes) -> Entry | None:
    """Return the entry of a line, or None if the line is invalid."""
    try:
        values = json.loads(line)
        texts = [values.get(key, "") for key in ("action", "by", "from", "what", "result")]
        if not all(isinstance(text, str) for text in texts):
            return None
        action, by, origin, what, result = texts
        time = datetime.fromisoformat(values["time"]).astimezone(UTC)
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Entry(time=time, action=action, by=by, origin=origin, what=what, result=result, values=values)


def parse_since(text: str, *, now: datetime) -> datetime:
    """Return the time for `--since`: a duration before `now` (30m, 12h, 90d), or ISO 8601, by default in UTC."""
    with suppress(UsageError, OverflowError):
        return now - rights.parse_duration(text)
    try:
        return rights.in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError) as exc:  # the year 0 in UTC
        hint = "Such as 12h, 90d, 2026-11-21 or 2026-11-21T09:30Z."
        raise UsageError(f"{text!r} is neither a time nor a duration.", hint=hint) from exc


def _lines(volume: Volume) -> Iterator[bytes]:
    """Yield all lines, each once, even if a file is renamed or compressed meanwhile."""
    with audit_files.opened(volume) as opened:
        for each in opened:
            with audit_files.reading(each.path):
                for line in each.file:
                    if line.endswith(b"\n") or each is not opened[-1]:  # else it is being written
                        yield line
