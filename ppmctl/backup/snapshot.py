"""Snapshots of an index in a restic repository, as restic's JSON has them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ppmctl.errors import NOT_SUCH_JSON, PpmError, some

TAG = "ppm"  # of every snapshot of an index
BEFORE = "before-restore"  # and of those of what a restore replaced
BEFORE_DAYS = 90  # for which the latter are kept
_SHORT = 8  # characters of an id that restic shows


@dataclass(frozen=True, kw_only=True)
class Series:
    """The snapshots of one index that one volume made, by the ids of both; "" is none, as before there were ids.

    `since` is when the volume got its id: its first snapshots are removed later.
    """

    index: str = ""
    volume: str = ""
    since: str = ""

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(f"{name}-{value}" for name, value in vars(self).items() if value)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A snapshot; `id` is short, `time` is in UTC, in ISO 8601."""

    id: str
    time: str
    tags: tuple[str, ...]

    @property
    def is_backup(self) -> bool:
        """Return whether it is a backup, and not what a restore replaced."""
        return BEFORE not in self.tags

    @property
    def index(self) -> str:
        return self._tagged("index-")

    @property
    def volume(self) -> str:
        return self._tagged("volume-")

    @property
    def series(self) -> Series:
        return Series(index=self.index, volume=self.volume, since=self._tagged("since-"))

    def _tagged(self, prefix: str) -> str:
        return next((tag.removeprefix(prefix) for tag in self.tags if tag.startswith(prefix)), "")

    def is_expired(self, now: datetime) -> bool:
        """Return whether it is what a restore replaced, and so old that it is no longer kept."""
        return not self.is_backup and datetime.fromisoformat(self.time) < now - timedelta(days=BEFORE_DAYS)

    @property
    def kind(self) -> str:
        return "backup" if self.is_backup else BEFORE

    @property
    def described(self) -> str:
        return f"{self.id} of {self.time[:19]}"

    def to_json(self) -> dict[str, str]:
        return {"id": self.id, "time": self.time, "kind": self.kind, "index": self.index, "volume": self.volume}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a backup stored: all files of the snapshot and their bytes, and the bytes that were new."""

    snapshot: str
    files: int
    size: int
    added: int


@dataclass(frozen=True, kw_only=True)
class Keep:
    """How many snapshots are kept: the last of so many days, weeks and months. 0 everywhere keeps all."""

    daily: int = 0
    weekly: int = 0
    monthly: int = 0

    def options(self) -> tuple[str, ...]:
        """Return the options of `restic forget`; none if all snapshots are kept."""
        numbers = {"daily": self.daily, "weekly": self.weekly, "monthly": self.monthly}
        return tuple(f"--keep-{name}={number}" for name, number in numbers.items() if number > 0)


def read_snapshots(printed: str) -> list[Snapshot]:
    """Return the snapshots that `restic snapshots --json` printed, the oldest first. Raise PpmError."""
    try:
        listed = [
            Snapshot(id=each["id"][:_SHORT], time=_utc(each["time"]), tags=tuple(each.get("tags") or ()))
            for each in json.loads(printed) or ()
        ]
    except NOT_SUCH_JSON as exc:
        raise PpmError("restic printed something else than its snapshots.") from exc
    return sorted(listed, key=lambda snapshot: snapshot.time)


def _utc(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def read_summary(printed: str) -> Summary:
    """Return the summary among the lines that `restic backup --json` printed. Raise PpmError without one."""
    for line in printed.splitlines():
        try:
            values: dict[str, Any] = json.loads(line)
            if values["message_type"] == "summary":
                return Summary(
                    snapshot=str(values["snapshot_id"])[:_SHORT],
                    files=int(values["total_files_processed"]),
                    size=int(values["total_bytes_processed"]),
                    added=int(values["data_added"]),
                )
        except NOT_SUCH_JSON:
            continue
    raise PpmError("restic printed no summary of the backup.", hint="Look for it: ppmctl backup list")


def read_removed(printed: str) -> int:
    """Return how many snapshots `restic forget --json` removed; 0.14 prints text after the JSON."""
    try:
        groups, _end = json.JSONDecoder().raw_decode(printed.lstrip())
        return sum(len(group.get("remove") or ()) for group in groups)
    except NOT_SUCH_JSON:
        return 0


def choose(snapshots: Sequence[Snapshot], wanted: str | None, *, index: str = "") -> Snapshot:
    """Return the snapshot whose id starts with `wanted`, or the latest backup, of the `index` if it has one.

    Raise PpmError, also if the latest one may be the wrong one: others are of another index, or of a volume that was
    backed up while the latest one's was too. Those without ids may be of any volume. If a volume has had several
    indexes, which a restore can change, the latest backup is that of its last one.
    """
    if not wanted or wanted == "latest":
        return _latest([snapshot for snapshot in snapshots if snapshot.is_backup], index)
    found = [snapshot for snapshot in snapshots if snapshot.id.startswith(wanted[:_SHORT])]
    if len(found) != 1:
        what = "several snapshots" if found else "no snapshot"
        raise PpmError(f"There is {what} {wanted!r} in this repository.", hint="All of them: ppmctl backup list")
    return found[0]


def _latest(backups: Sequence[Snapshot], index: str) -> Snapshot:
    if not backups:
        raise PpmError("There is no backup in this repository.", hint="The first one: ppmctl backup create")
    named = [each for each in backups if each.index]
    named = [each for each in named if each.index == index] or named
    latest = (named or backups)[-1]
    same, began = ("", latest.index), latest.series.since.removesuffix("Z")  # times of snapshots have fractions
    others = {
        each.series: each
        for each in (*named, *(each for each in backups if not each.index))
        if each.volume != latest.volume and (each.index not in same or each.time > began)
    }
    if others:
        listed = some([f"{each.described} from {each.volume or 'unknown'}" for each in (latest, *others.values())])
        what = "indexes" if any(each.index not in same for each in others.values()) else "machines"
        raise PpmError(
            f"The repository has backups of several {what}, and the latest one may be the wrong one: {listed}.",
            hint="Choose one of `ppmctl backup list`: --snapshot ID (with restore.yml: -e ppm_snapshot=ID)",
        )
    return latest
