"""Where a project says its version: in which file, in which words; or that git's tags say it."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ppmctl.errors import PpmError
from ppmctl.publishing import versions
from ppmctl.publishing.versions import Place

# What gives a project the version that git's tags have, by the name in build-system.requires.
_BY_TAG = (
    *("setuptools-scm", "setuptools-git-versioning", "flit-scm", "versioneer", "versioningit"),
    *("poetry-dynamic-versioning", "uv-dynamic-versioning"),
)
_HATCH = re.compile(
    r'^(__version__|VERSION)(?: ?: ?str)? *= *([\'"])v?(?P<version>.+?)\2', re.IGNORECASE | re.MULTILINE
)
_PDM = re.compile(r'^__version__\s*=\s*[\'"](?P<version>.+?)[\'"]\s*(?:#.*)?$', re.MULTILINE)
_FURTHER = 3  # modules from one to the next that import the version


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
        data = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as exc:
        raise PpmError(f"{path} can't be read: {exc}.") from exc
    reading = _Reading(folder, data)
    tool = reading.tool()
    place = reading.place() if not tool else None
    if place is None and not tool:
        raise PpmError(
            f"{folder}: it can't be found out where this project says its version.",
            hint="Raise it by hand and commit that; then publish without --bump, --changelog and --tag.",
        )
    return Project(folder=folder, name=reading.name, place=place, tool=tool)


class _Reading:
    """What the files of a project say, looked up as its build backend would."""

    def __init__(self, folder: Path, data: dict[str, Any]) -> None:
        self._folder = folder
        self._project = _table(data, "project")
        self._tool = _table(data, "tool")
        system = _table(data, "build-system")
        self._backend = str(system.get("build-backend", "setuptools"))
        self._required = {name for text in system.get("requires", ()) if (name := _name(str(text)))}
        self._poetry = _table(self._tool, "poetry")
        self.name = str(self._project.get("name") or self._poetry.get("name") or "") or self._setup("name")

    def place(self) -> Place | None:
        """Return where the version stands."""
        if "version" in self._project:
            return self._toml("project", "version")
        if "version" in self._poetry:
            return self._toml("tool", "poetry", "version")
        if self._backend.startswith("flit"):
            return self._flit()
        if self._backend.startswith("hatchling"):
            return self._hatch()
        if self._backend.startswith("pdm"):
            return self._matched(_table(self._tool, "pdm", "version"), _PDM)
        return self._setuptools() if self._backend.startswith("setuptools") else None

    def tool(self) -> str:
        """Return what reads the version from git's tags; "" where none does."""
        if "version" in self._project:
            return ""
        if self._backend.startswith("hatchling"):
            source = _table(self._tool, "hatch", "version").get("source", "regex")
            return {"vcs": "hatch-vcs"}.get(source, source if source in _BY_TAG else "")
        if self._backend.startswith("pdm"):
            return "pdm's source scm" if _table(self._tool, "pdm", "version").get("source") == "scm" else ""
        if _table(self._tool, "setuptools", "dynamic").get("version"):
            return ""
        provider = str(_table(self._tool, "scikit-build", "metadata", "version").get("provider", ""))
        tools = {canonicalize_name(name) for name in self._tool} | self._required
        if provider.endswith("setuptools_scm") or "use_scm_version" in self._text("setup.py"):
            return "setuptools-scm"
        return next((name for name in _BY_TAG if name in tools), "")

    def _toml(self, *keys: str) -> Place | None:
        table = ".".join(keys[:-1])
        return versions.place(self._folder / "pyproject.toml", f"pyproject.toml [{table}]", versions.in_toml(*keys))

    def _flit(self) -> Place | None:
        module = str(_table(self._tool, "flit", "module").get("name") or self.name.replace("-", "_"))
        if not module:
            module = str(_table(self._tool, "flit", "metadata").get("module", ""))
        # as flit has it: of several the first of these
        files = ("/__init__.py", "/version.py", "/_version.py", "/__version__.py", ".py")
        sources = (self._folder, self._folder / "src")
        return self._first(
            (source / f"{module.replace('.', '/')}{end}" for source in sources for end in files), "__version__"
        )

    def _hatch(self) -> Place | None:
        config = _table(self._tool, "hatch", "version")
        if config.get("source") == "code":
            return self._python(
                self._folder / str(config.get("path", "")), str(config.get("expression", "__version__"))
            )
        return self._matched(config, _HATCH) if config.get("source", "regex") == "regex" else None

    def _matched(self, config: dict[str, Any], default: re.Pattern[str]) -> Place | None:
        """The version that is matched in a file which the configuration names."""
        path, pattern = self._folder / str(config.get("path", "")), config.get("pattern")
        if not path.is_file() or config.get("source") not in (None, "file", "regex"):
            return None
        try:
            form = re.compile(pattern, re.MULTILINE) if isinstance(pattern, str) else default
        except re.error:
            return None
        group: str | int = "version" if "version" in form.groupindex else 1
        return versions.matched(path, self._shown(path), form, group) if form.groups else None

    def _setuptools(self) -> Place | None:
        named = _table(self._tool, "setuptools", "dynamic", "version")
        if "attr" in named:
            return self._attribute(str(named["attr"]))
        if "file" in named:
            return self._file(named["file"])
        try:
            written = versions.in_ini("metadata", "version")(self._text("setup.cfg").encode())[0]
        except (KeyError, ValueError):
            path = self._folder / "setup.py"
            return versions.place(path, path.name, versions.in_setup("version")) if path.is_file() else None
        kind, _, what = (part.strip() for part in written.partition(":"))
        if kind in ("attr", "file"):
            return self._attribute(what) if kind == "attr" else self._file(what)
        return versions.place(
            self._folder / "setup.cfg", "setup.cfg [metadata]", versions.in_ini("metadata", "version")
        )

    def _setup(self, key: str) -> str:
        """What setup.cfg or else setup.py says a `key` of the metadata is; "" where neither does plainly."""
        for file, read in (("setup.cfg", versions.in_ini("metadata", key)), ("setup.py", versions.in_setup(key))):
            try:
                return read(self._text(file).encode())[0]
            except (KeyError, ValueError):
                continue
        return ""

    def _attribute(self, dotted: str) -> Place | None:
        module, _, name = dotted.rpartition(".")
        inner = module.replace(".", "/")
        ends = (".py", "/__init__.py")
        return self._first((source / f"{inner}{end}" for source in self._sources() for end in ends), name)

    def _sources(self) -> Iterator[Path]:
        """The folders that packages may be in."""
        setuptools = _table(self._tool, "setuptools")
        where = _table(setuptools, "packages", "find").get("where", ())
        named = [_table(setuptools, "package-dir").get(""), *(where if isinstance(where, list) else ())]
        yield from (self._folder / one for one in (*named, ".", "src", "lib") if isinstance(one, str))

    def _file(self, named: object) -> Place | None:
        path = self._folder / str(named[0] if isinstance(named, list) and len(named) == 1 else named)
        return versions.place(path, self._shown(path), versions.in_text) if path.is_file() else None

    def _python(self, path: Path, name: str, further: int = _FURTHER) -> Place | None:
        """Where a module gives `name` its value; in another of its package, where it imports it from there."""
        if not path.is_file():
            return None
        found = versions.place(path, self._shown(path), versions.in_python(name))
        if found is not None or not further:
            return found
        for node in _imports(path):
            for alias in node.names:
                if (alias.asname or alias.name) == name and node.module:
                    inner = node.module.split(".")
                    if not node.level and inner.pop(0) != path.parent.name:
                        continue
                    top = path.parents[max(node.level - 1, 0)].joinpath(*inner)
                    others = (top.with_suffix(".py"), top / "__init__.py")
                    if found := self._first(others, alias.name, further - 1):
                        return found
        return None

    def _first(self, paths: Iterable[Path], name: str, further: int = _FURTHER) -> Place | None:
        return next((found for path in paths if (found := self._python(path, name, further))), None)

    def _text(self, name: str) -> str:
        try:
            return (self._folder / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return ""

    def _shown(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix() if path.is_relative_to(self._folder) else str(path)


def _imports(path: Path) -> list[ast.ImportFrom]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return []
    return [node for node in tree.body if isinstance(node, ast.ImportFrom)]


def _table(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    for key in keys:
        found = values.get(key)
        values = found if isinstance(found, dict) else {}
    return values


def _name(text: str) -> str:
    try:
        return canonicalize_name(Requirement(text).name)
    except InvalidRequirement:
        return ""
