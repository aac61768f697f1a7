"""A project's folder as values: its files with their records, and its status. Reading only."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from packaging.version import InvalidVersion, Version

from ppmctl import files
from ppmctl.errors import PpmError
from ppmctl.index.layout import RECORD, SIDE_FILES, TOMBSTONE, YANKED, Volume

STATUSES = ("active", "archived", "quarantined", "deprecated")  # PEP 792
MAX_REASON = 500  # characters of the reason for a yank or a status
CLOSED = frozenset({"archived", "quarantined"})  # they take no uploads (PEP 792)

MAX_SUMMARY = 500

_RECORDS_KEPT = 100_000


class BrokenRecord(PpmError):
    """A side file can't be understood; `ppmctl index check` names them all."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What was written down when a file was published, and never changes.

    `size` is in bytes, the hashes are hexadecimal sha256, `upload_time` is UTC in ISO 8601 with
    microseconds and a Z (PEP 700), `core_metadata` is the hash of the metadata file of a wheel, `summary` is one
    line of at most MAX_SUMMARY characters; None in records from before it was written down.
    """

    version: str
    size: int
    sha256: str
    upload_time: str
    uploaded_by: str
    requires_python: str | None = None
    core_metadata: str | None = None
    summary: str | None = None

    def to_json(self) -> bytes:
        values = {name.replace("_", "-"): value for name, value in vars(self).items()}
        return json.dumps(values, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, text: bytes, *, where: str) -> Record:
        """Read a record; BrokenRecord names `where` if it is not one."""
        try:
            values: dict[str, Any] = json.loads(text)
            Version(values["version"])
            keys = {each.name: each.name.replace("_", "-") for each in fields(cls)}
            given = {name: values[key] for name, key in keys.items() if key in values}
            return cls(**{**given, "size": int(values["size"])})
        except (ValueError, KeyError, TypeError, InvalidVersion) as exc:
            raise BrokenRecord(f"{where} is not the record of an upload.", hint="ppmctl index rebuild") from exc


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A published file. `yanked` is None, or the reason why it was (it may be empty)."""

    filename: str
    record: Record
    yanked: str | None = None


@dataclass(frozen=True, kw_only=True)
class Status:
    """A project's status (PEP 792) and the reason that was given for it."""

    state: str = "active"
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A project as its folder says it is.

    `files` leaves out what has a tombstone; `unrecorded` are distribution files without a readable record;
    `names` is everything in the folder that is not hidden.
    """

    project: str
    files: tuple[StoredFile, ...] = ()
    status: Status = Status()
    removed: tuple[str, ...] = ()
    unrecorded: tuple[str, ...] = ()
    names: frozenset[str] = field(default_factory=frozenset)


def is_reason(text: str) -> bool:
    """Whether `text` may be the reason for a yank or a status: one line that any page can show."""
    return len(text) <= MAX_REASON and text.isprintable()


def now() -> str:
    """The time, as records have it: UTC, microseconds, Z (PEP 700)."""
    return timestamp(datetime.now(UTC))


def timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def distribution_of(name: str) -> str:
    """The distribution that a file in a project's folder belongs to: itself, or what it lies beside."""
    for suffix in SIDE_FILES:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


def read(volume: Volume, project: str) -> Folder | None:
    """A project's folder, its files sorted by version and filename; None where there is no such folder."""
    path = str(volume.project(project))
    try:
        with os.scandir(path) as entries:
            names = frozenset(entry.name for entry in entries if not _is_hidden(entry.name))
    except FileNotFoundError:
        return None
    files, unrecorded = [], []
    for name in names:
        if name.endswith(SIDE_FILES) or name + TOMBSTONE in names:
            continue
        try:
            record = _read_record(f"{path}/{name}{RECORD}")
        except (FileNotFoundError, BrokenRecord):
            unrecorded.append(name)
            continue
        yanked = _text(volume, project, name, YANKED) if name + YANKED in names else None
        files.append(StoredFile(filename=name, record=record, yanked=yanked))
    files.sort(key=lambda file: (Version(file.record.version), file.filename))
    removed = sorted(name.removesuffix(TOMBSTONE) for name in names if name.endswith(TOMBSTONE))
    return Folder(
        project=project,
        files=tuple(files),
        status=read_status(volume, project),
        removed=tuple(removed),
        unrecorded=tuple(sorted(unrecorded)),
        names=names,
    )


def read_record(volume: Volume, project: str, filename: str) -> Record:
    """The record of a file; FileNotFoundError or BrokenRecord where there is none."""
    return _read_record(str(volume.side_file(project, filename, RECORD)))


def _read_record(path: str) -> Record:
    return _record(path, files.identity(path))


@lru_cache(maxsize=_RECORDS_KEPT)
def _record(path: str, _identity: object) -> Record:
    # A record never changes, so a page with a thousand files costs a stat for each and not a read and a parse.
    with open(path, "rb") as file:
        return Record.from_json(file.read(), where=path)


def read_status(volume: Volume, project: str) -> Status:
    """A project's status; active where none was set."""
    path = volume.status(project)
    try:
        values = json.loads(path.read_bytes())
        status = Status(state=values["state"], reason=values.get("reason", ""))
    except FileNotFoundError:
        return Status()
    except (ValueError, KeyError, TypeError) as exc:
        raise BrokenRecord(
            f"{path} is not the status of a project.", hint=f"ppmctl package status {project} active"
        ) from exc
    return status


def _text(volume: Volume, project: str, filename: str, suffix: str) -> str:
    try:
        return volume.side_file(project, filename, suffix).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def _is_hidden(name: str) -> bool:
    return name.startswith(".")
