"""Find where a project's version is written: in which file and at which place, or in git's tags."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from ppmctl import regular_file
from ppmctl.distributions.distribution import Filename
from ppmctl.errors import PpmError
from ppmctl.publishing import git, versions
from ppmctl.publishing.versions import Place, in_ini, in_setup

# Tools that take the version from git's tags, by their names in build-system.requires.
_BY_TAG = (
    *("setuptools-scm", "setuptools-git-versioning", "flit-scm", "versioneer", "versioningit"),
    *("poetry-dynamic-versioning", "uv-dynamic-versioning"),
)
_HATCH = re.compile(
    r'^(__version__|VERSION)(?: ?: ?str)? *= *([\'"])v?(?P<version>.+?)\2', re.IGNORECASE | re.MULTILINE
)
_PDM = re.compile(r'^__version__\s*=\s*[\'"](?P<version>.+?)[\'"]\s*(?:#.*)?$', re.MULTILINE)
# What setuptools calls a project without a name, and its version without one.
_NO_NAME, _NO_VERSION = "unknown", Version("0.0.0")
_ZEROS = re.compile(r"(?<![\d.])0+(?:\.0+)*(?![\d.])")  # a version of zeros in a tag
_MAX_IMPORTS = 3  # from one module to the next, that are followed to the version


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project: `name` is as it is written, "" if unknown. `place` is None if `tool` takes the version from git."""

    folder: Path
    name: str
    place: Place | None
    tool: str = ""


def read(folder: Path) -> Project:
    """Return the project in `folder`; raise PpmError if the place of its version can't be found."""
    files = _read(folder)
    tool = files.tool()
    place = files.place() if not tool else None
    if place is None and not tool:
        raise PpmError(
            f"{folder}: can't find where this project's version is written.",
            hint="Raise it by hand and commit that; then publish without --bump, --changelog and --tag.",
        )
    return Project(folder=folder, name=files.name, place=place, tool=tool)


def name(folder: Path) -> str:
    """Return the name of the project in `folder` as it is written; "" if it can't be read."""
    try:
        return _read(folder).name
    except PpmError:
        return ""


def is_project(folder: Path) -> bool:
    """Return whether a build of `folder` can know a name: setuptools builds any folder, and makes one up."""
    try:
        return _read(folder).is_project()
    except PpmError:
        return True  # the build backend reports what is wrong with the file


def require_written(folder: Path, built: Filename) -> None:
    """Raise PpmError if nobody wrote the name or the version of `built`, a file that was built from `folder`."""
    if built.project == _NO_NAME and not name(folder):
        raise PpmError(
            f"{built.project} {built.version}: nobody wrote the name of this project.",
            hint="Nothing was uploaded. Write the project's name and version into [project] of pyproject.toml.",
        )
    if any(built.version.release):
        return
    try:
        project = read(folder)
        is_written = project.place is not None and not any(project.place.version.release)
        tool = project.tool
    except PpmError:
        is_written, tool = False, ""
    if is_written or not (tool or built.version == _NO_VERSION):
        return
    hint = 'Write it into [project] of pyproject.toml: version = "0.1.0"'
    if tool:
        repository = git.find_repository(folder.resolve())
        if repository is not None and _ZEROS.search(repository.last_tag()):
            return
        hint = f"{tool} takes it from git's tags: git tag v0.1.0 (in a shallow clone: git fetch --unshallow --tags)"
    raise PpmError(
        f"{built.project} {built.version}: nobody wrote this version; build tools use it if they find none.",
        hint=f"Nothing was uploaded. {hint}",
    )


def _read(folder: Path) -> _Files:
    path = folder / "pyproject.toml"
    try:
        data = tomllib.loads(regular_file.read_text(path)) if path.exists() else {}
    except (OSError, ValueError) as exc:
        raise PpmError(f"{path} can't be read: {exc}.") from exc
    return _Files(folder, data)


class _Files:
    """The files of a project, read as its build backend reads them."""

    def __init__(self, folder: Path, data: dict[str, Any]) -> None:
        self._folder = folder
        self._project = _table(data, "project")
        self._tool = _table(data, "tool")
        system = _table(data, "build-system")
        self._backend = str(system.get("build-backend", "setuptools"))
        self._required = {name for text in system.get("requires", ()) if (name := _name(str(text)))}
        self._poetry = _table(self._tool, "poetry")
        static = self._project.get("name") or self._poetry.get("name")
        in_cfg = static or self._value("setup.cfg", in_ini("metadata", "name"))
        self.name = str(in_cfg or self._value("setup.py", in_setup("name")) or "")

    def is_project(self) -> bool:
        """Return whether something names the project, or can compute its name."""
        if self._project or (self._folder / "setup.py").is_file() or not self._backend.startswith("setuptools"):
            return True
        return self._value("setup.cfg", in_ini("metadata", "name")) is not None

    def place(self) -> Place | None:
        """Return the place of the version."""
        for keys, table in ((("project",), self._project), (("tool", "poetry"), self._poetry)):
            if "version" in table:
                return self._find(self._folder / "pyproject.toml", versions.in_toml(*keys, "version"), ".".join(keys))
        if self._backend.startswith("flit"):
            return self._flit()
        if self._backend.startswith("hatchling"):
            return self._hatch()
        if self._backend.startswith("pdm"):
            return self._match(_table(self._tool, "pdm", "version"), _PDM)
        return self._setuptools() if self._backend.startswith("setuptools") else None

    def tool(self) -> str:
        """Return the tool that takes the version from git's tags; "" if there is none."""
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

    def _flit(self) -> Place | None:
        module = str(_table(self._tool, "flit", "module").get("name") or self.name.replace("-", "_"))
        if not module:
            module = str(_table(self._tool, "flit", "metadata").get("module", ""))
        # flit takes the first of these that exists
        ends = ("/__init__.py", "/version.py", "/_version.py", "/__version__.py", ".py")
        return self._first((self._folder, self._folder / "src"), module, ends, "__version__")

    def _hatch(self) -> Place | None:
        config = _table(self._tool, "hatch", "version")
        if config.get("source") == "code":
            path = self._folder / str(config.get("path", ""))
            return self._python(path, str(config.get("expression", "__version__")))
        return self._match(config, _HATCH) if config.get("source", "regex") == "regex" else None

    def _match(self, config: dict[str, Any], default: re.Pattern[str]) -> Place | None:
        """Return the place that a pattern matches in a file; the configuration names both."""
        path, pattern = self._folder / str(config.get("path", "")), config.get("pattern")
        if not path.is_file() or config.get("source") not in (None, "file", "regex"):
            return None
        try:
            form = re.compile(pattern, re.MULTILINE) if isinstance(pattern, str) else default
        except re.error:
            return None
        group: str | int = "version" if "version" in form.groupindex else 1
        return versions.find_match(path, self._shown(path), form, group) if form.groups else None

    def _setuptools(self) -> Place | None:
        dynamic = _table(self._tool, "setuptools", "dynamic", "version")
        if "attr" in dynamic:
            return self._attribute(str(dynamic["attr"]))
        if "file" in dynamic:
            return self._file(dynamic["file"])
        in_cfg = in_ini("metadata", "version")
        value = self._value("setup.cfg", in_cfg)
        if value is None:
            path = self._folder / "setup.py"
            return self._find(path, in_setup("version")) if path.is_file() else None
        kind, _, target = (part.strip() for part in value.partition(":"))
        if kind in ("attr", "file"):
            return self._attribute(target) if kind == "attr" else self._file(target)
        return self._find(self._folder / "setup.cfg", in_cfg, "metadata")

    def _attribute(self, dotted: str) -> Place | None:
        module, _, name = dotted.rpartition(".")
        setuptools = _table(self._tool, "setuptools")
        where = _table(setuptools, "packages", "find").get("where", ())
        named = [_table(setuptools, "package-dir").get(""), *(where if isinstance(where, list) else ())]
        sources = (self._folder / one for one in (*named, ".", "src", "lib") if isinstance(one, str))
        return self._first(sources, module, (".py", "/__init__.py"), name)

    def _file(self, value: object) -> Place | None:
        path = self._folder / str(value[0] if isinstance(value, list) and len(value) == 1 else value)
        return self._find(path, versions.in_text) if path.is_file() else None

    def _first(self, sources: Iterable[Path], module: str, ends: Sequence[str], name: str) -> Place | None:
        """Return the place of the variable `name` of a module, in the first folder of sources that has it."""
        paths = (source / f"{module.replace('.', '/')}{end}" for source in sources for end in ends)
        return next((place for path in paths if (place := self._python(path, name))), None)

    def _python(self, path: Path, name: str, further: int = _MAX_IMPORTS) -> Place | None:
        """Return the place of a module's variable, also if it is imported from another module of the package."""
        if not path.is_file():
            return None
        place = self._find(path, versions.in_python(name))
        if place is not None or not further:
            return place
        for node in _imports(path):
            for alias in node.names:
                if (alias.asname or alias.name) == name and node.module:
                    inner = node.module.split(".")
                    if not node.level and inner.pop(0) != path.parent.name:
                        continue
                    top = path.parents[max(node.level - 1, 0)].joinpath(*inner)
                    for other in (top.with_suffix(".py"), top / "__init__.py"):
                        if place := self._python(other, alias.name, further - 1):
                            return place
        return None

    def _find(self, path: Path, read: versions.Reader, table: str = "") -> Place | None:
        return versions.find(path, self._shown(path) + (f" [{table}]" if table else ""), read)

    def _value(self, name: str, read: versions.Reader) -> str | None:
        value = versions.read_or_none(read, self._text(name).encode())
        return value[0] if value else None

    def _text(self, name: str) -> str:
        try:
            return regular_file.read_text(self._folder / name)
        except (OSError, UnicodeDecodeError):
            return ""

    def _shown(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix() if path.is_relative_to(self._folder) else str(path)


def _imports(path: Path) -> list[ast.ImportFrom]:
    try:
        tree = ast.parse(regular_file.read(path))
    except (SyntaxError, ValueError):
        return []
    return [node for node in tree.body if isinstance(node, ast.ImportFrom)]


def _table(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    for key in keys:
        value = values.get(key)
        values = value if isinstance(value, dict) else {}
    return values


def _name(text: str) -> str:
    try:
        return canonicalize_name(Requirement(text).name)
    except InvalidRequirement:
        return ""
