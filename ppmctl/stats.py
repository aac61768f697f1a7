"""Numbers about an index: projects, files, bytes, and what came when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ppmctl.catalogue import Holding
from ppmctl.dists import is_name, normalise, one_line
from ppmctl.trail import Entry


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """`holdings` are the projects; `uploads` the files that came, by month, and those that were removed since too.

    `publishers`, `changes` (done, by action) and `refused` (by status) are known beside the volume alone.
    """

    holdings: tuple[Holding, ...]
    uploads: Mapping[str, int]
    publishers: Mapping[str, int] | None = None
    changes: Mapping[str, int] | None = None
    refused: Mapping[str, int] | None = None

    @property
    def files(self) -> int:
        return sum(holding.files for holding in self.holdings)

    @property
    def size(self) -> int | None:
        """Bytes; None where the index does not say all sizes."""
        sizes = [holding.size for holding in self.holdings]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def to_json(self) -> dict[str, Any]:
        """As `/api/stats` and `--json` have it."""
        values: dict[str, Any] = {
            "projects": len(self.holdings),
            "files": self.files,
            "bytes": self.size,
            "uploads": dict(sorted(self.uploads.items())),
            "by_project": [
                {
                    "name": holding.name,
                    "version": holding.version or None,
                    "versions": holding.versions,
                    "files": holding.files,
                    "bytes": holding.size,
                    "uploaded": holding.uploaded or None,
                }
                for holding in self.holdings
            ],
        }
        more = {"publishers": self.publishers, "changes": self.changes, "refused": self.refused}
        return values | {key: dict(sorted(counts.items())) for key, counts in more.items() if counts is not None}

    @classmethod
    def from_json(cls, values: Any) -> Statistics:
        """What `/api/stats` said; ValueError, KeyError, TypeError or AttributeError if it is something else."""
        holdings = tuple(
            Holding(
                name=normalise(project["name"]),
                version=one_line(project["version"] or ""),
                versions=int(project["versions"]),
                files=int(project["files"]),
                size=None if project["bytes"] is None else int(project["bytes"]),
                uploaded=one_line(project["uploaded"] or ""),
            )
            for project in values["by_project"]
        )
        if not all(is_name(holding.name) for holding in holdings):
            raise ValueError("a project's name is none")
        uploads = {one_line(month): int(count) for month, count in values["uploads"].items()}
        return cls(holdings=holdings, uploads=uploads)


def of_holdings(holdings: Iterable[Holding]) -> Statistics:
    """What the projects say by themselves, as everybody who may read can know it."""
    holdings = tuple(holdings)
    return Statistics(holdings=holdings, uploads=_sum(holding.uploads for holding in holdings))


def of_volume(holdings: Iterable[Holding], filenames: Iterable[str], entries: Iterable[Entry]) -> Statistics:
    """The same with what the audit's `entries` add; `filenames` are those that are here, and counted already."""
    holdings, here = tuple(holdings), set(filenames)
    uploads = Counter(_sum(holding.uploads for holding in holdings))
    publishers = Counter(_sum(holding.publishers for holding in holdings))
    changes: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for entry in entries:
        if not entry.is_done:
            refused[str(entry.values.get("status", "other"))] += _times(entry)
            continue
        changes[entry.action] += 1
        if entry.action == "publish" and entry.what not in here:  # removed since
            uploads[f"{entry.time:%Y-%m}"] += 1
            publishers[entry.by] += 1
    return Statistics(holdings=holdings, uploads=uploads, publishers=publishers, changes=changes, refused=refused)


def _times(entry: Entry) -> int:
    count = entry.values.get("refused", 1)  # of a line that stands for many
    return count if isinstance(count, int) else 1


def _sum(counts: Iterable[Mapping[str, int]]) -> Mapping[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total
