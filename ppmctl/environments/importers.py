"""Files in which people keep what they need → requirements: those of pip, pyproject, conda and pylock.

What can't be kept in an environment is named with its place, never dropped in silence; an option's value is not
repeated, since index URLs hold credentials.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ppmctl.distributions.distribution import normalise, one_line
from ppmctl.environments import conda, lock, requirements_txt
from ppmctl.environments.imported import Imported, read_text
from ppmctl.environments.requirement import Requirement, parse
from ppmctl.errors import UsageError


def read(path: Path, *, extras: Sequence[str] = (), groups: Sequence[str] = ()) -> Imported:
    """Read the file at `path`, whose name says what it is. `extras` and `groups` are those of a pyproject.toml.

    UsageError says which line is wrong.
    """
    name = path.name.lower()
    if name == "pyproject.toml":
        return _pyproject(path, extras, groups)
    if name.startswith("pylock") and name.endswith(".toml"):
        reader = _pylock
    elif name.endswith((".txt", ".in")):
        reader = requirements_txt.read
    elif name.endswith((".yml", ".yaml")):
        reader = conda.read
    else:
        raise UsageError(
            f"{path}: it is not known what that is.",
            hint="Its name says it: requirements.txt, pyproject.toml, environment.yml or pylock.toml.",
        )
    if extras or groups:
        raise UsageError(f"{path} has no extras and no groups.", hint="--extra and --group are for a pyproject.toml.")
    return reader(path)


def _pylock(path: Path) -> Imported:
    text = read_text(path)
    return Imported(requirements=[parse(pin.text) for pin in lock.read(text, where=str(path)).pins], lock=text)


def _pyproject(path: Path, extras: Sequence[str], groups: Sequence[str]) -> Imported:
    try:
        values = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as exc:
        raise UsageError(f"{path} is not TOML: {one_line(exc)}.") from exc
    project = values.get("project")
    if not isinstance(project, dict):
        if not groups or "dependency-groups" not in values:
            poetry = "Poetry's own table is not read: `poetry export` writes a requirements.txt."
            raise UsageError(f"{path} has no [project] table.", hint=poetry if "tool" in values else "")
        project = {}
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
    notes = [f"Its extras {', '.join(left)} were left out (--extra NAME)."] if left else []
    return Imported(requirements=found, notes=notes, name=own)


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
