"""Numbers about an index: about each project, all projects, and uploads by month."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ppmctl.distributions.distribution import normalise, one_line
from ppmctl.distributions.names import is_name
from ppmctl.distributions.project_page import ProjectPage, total
from ppmctl.errors import UsageError
from ppmctl.index.project_folder import timestamp

MAX_SEARCH = 200  # characters
MAX_WORDS = 8  # different ones in a search


@dataclass(frozen=True, kw_only=True)
class Holding:
    """The numbers of a project. `version` and `summary` are those of its latest release, "" without a release.

    `size` is in bytes, None if another index does not report all sizes; `uploads` counts the files by month
    ("2026-11"), `publishers` by who published them.
    """

    name: str
    version: str = ""
    summary: str = ""
    versions: int = 0
    files: int = 0
    size: int | None = 0
    uploaded: datetime | None = None
    uploads: Mapping[str, int] = field(default_factory=dict)
    publishers: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, page: ProjectPage, *, summary: str = "", publishers: Iterable[str] = ()) -> Holding:
        """Return the numbers of a project from its page."""
        latest = page.latest
        times = [file.upload_time.astimezone(UTC) for file in page.files if file.upload_time is not None]
        return cls(
            name=page.name,
            version=str(latest.version) if latest is not None else "",
            summary=summary,
            versions=len(page.releases),
            files=len(page.files),
            size=total(file.size for file in page.files),
            uploaded=max(times, default=None),
            uploads=Counter(f"{time:%Y-%m}" for time in times),
            publishers=Counter(publishers),
        )

    @classmethod
    def from_json(cls, values: Any) -> Holding:
        """Return a project of `/api/packages` or `/api/stats`; an error of NOT_SUCH_JSON for other values."""
        if not is_name(values["name"]):
            raise ValueError(f"{values['name']!r} is not a name of a project")
        size, uploaded = values.get("bytes"), values.get("uploaded")
        return cls(
            name=normalise(values["name"]),
            version=one_line(values["version"] or ""),
            summary=one_line(values.get("summary") or ""),
            versions=int(values.get("versions", 0)),
            files=int(values.get("files", 0)),
            size=None if size is None else int(size),
            uploaded=datetime.fromisoformat(uploaded).astimezone(UTC) if uploaded else None,
        )


def words(text: str) -> list[str]:
    """Return the different words of a search. Raise UsageError for more than MAX_SEARCH characters or MAX_WORDS."""
    if len(text) > MAX_SEARCH:
        raise UsageError(f"A search has {MAX_SEARCH} characters at most.")
    different = list({word.casefold(): word for word in text.split()}.values())
    if len(different) > MAX_WORDS:
        raise UsageError(f"A search has {MAX_WORDS} different words at most.")
    return different


def search(text: str, holdings: Iterable[Holding]) -> list[Holding]:
    """Return the projects with every word of `text`, by name: first those with all words in the name.

    Raise UsageError as `words` does.
    """
    # normalised once, not for each project
    wanted = {word.casefold(): normalise(word.casefold()) for word in words(text)}

    def has_all(text: str) -> bool:
        return all(word in text or normalised in text for word, normalised in wanted.items())

    matches = [
        (not has_all(holding.name), holding.name, holding)
        for holding in holdings
        if has_all(f"{holding.name} {holding.summary.casefold()}")
    ]
    return [holding for *_order, holding in sorted(matches, key=lambda item: item[:2])]


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """The numbers of an index. `uploads` counts the uploaded files by month, with those that were removed since.

    `publishers`, `changes` (by action) and `refused` (by status) are known only on the server host.
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
        """Return the sum of sizes in bytes; None if the index does not report all sizes."""
        return total(holding.size for holding in self.holdings)

    def to_json(self) -> dict[str, Any]:
        """Return the values for `/api/stats` and `--json`."""
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
                    "uploaded": timestamp(holding.uploaded) if holding.uploaded is not None else None,
                }
                for holding in self.holdings
            ],
        }
        more = {"publishers": self.publishers, "changes": self.changes, "refused": self.refused}
        return values | {key: dict(sorted(counts.items())) for key, counts in more.items() if counts is not None}

    @classmethod
    def from_json(cls, values: Any) -> Statistics:
        """Return the statistics in an answer of `/api/stats`; an error of NOT_SUCH_JSON for other values."""
        uploads = {one_line(month): int(count) for month, count in values["uploads"].items()}
        return cls(holdings=tuple(map(Holding.from_json, values["by_project"])), uploads=uploads)


def of_holdings(holdings: Iterable[Holding]) -> Statistics:
    """Return the statistics that every reader can compute from the projects alone."""
    holdings = tuple(holdings)
    return Statistics(holdings=holdings, uploads=add_up(holding.uploads for holding in holdings))


def add_up(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    """Return the sum of several counts, by key."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total
