"""Read requirements from the files of pip, pyproject.toml, conda, Pipenv, setuptools and pylock.toml.

What an environment can't store is reported, but not the values of options: an index URL can hold a credential.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from ppmctl.client.http import Transport
from ppmctl.distributions import lock
from ppmctl.distributions.distribution import normalise, one_line
from ppmctl.environments import conda, pipenv, requirements_txt, setup_cfg
from ppmctl.environments.imported import Imported, Lines, listed
from ppmctl.environments.requirement import Requirement, parse
from ppmctl.environments.source import STDIN, Source
from ppmctl.errors import UsageError
from ppmctl.secret import masked

FORMS = ("requirements", "pyproject", "yaml", "pylock", "pipfile", "pipfile-lock", "setup-cfg")
# a file that is not read → the command that makes one that is
_EXPORTED = {
    "uv.lock": "uv export --no-emit-project --format pylock.toml --output-file pylock.toml",
    "poetry.lock": "poetry export --output requirements.txt",
    "pdm.lock": "pdm export --output requirements.txt",
    "conda-lock.yml": "conda env export > environment.yml",
    "setup.py": "uv pip compile setup.py --output-file requirements.txt",
}


def read(
    name: str | Path,
    *,
    form: str | None = None,
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
    transport: Transport | None = None,
    stdin: IO[bytes] | None = None,
) -> Imported:
    """Return what a file requires: at a path, or with a `transport` at a URL, or for STDIN what `stdin` has.

    `form` is one of FORMS; by default the file's name decides. `extras` and `groups` are those of a pyproject.toml, a
    setup.cfg or a Pipfile. Raise UsageError if the file can't be read.
    """
    source = Source(name=str(name), transport=transport, stdin=stdin)
    form = form or _form(source)
    if form == "pyproject":
        return _pyproject(source, extras, groups)
    if form == "setup-cfg" and not groups:
        return setup_cfg.read(source, extras)
    if form in ("pipfile", "pipfile-lock") and not extras:
        return pipenv.read(source, groups, is_lock=form == "pipfile-lock")
    if extras or groups:
        raise UsageError(
            f"{source} has no {'extras' if extras else 'groups'}.",
            hint="--extra is for a pyproject.toml or setup.cfg, --group for a pyproject.toml or Pipfile.",
        )
    readers = {"requirements": requirements_txt.read, "yaml": conda.read, "pylock": _pylock}
    return readers[form](source)


def _form(source: Source) -> str:
    """Return the form that a file's name tells. Raise UsageError if it tells none that is read."""
    name = source.filename.lower()
    if source.name == STDIN or name.endswith((".txt", ".in")):
        return "requirements"
    if name.startswith("pylock") and name.endswith(".toml"):
        return "pylock"
    known = {
        "pyproject.toml": "pyproject",
        "pipfile": "pipfile",
        "pipfile.lock": "pipfile-lock",
        "setup.cfg": "setup-cfg",
    }
    if name in known:
        return known[name]
    if name in _EXPORTED:
        raise UsageError(f"{source} is not read.", hint=f"Import what this command writes: {_EXPORTED[name]}")
    if name.endswith((".yml", ".yaml")):
        return "yaml"
    raise UsageError(
        f"{source}: this kind of file is not known.",
        hint=f"The name decides, such as requirements.txt or environment.yml; or --format {'|'.join(FORMS)}",
    )


def _pylock(source: Source) -> Imported:
    text = source.text()
    pins = lock.read(text, where=str(source)).pins
    return Imported(requirements=[parse(pin.text, where=str(source)) for pin in pins], lock=text)


def _pyproject(source: Source, extras: Sequence[str], groups: Sequence[str]) -> Imported:
    text = source.text()
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise UsageError(f"{source} is not TOML: {one_line(exc)}.") from exc
    project = values.get("project")
    if not isinstance(project, dict):
        if not groups or "dependency-groups" not in values:
            hint = f"Poetry's own table is not read: {_EXPORTED['poetry.lock']}"
            raise UsageError(f"{source} has no [project] table.", hint=hint if "tool" in values else "")
        project = {}
    dynamic, optional = (project.get(key) for key in ("dynamic", "optional-dependencies"))
    if isinstance(dynamic, list) and "dependencies" in dynamic:
        raise UsageError(
            f"{source} leaves its dependencies to the build (dynamic).", hint="Import the file that has them."
        )
    optional = optional if isinstance(optional, dict) else {}
    reading = _Pyproject(source, text, normalise(str(project.get("name", ""))), optional)
    requirements = reading.parsed(project.get("dependencies", []), "[project] dependencies")
    for extra in extras:
        requirements += reading.of_extra(extra, frozenset())
    for group in groups:
        requirements += reading.parsed(_group(values.get("dependency-groups", {}), group, source), f"group {group}")
    left = {normalise(extra) for extra in optional} - {normalise(extra) for extra in extras}
    imported = reading.imported
    imported.requirements += requirements
    imported.notes += [f"The extras {listed(left)} were left out (--extra NAME)."] if left else []
    return imported


class _Pyproject:
    """Reads lists of requirements of a pyproject.toml, and its extras, which may name each other."""

    def __init__(self, source: Source, text: str, name: str, optional: dict[str, Any]) -> None:
        self.imported = Imported(name=name)
        self._source = source
        self._lines = Lines(source, text)
        self._optional = {normalise(extra): texts for extra, texts in optional.items()}

    def parsed(self, texts: Any, where: str) -> list[Requirement]:
        if not isinstance(texts, Iterable) or isinstance(texts, (str, dict)):
            raise UsageError(f"{self._source}, {where}: this is not a list.")
        taken = (self.imported.take(str(text), self._lines.where(str(text))) for text in texts)
        return [requirement for requirement in taken if requirement is not None]

    def of_extra(self, extra: str, seen: frozenset[str]) -> list[Requirement]:
        wanted = normalise(extra)
        if wanted not in self._optional:
            known = listed(self._optional)
            raise UsageError(f"{self._source} has no extra {extra!r}.", hint=f"It has: {known}." if known else "")
        seen |= {wanted}
        requirements = []
        for requirement in self.parsed(self._optional[wanted], f"extra {extra}"):
            if requirement.name != self.imported.name:
                requirements.append(requirement)
                continue
            for other in requirement.extras:  # acme[all] = ["acme[plot,db]"]
                if normalise(other) not in seen:
                    requirements += self.of_extra(other, seen)
        return requirements


def _group(groups: Any, group: str, source: Source) -> tuple[str, ...]:
    from packaging.dependency_groups import DependencyGroupResolver

    try:
        return tuple(map(str, DependencyGroupResolver(groups).resolve(group)))
    except (LookupError, TypeError, ValueError, ExceptionGroup) as exc:
        raise UsageError(f"{source} has no readable group {group!r}: {one_line(masked(str(exc)))}.") from exc
