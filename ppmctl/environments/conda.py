"""An environment.yml of conda's → requirements: its pip section as it is, and of conda's own what pip can have."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ppmctl.dists import normalise, one_line
from ppmctl.environments.requirement import Requirement, parse
from ppmctl.errors import UsageError

# What conda installs and no Python index has, or what makes an environment rather than being in it.
_NOT_PYTHON = frozenset(
    {"python", "pip", "conda", "mamba", "nodejs", "r-base", "cudatoolkit", "openssl", "compilers"}
)
_SPEC = re.compile(r"(?:[\w./-]+::)?(?P<name>[A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?\s*(?P<version>[^\s\[]*)(?P<rest>.*)")
_EXACT = re.compile(r"=?=?(?P<version>[\w.!+*]+)(?:=[\w.*]+)?")


@dataclass(kw_only=True)
class CondaFile:
    """What it asks for. Of `guessed` it is not sure that a Python index has them; `notes` are for people."""

    name: str = ""
    requirements: tuple[Requirement, ...] = ()
    guessed: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


@dataclass(kw_only=True)
class _Reading:
    where: str
    requirements: list[Requirement] = field(default_factory=list)
    guessed: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def read(text: str, where: str) -> CondaFile:
    """Read the text of the file `where`; UsageError says what is wrong."""
    import yaml

    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as exc:
        raise UsageError(f"{where} is not YAML: {one_line(exc)}.") from exc
    listed = values.get("dependencies") if isinstance(values, dict) else None
    if not isinstance(listed, list):
        raise UsageError(f"{where} has no list of dependencies.", hint="Is it an environment.yml?")
    reading = _Reading(where=where)
    for entry in listed:
        if isinstance(entry, str):
            _conda(entry, reading)
        elif isinstance(entry, dict) and set(entry) == {"pip"} and isinstance(entry["pip"], list):
            _pip(entry["pip"], reading)
        else:
            raise UsageError(f"{where}: {one_line(entry)!r} is neither a package nor a list for pip.")
    if values.get("channels"):
        reading.notes.append(f"{where}: its channels were left out: what is installed comes from the index.")
    return CondaFile(
        name=str(values.get("name") or ""),
        requirements=tuple(reading.requirements),
        guessed=frozenset(reading.guessed - {_.name for _ in reading.requirements if _.name not in reading.guessed}),
        notes=tuple(reading.notes),
    )


def _pip(listed: list[Any], reading: _Reading) -> None:
    for text in map(str, listed):
        if text.startswith("-"):
            option = re.split(r"[\s=]", text)[0]
            reading.notes.append(f"{reading.where}: {option} of its pip section was left out.")
            continue
        reading.requirements.append(parse(text, where=f"{reading.where}, pip"))


def _conda(entry: str, reading: _Reading) -> None:
    found = _SPEC.fullmatch(entry.strip())
    if found is None or found["name"].startswith("_"):
        reading.notes.append(f"{reading.where}: {one_line(entry)!r} was left out: only conda has it.")
        return
    name = found["name"]
    if normalise(name) in _NOT_PYTHON or name.startswith(("lib", "r-")):
        reading.notes.append(f"{reading.where}: {one_line(entry)!r} was left out: it is no package of Python's.")
        return
    requirement = _translated(name, (found["version"] + found["rest"]).strip())
    if requirement is None:
        reading.notes.append(f"{reading.where}: {one_line(entry)!r} was left out: only conda understands it.")
        return
    reading.requirements.append(requirement)
    reading.guessed.add(requirement.name)
    if requirement.text != entry:
        reading.notes.append(f"{reading.where}: {one_line(entry)!r} became {requirement.text!r}.")


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
