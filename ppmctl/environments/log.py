"""Who changed an environment when, and what: from the index's own record of it (/env/NAME/), as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ppmctl.distributions.distribution import one_line


@dataclass(frozen=True, kw_only=True)
class Line:
    """One revision: by whom ("" where the index does not say), when (ISO 8601), what; whether it was deleted.

    `why` is why it was; of a deletion over HTTP also by whom and when.
    """

    revision: int
    by: str
    at: str
    change: str
    deleted: bool
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Journal:
    """An environment as the index sees it. `owner` is "" where nobody is, `latest` None of one that was deleted."""

    name: str
    owner: str
    shared: bool
    latest: int | None
    requirements: int
    locked: bool
    lines: tuple[Line, ...] = ()

    @property
    def changed(self) -> Line | None:
        """The last change."""
        return self.lines[-1] if self.lines else None


def journal(values: Mapping[str, Any]) -> Journal:
    """Read what an index says of an environment; what makes no sense is one of NOT_SUCH_JSON."""
    # an entry of a list has the latest revision alone, with what is said of it beside
    lines = values.get("revisions", [values])
    latest = values["latest"] if "revisions" in values else values["revision"]
    return Journal(
        name=one_line(values["name"]),
        owner=one_line(values.get("owner") or ""),
        shared=values.get("shared") is True,
        latest=None if values.get("status") == "archived" or latest is None else int(latest),
        requirements=int(values.get("requirements") or 0),
        locked=values.get("locked") is True,
        lines=tuple(
            Line(
                revision=int(line["revision"]),
                by=one_line(line.get("by") or ""),
                at=one_line(line.get("at") or ""),
                change=one_line(line.get("change") or ""),
                deleted=line.get("yanked", False) is not False,
                why=one_line(line["yanked"]) if isinstance(line.get("yanked"), str) else "",
            )
            for line in lines
        ),
    )
