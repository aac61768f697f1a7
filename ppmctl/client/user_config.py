"""Read the default index from the configuration of a project, a user and a machine.

It is `index`, a URL or the name of a section of ~/.pypirc: in `[tool.ppmctl]` of pyproject.toml, in
`ppmctl/config.toml` in the user's configuration folder, or in /etc/ppmctl/config.toml. These have no credentials.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ppmctl import regular_file, user_dirs
from ppmctl.errors import UsageError
from ppmctl.files import access_hint

SYSTEM = Path("/etc/ppmctl/config.toml")
INDEX = "index"
_TABLE = "tool.ppmctl"

Level = Literal["project", "user", "system"]


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """A file that can set the default index; `index` is "" until it is read."""

    level: Level
    path: Path
    index: str = ""

    @property
    def origin(self) -> str:
        return f"[{_TABLE}] of {self.path}" if self.level == "project" else str(self.path)


def indexes(*, environ: Mapping[str, str], home: Path, cwd: Path) -> Iterator[ConfigFile]:
    """Yield the files that set an index, in order, each read only when its turn comes. Raise UsageError."""
    files = [
        ConfigFile(level="user", path=user_dirs.own(environ, home) / "config.toml"),
        ConfigFile(level="system", path=SYSTEM),
    ]
    if project := user_dirs.above(cwd, "pyproject.toml"):
        files.insert(0, ConfigFile(level="project", path=project))
    for file in files:
        if index := _index(_read(file), file):
            yield replace(file, index=index)


def _read(file: ConfigFile) -> dict[str, Any]:
    try:
        values: dict[str, Any] = tomllib.loads(regular_file.read_text(file.path))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as exc:
        if file.level == "project":
            return {}  # other programs read this file, and report what is wrong with it
        why = exc.strerror if isinstance(exc, OSError) else f"it is not TOML: {exc}"
        raise UsageError(f"{file.path} can't be read: {why}.", hint=access_hint(file.path)) from exc
    if file.level != "project":
        return values
    tool = values.get("tool")
    table = tool.get("ppmctl") if isinstance(tool, dict) else None
    return table if isinstance(table, dict) else {}


def _index(values: Mapping[str, Any], file: ConfigFile) -> str:
    for name, value in values.items():
        if name != INDEX and not isinstance(value, dict):  # a table has settings of one command for this project
            near = difflib.get_close_matches(name, [INDEX], n=1)
            raise UsageError(
                f"{file.origin} has the unknown setting {name!r}.",
                hint=f"Did you mean {near[0]!r}?" if near else f"The only setting is {INDEX}.",
            )
    index = values.get(INDEX, "")
    if not isinstance(index, str):
        raise UsageError(f"{file.origin} has an {INDEX} that is not a string.", hint=f'{INDEX} = "https://host/"')
    return index.strip()
