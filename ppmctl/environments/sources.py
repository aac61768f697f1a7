"""Files in which people keep what they need → requirements: those of pip, pyproject, conda and pylock.

What can't be kept in an environment is named with its place, never dropped in silence; an option's value is not
repeated, since index URLs hold credentials.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppmctl.dists import normalise, one_line
from ppmctl.environments import conda, lock, pip_file
from ppmctl.environments.requirement import Requirement, parse
from ppmctl.errors import UsageError
from ppmctl.files import whose

MAX_SIZE = 8 << 20  # bytes


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What a file asks for. `notes` are for people; `name` is what the file calls itself, or "".

    Of `guessed` it is not sure that they are projects of a Python index. `lock` is a pylock.toml as it was read.
    """

    requirements: tuple[Requirement, ...]
    notes: tuple[str, ...] = ()
    name: str = ""
    guessed: frozenset[str] = frozenset()
    lock: bytes | None = None


def read(path: Path, *, extras: Sequence[str] = (), groups: Sequence[str] = ()) -> Imported:
    """Read the file at `path`, whose name says what it is. `extras` and `groups` are those of a pyproject.toml.

    UsageError says which line is wrong.
    """
    kind = _kind(path)
    if (extras or groups) and kind is not _pyproject:
        raise UsageError(f"{path} has no extras and no groups.", hint="--extra and --group are for a pyproject.toml.")
    if kind is _pyproject:
        return _pyproject(path, extras, groups)
    return kind(path)


def _kind(path: Path) -> Callable[..., Imported]:
    name = path.name.lower()
    if name == "pyproject.toml":
        return _pyproject
    if name.startswith("pylock") and name.endswith(".toml"):
        return _pylock
    if name.endswith((".txt", ".in")):
        return _requirements
    if name.endswith((".yml", ".yaml")):
        return _conda
    raise UsageError(
        f"{path}: it is not known what that is.",
        hint="Its name says it: requirements.txt, pyproject.toml, environment.yml or pylock.toml.",
    )


def read_text(path: Path) -> str:
    """The text of a file; UsageError where it can't be read, or is too large to be such a file."""
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise UsageError(f"{path} can't be read: {exc.strerror}.", hint=whose(path)) from exc
    if len(content) > MAX_SIZE:
        raise UsageError(f"{path} has over {MAX_SIZE >> 20} MB.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeError as exc:
        raise UsageError(f"{path} is not UTF-8 text.") from exc


def _requirements(path: Path) -> Imported:
    found = pip_file.read(path, read_text)
    return Imported(requirements=found.requirements, notes=found.notes)


def _conda(path: Path) -> Imported:
    found = conda.read(read_text(path), str(path))
    return Imported(requirements=found.requirements, notes=found.notes, name=found.name, guessed=found.guessed)


def _pylock(path: Path) -> Imported:
    text = read_text(path)
    content = text.encode()
    return Imported(requirements=lock.read(content, where=str(path)).requirements, lock=content)


def _pyproject(path: Path, extras: Sequence[str], groups: Sequence[str]) -> Imported:
    try:
        values = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as exc:
        raise UsageError(f"{path} is not TOML: {one_line(exc)}.") from exc
    project = values.get("project")
    if not isinstance(project, dict):
        if groups and "dependency-groups" in values:
            project = {"name": "", "dependencies": []}
        else:
            hint = (
                "Poetry's own table is not read: `poetry export` writes a requirements.txt."
                if "tool" in values
                else ""
            )
            raise UsageError(f"{path} has no [project] table.", hint=hint)
    if "dependencies" in project.get("dynamic", ()):
        raise UsageError(
            f"{path} leaves its dependencies to the build (dynamic).", hint="Import the file they are in."
        )
    own = normalise(str(project.get("name", "")))
    found = _parse(project.get("dependencies", []), f"{path}, [project] dependencies")
    optional = project.get("optional-dependencies", {})
    for extra in extras:
        found += _extra(own, optional, extra, path, frozenset())
    for group in groups:
        found += _parse(_group(values.get("dependency-groups", {}), group, path), f"{path}, group {group}")
    left = sorted({normalise(extra) for extra in optional} - {normalise(extra) for extra in extras})
    notes = (f"Its extras {', '.join(left)} were left out (--extra NAME).",) if left else ()
    return Imported(requirements=tuple(found), notes=notes, name=own)


def _extra(own: str, optional: Any, extra: str, path: Path, seen: frozenset[str]) -> list[Requirement]:
    named = {normalise(str(name)): listed for name, listed in optional.items()} if isinstance(optional, dict) else {}
    wanted = normalise(extra)
    if wanted not in named:
        known = ", ".join(sorted(named))
        raise UsageError(f"{path} has no extra {extra!r}.", hint=f"It has: {known}." if known else "")
    found = []
    for requirement in _parse(named[wanted], f"{path}, extra {extra}"):
        if requirement.name != own:
            found.append(requirement)
            continue
        for other in requirement.extras:  # acme[all] = ["acme[plot,db]"]
            if normalise(other) not in seen | {wanted}:
                found += _extra(own, optional, other, path, seen | {wanted})
    return found


def _group(groups: Any, group: str, path: Path) -> tuple[str, ...]:
    from packaging.dependency_groups import DependencyGroupResolver
    from packaging.errors import ExceptionGroup as Failures  # PEP 654's, on a Python without

    try:
        return tuple(str(found) for found in DependencyGroupResolver(groups).resolve(group))
    except (LookupError, TypeError, ValueError, Failures) as exc:
        raise UsageError(f"{path} has no readable group {group!r}: {one_line(exc)}.") from exc


def _parse(listed: Any, where: str) -> list[Requirement]:
    if not isinstance(listed, Iterable) or isinstance(listed, (str, dict)):
        raise UsageError(f"{where}: it is not a list.")
    return [parse(str(text), where=where) for text in listed]
