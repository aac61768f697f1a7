"""What git tracks in a project's folder, and what lies there besides."""

from __future__ import annotations

from pathlib import Path

from ppmctl.publishing import git
from ppmctl.publishing.contents import Tracking

# Nothing is packed from there by the way of its own name, and there can be very much of it.
_ELSEWHERE = (".venv", "venv", "node_modules", ".tox", ".nox", "__pycache__", "*.egg-info")


def read(project: Path) -> Tracking | None:
    """What git says of the folder `project`; None where it is in no repository, or git tracks nothing of it."""
    tracked = git.ask(project, "ls-files", "-z", "--recurse-submodules")
    if not tracked:
        return None
    left = [part for name in _ELSEWHERE for part in ("--exclude", name)]
    others = git.ask(project, "ls-files", "-z", "--others", *left) or ""
    return Tracking(tracked=_names(tracked), others=_names(others))


def _names(listed: str) -> frozenset[str]:
    return frozenset(filter(None, listed.split("\0")))
