"""Reads a project's folder: its files with their records, and its status."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from ppmctl import files
from ppmctl.errors import PpmError
from ppmctl.index.layout import PROVENANCE, RECORD, SIDE_FILES, TOMBSTONE, YANKED, Volume

STATUSES = ("active", "archived", "quarantined", "deprecated")  # PEP 792
MAX_REASON = 500  # characters of the reason for a yank or a status
CLOSED = frozenset({"archived", "quarantined"})  # no uploads (PEP 792)
MAX_SUMMARY = 500  # characters

# Who published a file, in its record and in the audit log, if no user did. No user can have these names.
ADOPT, DROP, REBUILD = "adopt", "drop", "rebuild"
NOBODY = frozenset({ADOPT, DROP, REBUILD})

_CACHED_RECORDS = 10_000  # 13 MB
_CACHED_VERSIONS = 100_000


class BrokenRecord(PpmError):
    """A side file is damaged; `ppmctl index check` lists all of them."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """The facts of a file that are recorded when it is published, and never change.

    `size` is in bytes, hashes are hexadecimal sha256, `upload_time` is a `timestamp`, `core_metadata` is the hash of
    a wheel's metadata file, `summary` is one line of at most MAX_SUMMARY characters (None in old records).
    `attestations` is the hash of the attestations in the bucket, `provenance` whether they give a provenance object;
    without a bucket both are in no record: the files beside the record show it.
    """

    version: str
    size: int
    sha256: str
    upload_time: str
    uploaded_by: str
    requires_python: str | None = None
    core_metadata: str | None = None
    summary: str | None = None
    attestations: str | None = None
    provenance: bool = False

    def values(self) -> dict[str, Any]:
        """Return the record as JSON has it."""
        left_out = () if self.attestations else ("attestations", "provenance")
        return {name.replace("_", "-"): value for name, value in vars(self).items() if name not in left_out}

    def to_json(self) -> bytes:
        return as_json(self.values())

    @classmethod
    def from_json(cls, text: bytes, *, path: str) -> Record:
        """Return the record in `text`; BrokenRecord names `path` if it is invalid."""
        try:
            return cls.from_values(json.loads(text))
        except (ValueError, KeyError, TypeError, InvalidVersion) as exc:
            raise BrokenRecord(f"{path} is not the record of an upload.", hint="ppmctl index rebuild") from exc

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Record:
        """Return the record that JSON has as `values`; any error of a missing or wrong value if they are none."""
        Version(values["version"])
        keys = {each.name: each.name.replace("_", "-") for each in fields(cls)}
        given = {name: values[key] for name, key in keys.items() if key in values}
        return cls(**{**given, "size": int(values["size"])})


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A published file. `yanked` is the reason of the yank, which may be empty; None if it is not yanked."""

    filename: str
    record: Record
    yanked: str | None = None
    has_provenance: bool = False

    @property
    def yanked_in_json(self) -> bool | str:
        """Return `yanked` as pages in JSON have it (PEP 691): the reason, True without one, False if not yanked."""
        return False if self.yanked is None else self.yanked or True


@dataclass(frozen=True, kw_only=True)
class Status:
    """A project's status (PEP 792) and its reason."""

    state: str = "active"
    reason: str = ""

    @property
    def is_quarantined(self) -> bool:
        return self.state == "quarantined"


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A project's folder.

    `files` are those without a tombstone, `unrecorded` the names of those without a readable record, `names` all
    names in the folder that are not hidden, with those of files in quarantine.
    """

    project: str
    files: tuple[StoredFile, ...] = ()
    status: Status = Status()
    removed: tuple[str, ...] = ()
    unrecorded: tuple[str, ...] = ()
    names: frozenset[str] = field(default_factory=frozenset)


def as_json(values: Mapping[str, Any]) -> bytes:
    """Return a record or a status as its file has it."""
    return json.dumps(values, indent=1).encode() + b"\n"


def is_reason(text: str) -> bool:
    """Return whether `text` is allowed as the reason for a yank or a status: a printable line."""
    return len(text) <= MAX_REASON and text.isprintable()


def now() -> str:
    """Return the current time as `timestamp` does."""
    return timestamp(datetime.now(UTC))


def timestamp(moment: datetime) -> str:
    """Return a time in UTC as records have it (PEP 700): ISO 8601 with microseconds and a Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def distribution_of(name: str) -> str:
    """Return the name of the distribution that a side file belongs to; other names are returned unchanged."""
    suffix = next((suffix for suffix in SIDE_FILES if name.endswith(suffix)), "")
    return name.removesuffix(suffix)


def read(volume: Volume, project: str, *, remember: bool = True) -> Folder | None:
    """Return a project's folder, its files sorted by version and filename; None if the folder does not exist.

    In the cache of a bucket a file exists if its record does. With `remember` its records stay in memory:
    not when all projects are read.
    """
    path = str(volume.project(project))
    names = served_names(volume, project)
    if names is None:
        return None
    names |= visible_names(volume.quarantined(project)) or frozenset()
    stored, unrecorded = [], []
    for name in names:
        if name.endswith(SIDE_FILES) or name + TOMBSTONE in names:
            continue
        try:
            record = _read_record(f"{path}/{name}{RECORD}", remember=remember)
        except (FileNotFoundError, BrokenRecord):
            unrecorded.append(name)
            continue
        yanked = _yank_reason(f"{path}/{name}{YANKED}") if name + YANKED in names else None
        has_provenance = record.provenance if volume.is_cache else name + PROVENANCE in names
        stored.append(StoredFile(filename=name, record=record, yanked=yanked, has_provenance=has_provenance))
    stored.sort(key=lambda file: (_version(file.record.version), file.filename))
    removed = sorted(name.removesuffix(TOMBSTONE) for name in names if name.endswith(TOMBSTONE))
    return Folder(
        project=project,
        files=tuple(stored),
        status=read_status(volume, project),
        removed=tuple(removed),
        unrecorded=tuple(sorted(unrecorded)),
        names=names,
    )


def served_names(volume: Volume, project: str) -> frozenset[str] | None:
    """Return the names in a project's folder, and of files that are only in the bucket; None if it does not exist."""
    names = visible_names(volume.project(project))
    if names is None or not volume.is_cache:
        return names
    return names | {name.removesuffix(RECORD) for name in names if name.endswith(RECORD)}


def visible_names(folder: Path) -> frozenset[str] | None:
    """Return the names in a folder that are not hidden; None if it does not exist."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if not entry.name.startswith("."))
    except FileNotFoundError:
        return None


def locate(volume: Volume, project: str, name: str) -> Path:
    """Return the path of a project's file or of its metadata: in `packages/`, or in `quarantine/` if it is there.

    `name` is one that a listing of the folder has; it need not be a distribution's.
    """
    kept = volume.quarantined(project) / name
    return kept if kept.exists() else volume.project(project) / name


def read_record(volume: Volume, project: str, filename: str) -> Record:
    """Return the record of a file. FileNotFoundError if it has none, BrokenRecord if it is invalid."""
    return _read_record(str(volume.side_file(project, filename, RECORD)))


def _read_record(path: str, *, remember: bool = True) -> Record:
    return _record(path, files.identity(path)) if remember else _record.__wrapped__(path, None)


@lru_cache(maxsize=_CACHED_VERSIONS)
def _version(text: str) -> Version:
    return Version(text)


@lru_cache(maxsize=_CACHED_RECORDS)
def _record(path: str, _identity: object) -> Record:
    # a record never changes: a page with a thousand files costs a stat for each file, but no read and no parse
    with open(path, "rb") as file:
        return Record.from_json(file.read(), path=path)


def read_status(volume: Volume, project: str) -> Status:
    """Return a project's status, by default active."""
    path = volume.status(project)
    try:
        values = json.loads(path.read_bytes())
        return Status(state=values["state"], reason=values.get("reason", ""))
    except FileNotFoundError:
        return Status()
    except (ValueError, KeyError, TypeError) as exc:
        hint = f"ppmctl package status {project} active"
        raise BrokenRecord(f"{path} is not the status of a project.", hint=hint) from exc


def _yank_reason(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
