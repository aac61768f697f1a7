"""Read requirements from the files of pip, pyproject.toml, conda and pylock.toml.

What an environment can't store is reported, but not the values of options: an index URL can hold a credential.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ppmctl.distributions import lock
from ppmctl.distributions.distribution import normalise, one_line
from ppmctl.environments import conda, requirements_txt
from ppmctl.environments.imported import Imported, read_text
from ppmctl.environments.requirement import Requirement, parse
from ppmctl.errors import UsageError
from ppmctl.secret import masked


def read(path: Path, *, extras: Sequence[str] = (), groups: Sequence[str] = ()) -> Imported:
    """Return what the file at `path` requires; its name decides its form. Raise UsageError with the wrong line.

    `extras` and `groups` are those of a pyproject.toml.
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
            f"{path}: this kind of file is not known.",
            hint="The name decides: requirements.txt, pyproject.toml, environment.yml or pylock.toml.",
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
            hint = "Poetry's own table is not read: `poetry export` writes a requirements.txt."
            raise UsageError(f"{path} has no [project] table.", hint=hint if "tool" in values else "")
        project = {}
    dynamic, optional = (project.get(key) for key in ("dynamic", "optional-dependencies"))
    if isinstance(dynamic, list) and "dependencies" in dynamic:
        raise UsageError(
            f"{path} leaves its dependencies to the build (dynamic).", hint="Import the file that has them."
        )
    own = normalise(str(project.get("name", "")))
    requirements = _parse(project.get("dependencies", []), f"{path}, [project] dependencies")
    optional = optional if isinstance(optional, dict) else {}
    for extra in extras:
        requirements += _extra(own, optional, extra, path, frozenset())
    for group in groups:
        requirements += _parse(_group(values.get("dependency-groups", {}), group, path), f"{path}, group {group}")
    left = sorted({normalise(extra) for extra in optional} - {normalise(extra) for extra in extras})
    notes = [f"The extras {', '.join(left)} were left out (--extra NAME)."] if left else []
    return Imported(requirements=requirements, notes=notes, name=own)


def _extra(own: str, optional: dict[str, Any], extra: str, path: Path, seen: frozenset[str]) -> list[Requirement]:
    named = {normalise(name): listed for name, listed in optional.items()}
    wanted = normalise(extra)
    if wanted not in named:
        known = ", ".join(sorted(named))
        raise UsageError(f"{path} has no extra {extra!r}.", hint=f"It has: {known}." if known else "")
    seen |= {wanted}
    requirements = []
    for requirement in _parse(named[wanted], f"{path}, extra {extra}"):
        if requirement.name != own:
            requirements.append(requirement)
            continue
        for other in requirement.extras:  # acme[all] = ["acme[plot,db]"]
            if normalise(other) not in seen:
                requirements += _extra(own, optional, other, path, seen)
    return requirements


def _group(groups: Any, group: str, path: Path) -> tuple[str, ...]:
    from packaging.dependency_groups import DependencyGroupResolver

    try:
        return tuple(map(str, DependencyGroupResolver(groups).resolve(group)))
    except (LookupError, TypeError, ValueError, ExceptionGroup) as exc:
        raise UsageError(f"{path} has no readable group {group!r}: {one_line(masked(str(exc)))}.") from exc


def _parse(listed: Any, where: str) -> list[Requirement]:
    if not isinstance(listed, Iterable) or isinstance(listed, (str, dict)):
        raise UsageError(f"{where}: this is not a list.")
    return [parse(str(text), where=where) for text in listed]
