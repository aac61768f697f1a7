"""An environment.yml of conda's → requirements: its pip section as it is, and of conda's own what pip can have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ppmctl.distributions.distribution import normalise, one_line
from ppmctl.environments.imported import Imported, read_text
from ppmctl.environments.requirement import Requirement, parse
from ppmctl.errors import UsageError

# What conda installs and no Python index has, or what makes an environment rather than being in it.
_NOT_PYTHON = frozenset(
    {"python", "pip", "conda", "mamba", "nodejs", "r-base", "cudatoolkit", "openssl", "compilers"}
)
_SPEC = re.compile(r"(?:[\w./-]+::)?(?P<name>[A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?\s*(?P<version>[^\s\[]*)(?P<rest>.*)")
_EXACT = re.compile(r"=?=?(?P<version>[\w.!+*]+)(?:=[\w.*]+)?")


def read(path: Path) -> Imported:
    """Read the file at `path`; UsageError says what is wrong."""
    import yaml

    try:
        values = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, RecursionError) as exc:
        raise UsageError(f"{path} is not YAML: {one_line(exc)}.") from exc
    listed = values.get("dependencies") if isinstance(values, dict) else None
    if not isinstance(listed, list):
        raise UsageError(f"{path} has no list of dependencies.", hint="Is it an environment.yml?")
    found = Imported(name=str(values.get("name") or ""))
    for entry in listed:
        if isinstance(entry, str):
            _conda(entry, found, path)
        elif isinstance(entry, dict) and set(entry) == {"pip"} and isinstance(entry["pip"], list):
            _pip(entry["pip"], found, path)
        else:
            raise UsageError(f"{path}: {one_line(entry)!r} is neither a package nor a list for pip.")
    if values.get("channels"):
        found.notes.append(f"{path}: its channels were left out: what is installed comes from the index.")
    return found


def _pip(listed: list[Any], found: Imported, path: Path) -> None:
    for text in map(str, listed):
        if text.startswith("-"):
            option = re.split(r"[\s=]", text)[0]
            found.notes.append(f"{path}: {option} of its pip section was left out.")
            continue
        found.requirements.append(parse(text, where=f"{path}, pip"))


def _conda(entry: str, found: Imported, path: Path) -> None:
    spec = _SPEC.fullmatch(entry.strip())
    name = spec["name"] if spec is not None else "_"
    requirement, why = None, "only conda has it"
    if normalise(name) in _NOT_PYTHON or name.startswith(("lib", "r-")):
        why = "it is no package of Python's"
    elif spec is not None and not name.startswith("_"):
        requirement, why = _translated(name, (spec["version"] + spec["rest"]).strip()), "only conda understands it"
    if requirement is None:
        found.notes.append(f"{path}: {one_line(entry)!r} was left out: {why}.")
        return
    found.requirements.append(requirement)
    found.guessed.add(requirement.name)
    if requirement.text != entry:
        found.notes.append(f"{path}: {one_line(entry)!r} became {requirement.text!r}.")


def _translated(name: str, version: str) -> Requirement | None:
    """conda's = means "starts with", its third part is a build."""
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
