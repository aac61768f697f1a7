"""The audit, read: `audit.jsonl` and what was rotated away from it → entries, chosen by time, person and project."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from ppmctl.access import rights
from ppmctl.distributions.distribution import InvalidDistribution, is_name, normalise, parse_filename
from ppmctl.errors import PpmError, UsageError
from ppmctl.index.layout import Volume

# The actions whose `what` starts with a file or a project; that of the others starts with a credential.
ON_PACKAGES = frozenset({"publish", "yank", "unyank", "remove", "status", "write"})

_ATTEMPTS = 10  # to list the files while they are being rotated


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of the audit. `time` is UTC; `result` is "done" or why not; `values` is all that the line has."""

    time: datetime
    action: str
    by: str
    origin: str
    what: str
    result: str
    values: dict[str, Any]

    @property
    def is_done(self) -> bool:
        return self.result == "done"

    @property
    def project(self) -> str | None:
        """The normalised name of the project that it is about, or None."""
        first = self.what.partition(" ")[0]
        if self.action not in ON_PACKAGES or not first:
            return None
        try:
            return parse_filename(first).project
        except InvalidDistribution:
            return normalise(first) if is_name(first) else None

    def is_about(self, user: str) -> bool:
        """Whether `user`, or a token of that user's, did it, or it was done to one of them."""
        named = [self.by] if self.action in ON_PACKAGES else [self.by, self.what.partition(" ")[0].rstrip(",")]
        return any(name == user or name.startswith(f"{user}+") for name in named)


@dataclass(frozen=True, kw_only=True)
class Trail:
    """The entries that were asked for, oldest first, and how many lines made no sense."""

    entries: tuple[Entry, ...]
    broken: int


def read(
    volume: Volume, *, since: datetime | None = None, user: str | None = None, project: str | None = None
) -> Trail:
    """Read the audit; it may be written and rotated meanwhile. PpmError where a file of it can't be read."""
    wanted = normalise(project) if project is not None else None
    entries, broken = [], 0
    for line in _lines(volume.audit):
        entry = parse(line)
        if entry is None:
            broken += 1
        elif (
            (since is None or entry.time >= since)
            and (user is None or entry.is_about(user))
            and (wanted is None or entry.project == wanted)
        ):
            entries.append(entry)
    entries.sort(key=lambda entry: entry.time)
    return Trail(entries=tuple(entries), broken=broken)


def parse(line: bytes) -> Entry | None:
    """A line as an entry, or None where it is none."""
    try:
        values = json.loads(line)
        texts = [values.get(key, "") for key in ("action", "by", "from", "what", "result")]
        if not all(isinstance(text, str) for text in texts):
            return None
        action, by, origin, what, result = texts
        time = datetime.fromisoformat(values["time"]).astimezone(UTC)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Entry(time=time, action=action, by=by, origin=origin, what=what, result=result, values=values)


def moment(text: str, *, now: datetime) -> datetime:
    """What `--since` says: so long ago (30m, 12h, 90d), or a date or time in ISO 8601, UTC if it says no zone."""
    with suppress(UsageError, OverflowError):
        return now - rights.span(text)
    try:
        said = datetime.fromisoformat(text)
    except ValueError as exc:
        hint = "Like 12h, 90d, 2026-11-21 or 2026-11-21T09:30Z."
        raise UsageError(f"{text!r} is neither a time nor how long ago.", hint=hint) from exc
    return said.replace(tzinfo=UTC) if said.tzinfo is None else said.astimezone(UTC)


def _lines(audit: Path) -> Iterator[bytes]:
    """All lines, each once, also where a file is renamed or packed between two looks into the folder."""
    with ExitStack() as opened:
        found: dict[bytes, tuple[Path, IO[bytes]]] = {}  # by their first line: a packed copy has the same
        for _attempt in range(_ATTEMPTS):
            missed = False
            # the newest name first: what is rotated meanwhile is then met again, and not missed
            for path in sorted(audit.parent.glob(f"{audit.name}*"), key=lambda path: (len(path.name), path.name)):
                if not _is_rotation(path.name.removeprefix(audit.name)):
                    continue
                try:
                    file = opened.enter_context(_open(path))
                    first = file.readline()
                except FileNotFoundError:
                    missed = True
                    continue
                except (OSError, EOFError) as exc:
                    raise _unreadable(path, exc) from exc
                if first:
                    found.setdefault(first, (path, file))
            if not missed:
                break
        for first, (path, file) in found.items():
            yield first
            try:
                yield from file
            except (OSError, EOFError) as exc:
                raise _unreadable(path, exc) from exc


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _is_rotation(ending: str) -> bool:
    """Whether audit.jsonl with this ending is what logrotate makes of it: .1, .2.gz, -20261121, -20261121.gz."""
    return re.fullmatch(r"([.-][0-9]+)?(\.gz)?", ending, re.ASCII) is not None


def _unreadable(path: Path, exc: Exception) -> PpmError:
    why = (exc.strerror if isinstance(exc, OSError) else None) or "it is cut off or no gzip file"
    return PpmError(f"{path} can't be read: {why}.", hint="Move it away to read the others.")
