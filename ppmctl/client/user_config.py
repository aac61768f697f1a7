"""Which index a project, a user or a machine has said it uses, so that it need not be typed with each command.

A project says `index = "…"` in `[tool.ppmctl]` of its pyproject.toml, a user in `ppmctl/config.toml` below the folder
of configuration (XDG_CONFIG_HOME, or ~/.config), a machine in /etc/ppmctl/config.toml: a URL, or the name of a
section of ~/.pypirc. Of a credential none of them says anything.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ppmctl import user_dirs
from ppmctl.errors import UsageError
from ppmctl.files import whose

SYSTEM = Path("/etc/ppmctl/config.toml")
INDEX = "index"
_TABLE = "tool.ppmctl"

Level = Literal["project", "user", "system"]


@dataclass(frozen=True, kw_only=True)
class Said:
    """The index that is named, and the file that names it."""

    index: str
    level: Level
    path: Path

    @property
    def origin(self) -> str:
        return f"[{_TABLE}] of {self.path}" if self.level == "project" else str(self.path)


def indexes(*, environ: Mapping[str, str], home: Path, cwd: Path) -> Iterator[Said]:
    """All that is said, the one that counts first; a file is read when it is its turn.

    UsageError for a file that can't be read, or says what ppmctl does not know.
    """
    for level, path in _files(environ, home, cwd):
        said = Said(index="", level=level, path=path)
        if index := _index(_read(said), said):
            yield Said(index=index, level=level, path=path)


def _files(environ: Mapping[str, str], home: Path, cwd: Path) -> Iterator[tuple[Level, Path]]:
    if project := user_dirs.above(cwd, "pyproject.toml"):
        yield "project", project
    yield "user", user_dirs.own(environ, home) / "config.toml"
    yield "system", SYSTEM


def _read(said: Said) -> dict[str, Any]:
    try:
        written: dict[str, Any] = tomllib.loads(said.path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as exc:
        if said.level == "project":
            return {}  # it has other readers, and they say what is wrong with it
        why = exc.strerror if isinstance(exc, OSError) else f"it is not TOML: {exc}"
        raise UsageError(f"{said.path} can't be read: {why}.", hint=whose(said.path)) from exc
    if said.level != "project":
        return written
    tool = written.get("tool")
    table = tool.get("ppmctl") if isinstance(tool, dict) else None
    return table if isinstance(table, dict) else {}


def _index(written: Mapping[str, Any], said: Said) -> str:
    for name, value in written.items():
        if name != INDEX and not isinstance(value, dict):  # a table is of what a command does with this project
            near = difflib.get_close_matches(name, [INDEX], n=1)
            raise UsageError(
                f"{said.origin} says {name!r}, which ppmctl does not know.",
                hint=f"Did you mean {near[0]!r}?" if near else f"It knows: {INDEX}.",
            )
    value = written.get(INDEX, "")
    if not isinstance(value, str):
        raise UsageError(f"{said.origin} has an {INDEX} that is not a text.", hint=f'{INDEX} = "https://host/"')
    return value.strip()
