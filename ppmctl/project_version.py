"""Where a project says its version: in which file, in which words; or that git's tags say it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppmctl import versions
from ppmctl.errors import PpmError
from ppmctl.versions import Place


@dataclass(frozen=True, kw_only=True)
class Project:
    """`name` is as the project writes it, "" where it can't be read. `place` is None where git's tags decide.

    `tool` is what reads those tags, "" where none does.
    """

    folder: Path
    name: str
    place: Place | None
    tool: str = ""


def read(folder: Path) -> Project:
    """The project in `folder`; PpmError where it can't be found out where it says its version."""
    path = folder / "pyproject.toml"
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        data = {}
    except (OSError, ValueError) as exc:
        raise PpmError(f"{path} can't be read: {exc}.") from exc
    return _read(folder, path, data)


def _read(folder: Path, path: Path, data: dict[str, Any]) -> Project:
    project = data.get("project", {})
    poetry = data.get("tool", {}).get("poetry", {})
    name = project.get("name") or poetry.get("name") or ""
    if "version" in project:
        label = f"{path.name} [project]"
        return _at(folder, name, versions.place(path, label, versions.in_toml("project", "version")))
    if "version" in poetry:
        label = f"{path.name} [tool.poetry]"
        return _at(folder, name, versions.place(path, label, versions.in_toml("tool", "poetry", "version")))
    return _at(folder, name, None)


def _at(folder: Path, name: str, place: Place | None) -> Project:
    if place is None:
        raise PpmError(
            f"{folder}: it can't be found out where this project says its version.",
            hint="Raise it by hand, commit that, and publish without --bump: ppmctl publish --tag",
        )
    return Project(folder=folder, name=name, place=place)
