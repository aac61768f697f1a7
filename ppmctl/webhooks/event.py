"""The events of webhooks, made from lines of the audit log."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from ppmctl.access import audit_query
from ppmctl.access.audit_query import ON_PACKAGES, Entry
from ppmctl.distributions.distribution import InvalidDistribution, parse_filename
from ppmctl.distributions.environment_revision import environment_of
from ppmctl.index import operation_result

TEST = "webhook.test"
_ON_FILES = ("yank", "unyank", "remove", "status", "claim", "unclaim")
TYPES = (
    *(f"package.{action}" for action in ("publish", *_ON_FILES)),
    *(f"environment.{action}" for action in ("revision", *_ON_FILES)),
    *(f"user.{action}" for action in ("add", "invite", "join", "change", "rotate", "disable", "enable", "remove")),
    *(f"user.{action}" for action in ("import", "apply")),
    *(f"token.{action}" for action in ("create", "change", "rotate", "disable", "enable", "revoke", "apply")),
    *("credential.prune", "credential.restore", "backup.restore"),
    *(f"{name}.{end}" for name in operation_result.NAMES for end in ("succeeded", "failed")),
)
_NO_CHANGES = frozenset({"write", "login"})


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event. `timestamp` is when it happened, in UTC; `id` is always the same for the same line of the audit."""

    id: str
    type: str
    timestamp: str
    data: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        """Return the JSON that is sent."""
        values = {"type": self.type, "timestamp": self.timestamp, "data": self.data}
        return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()

    def is_one_of(self, globs: tuple[str, ...]) -> bool:
        """Return whether one of the patterns matches the type."""
        return any(fnmatchcase(self.type, glob) for glob in globs)


def of(line: bytes, place: str) -> Event | None:
    """Return the event of a line of the audit, or None if it is none. `place` tells equal lines apart.

    What happened on another node of the same bucket is none: that node sends it.
    """
    entry = audit_query.parse(line)
    kind = None if entry is None or entry.is_elsewhere else _type(entry)
    if entry is None or kind is None:
        return None
    identity = hashlib.sha256(place.encode() + b"\n" + line).hexdigest()[:32]
    return Event(id=f"evt_{identity}", type=kind, timestamp=entry.values["time"], data=_data(entry))


def _type(entry: Entry) -> str | None:
    """Return the type: package.publish, user.add …; None for a refusal, and for what changes nothing."""
    if entry.action in operation_result.NAMES:
        return f"{entry.action}.{'succeeded' if entry.is_done else 'failed'}"
    if not entry.is_done or entry.action in _NO_CHANGES:
        return None
    if entry.action in ON_PACKAGES:
        if entry.project is None or environment_of(entry.project) is None:
            return f"package.{entry.action}"
        return f"environment.{'revision' if entry.action == 'publish' else entry.action}"
    if entry.action in ("prune", "restore"):
        return f"credential.{entry.action}"
    return ".".join(entry.action.split())


def _data(entry: Entry) -> dict[str, Any]:
    """Return what the event is about. The address of the client stays in the audit."""
    note = entry.result.partition(": ")[2] if entry.is_done else entry.result
    if entry.action in operation_result.NAMES:
        return {"succeeded": entry.is_done, "detail": note, "by": entry.by}
    data: dict[str, Any] = {}
    first, _, rest = entry.what.partition(" ")
    if entry.action not in ON_PACKAGES:
        return {"name": first.rstrip(","), "change": entry.what, "by": entry.by, "note": note}
    data = {"project": entry.project}
    environment = environment_of(entry.project) if entry.project else None
    if environment is not None:
        data["environment"] = environment
    try:
        data |= {"version": str(parse_filename(first).version), "file": first}
    except InvalidDistribution:
        data |= {"change": rest} if rest else {}
    return {**data, "by": entry.by, "note": note}
