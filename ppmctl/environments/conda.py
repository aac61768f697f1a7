"""Read the requirements in conda's environment.yml: the pip section as it is, and translated packages of conda."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ppmctl.distributions.distribution import normalise, one_line
from ppmctl.environments.imported import Imported, read_text
from ppmctl.environments.requirement import Requirement, parse
from ppmctl.errors import UsageError
from ppmctl.secret import masked

# Packages of conda that no Python index has, and tools that make an environment.
_NOT_PYTHON = frozenset(
    {"python", "pip", "conda", "mamba", "nodejs", "r-base", "cudatoolkit", "openssl", "compilers"}
)
_SPEC = re.compile(r"(?:[\w./-]+::)?(?P<name>[A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?\s*(?P<version>[^\s\[]*)(?P<rest>.*)")
_EXACT = re.compile(r"=?=?(?P<version>[\w.!+*]+)(?:=[\w.*]+)?")


def read(path: Path) -> Imported:
    """Return what the file at `path` requires. Raise UsageError if it can't be read."""
    from ppmctl import yaml_text

    try:
        values = yaml_text.load(read_text(path))
    except yaml_text.InvalidYaml as exc:
        raise UsageError(exc.in_file(path)) from None  # its cause may quote a secret
    listed = values.get("dependencies") if isinstance(values, dict) else None
    if not isinstance(listed, list):
        raise UsageError(f"{path} has no list of dependencies.", hint="Is it an environment.yml?")
    imported = Imported(name=str(values.get("name") or ""))
    for entry in listed:
        if isinstance(entry, str):
            _conda(entry, imported, path)
        elif isinstance(entry, dict) and set(entry) == {"pip"} and isinstance(entry["pip"], list):
            _pip(entry["pip"], imported, path)
        else:
            raise UsageError(f"{path}: {one_line(masked(str(entry)))!r} is neither a package nor a list for pip.")
    if values.get("channels"):
        imported.notes.append(f"{path}: the channels were left out: everything is installed from the index.")
    return imported


def _pip(listed: list[Any], imported: Imported, path: Path) -> None:
    for text in map(str, listed):
        if text.startswith("-"):
            option = masked(re.split(r"[\s=]", text)[0])
            imported.notes.append(f"{path}: {option} in the pip section was left out.")
            continue
        imported.requirements.append(parse(text, where=f"{path}, pip"))


def _conda(entry: str, imported: Imported, path: Path) -> None:
    spec = _SPEC.fullmatch(entry.strip())
    name = spec["name"] if spec is not None else "_"
    requirement, why = None, "only conda has it"
    if normalise(name) in _NOT_PYTHON or name.startswith(("lib", "r-")):
        why = "it is not a Python package"
    elif spec is not None and not name.startswith("_"):
        requirement, why = _translated(name, (spec["version"] + spec["rest"]).strip()), "only conda understands it"
    if requirement is None:
        imported.notes.append(f"{path}: {one_line(masked(entry))!r} was left out: {why}.")
        return
    imported.requirements.append(requirement)
    imported.guessed.add(requirement.name)
    if requirement.text != entry:
        imported.notes.append(f"{path}: {one_line(masked(entry))!r} became {requirement.text!r}.")


def _translated(name: str, version: str) -> Requirement | None:
    """Return the same requirement for pip, or None. In conda = compares a prefix, and a third part is a build."""
    exact = _EXACT.fullmatch(version.replace(" ", "=") if re.fullmatch(r"[\d.]+ \S+", version) else version)
    if not version:
        text = name
    elif exact is not None:
        is_prefix = not version.startswith("==") and version.count("=") == 1 and not exact["version"].endswith("*")
        text = f"{name}=={exact['version']}{'.*' if is_prefix else ''}"
    else:
        text = f"{name}{version}"
    try:
        return parse(text)
    except UsageError:
        return None
