"""A project's head: the object of the bucket that lists its files, tombstones and status.

Each change of a project replaces its head, on the condition that it is still the one that the change was decided on.
So changes of a project have one order, whatever the number of nodes. A head is compressed JSON.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ppmctl.distributions.names import is_filename
from ppmctl.errors import NOT_SUCH_JSON, PpmError
from ppmctl.storage import keys, last_changes
from ppmctl.storage.bucket import Bucket, Changed, Exists, Unavailable

_CLEANING = "cleaning-"  # the begin of the name of a change that removed strays
_ATTEMPTS = 3  # of a write whose answer was lost


class BrokenHead(PpmError):
    """An object of the bucket is not the head of a project."""


class HeadChanged(Changed):
    """The bucket has another head than the one that a change was decided on: `now`, None if it has none."""

    def __init__(self, project: str, now: Version | None) -> None:
        super().__init__(project)
        self.now = now


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A published file: its record as JSON values, and the reason of its yank, or None."""

    record: Mapping[str, Any]
    yanked: str | None = None


@dataclass(frozen=True, kw_only=True)
class Removed:
    """A file that was removed: when, and the sha256 that its key has."""

    at: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Head:
    """The state of a project.

    `serial` counts its changes, and `changes` has random names of the last ones. `second` is the time of the last,
    in seconds since the epoch, and later than that of any before: all nodes give it to their pages.
    """

    serial: int = 0
    second: int = 0
    changes: tuple[str, ...] = ()
    state: str = "active"
    reason: str = ""
    files: Mapping[str, Entry] = field(default_factory=dict)
    removed: Mapping[str, Removed] = field(default_factory=dict)

    def with_file(self, filename: str, record: Mapping[str, Any]) -> Head:
        return replace(self, files={**self.files, filename: Entry(record=record)})

    def yanked(self, filenames: Iterable[str], reason: str | None) -> Head:
        """Return the head with these files yanked, or without a reason (None) not yanked."""
        return replace(
            self, files={**self.files, **{name: replace(self.files[name], yanked=reason) for name in filenames}}
        )

    def without(self, filenames: Iterable[str], *, at: str) -> Head:
        """Return the head with a tombstone instead of each of these files."""
        gone = {name: Removed(at=at, sha256=self.files[name].record["sha256"]) for name in filenames}
        left = {name: entry for name, entry in self.files.items() if name not in gone}
        return replace(self, files=left, removed={**self.removed, **gone})

    def with_status(self, state: str, reason: str) -> Head:
        return replace(self, state=state, reason=reason)

    def to_bytes(self) -> bytes:
        values = {
            "serial": self.serial,
            "second": self.second,
            "changes": self.changes,
            "status": {"state": self.state, "reason": self.reason},
            "files": {
                name: {"record": dict(entry.record)} | ({} if entry.yanked is None else {"yanked": entry.yanked})
                for name, entry in self.files.items()
            },
            "removed": {name: {"at": gone.at, "sha256": gone.sha256} for name, gone in self.removed.items()},
        }
        return gzip.compress(json.dumps(values, separators=(",", ":")).encode(), compresslevel=3, mtime=0)

    @classmethod
    def from_bytes(cls, content: bytes, *, name: str) -> Head:
        """Return the head in `content`; BrokenHead names `name` if it is none."""
        try:
            values = json.loads(gzip.decompress(content))
            if not all(map(is_filename, (*values["files"], *values["removed"]))):
                raise ValueError("a name is no file's")
            return cls(
                serial=int(values["serial"]),
                second=int(values["second"]),
                changes=tuple(values["changes"]),
                state=str(values["status"]["state"]),
                reason=str(values["status"]["reason"]),
                files={
                    filename: Entry(record=entry["record"], yanked=entry.get("yanked"))
                    for filename, entry in values["files"].items()
                },
                removed={
                    filename: Removed(at=str(gone["at"]), sha256=str(gone["sha256"]))
                    for filename, gone in values["removed"].items()
                },
            )
        except (*NOT_SUCH_JSON, OSError, EOFError) as exc:
            raise BrokenHead(f"{name} is not the head of a project.", hint="ppmctl index check") from exc


@dataclass(frozen=True, kw_only=True)
class Version:
    """A head as the bucket has it, with the tag of this version."""

    head: Head
    tag: str
    content: bytes = field(repr=False)


def read(bucket: Bucket, project: str, *, unless: str | None = None) -> Version | None:
    """Return a project's head; None if it has none. Raise NotChanged if its tag is `unless`."""
    key = keys.head(project)
    found = bucket.read(key, unless=unless)
    if found is None:
        return None
    return Version(head=Head.from_bytes(found.content, name=key), tag=found.tag, content=found.content)


def was_cleaned(before: Head, now: Head) -> bool:
    """Return whether objects that no head named were removed between two heads."""
    return any(change.startswith(_CLEANING) for change in set(now.changes).difference(before.changes))


def commit(bucket: Bucket, project: str, head: Head, *, after: Version | None, is_cleaning: bool = False) -> Version:
    """Replace the head `after`, or create the first one; return the new version. For `is_cleaning` see `was_cleaned`.

    Raise HeadChanged if the bucket has another head: nothing was changed. Raise Unavailable if it is unknown what the
    bucket has; the change may then still appear. If an answer was lost, the head itself shows whether it was written.
    """
    before = after.head if after else Head()
    change, changes = last_changes.with_another(before.changes, kind=_CLEANING if is_cleaning else "")
    second = max(int(time.time()), before.second + 1)
    head = replace(head, serial=before.serial + 1, second=second, changes=changes)
    content = head.to_bytes()
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return Version(head=head, tag=_write(bucket, project, content, after), content=content)
        except (Exists, Changed):
            found = read(bucket, project)
            if found is None or change not in found.head.changes:
                raise HeadChanged(project, found) from None
            return found
        except Unavailable:
            found = read(bucket, project)
            if found is not None and change in found.head.changes:
                return found
            if (found.tag if found else None) != (after.tag if after else None):
                raise HeadChanged(project, found) from None
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("every attempt returns or raises")


def _write(bucket: Bucket, project: str, content: bytes, after: Version | None) -> str:
    key = keys.head(project)
    return bucket.create(key, content) if after is None else bucket.replace(key, content, after.tag)
