"""The result of a copy between a volume and a bucket."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Copied:
    """What a copy wrote: projects that differed, files and their bytes; `problems` are what could not be copied.

    `is_complete`: the place that was copied to has everything, and can be used now. Otherwise there are problems, or
    `server` runs, so that there may be changes which are not in the copy.
    """

    address: str
    projects: int = 0
    files: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)
    server: str = ""
    is_complete: bool = False
