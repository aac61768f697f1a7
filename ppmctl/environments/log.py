"""Read the index's record of an environment: who changed what and when (docs/http.md, /env/NAME/)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ppmctl.distributions.distribution import one_line


@dataclass(frozen=True, kw_only=True)
class Line:
    """A revision: `by` a user ("" if unknown), `at` a time (ISO 8601), `change` in words.

    `why` is the reason for its deletion; after a deletion over HTTP also the user and the time.
    """

    revision: int
    by: str
    at: str
    change: str
    deleted: bool
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Journal:
    """The index's record of an environment. `owner` can be ""; `latest` is None if it was deleted."""

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
    """Return the record in the JSON of an index. Raise one of NOT_SUCH_JSON if it is invalid."""
    # an entry of a list describes only the latest revision, in the same object
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
