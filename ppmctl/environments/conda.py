"""Read the requirements in conda's environment.yml: the pip section as it is, and translated packages of conda."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources
from typing import Any

from ppmctl.distributions.distribution import normalise, one_line
from ppmctl.environments.imported import Imported, Lines, shown
from ppmctl.environments.requirement import Requirement, parse
from ppmctl.environments.requirements_txt import Reading
from ppmctl.environments.source import Source
from ppmctl.errors import UsageError
from ppmctl.secret import masked

_OWN = frozenset({"python", "pip"})  # every virtual environment has them
_SPEC = re.compile(
    r"(?:[\w./-]+::)?(?P<name>[A-Za-z0-9_][\w.-]*)\s*(?P<version>[^\s\[]*)(?P<rest>[^\[]*)(?:\[(?P<more>[^]]*)\])?"
)
_KEY = re.compile(r"(?P<key>\w+)\s*=\s*(?:'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\"|(?P<bare>[^,\s]*))\s*(?:,|$)")
_EXACT = re.compile(r"=?=?(?P<version>[\w.!+*]+)(?:=[\w.*]+)?")


def read(source: Source) -> Imported:
    """Return what the file requires. Raise UsageError if it can't be read."""
    from ppmctl import yaml_text

    text = source.text()
    try:
        values = yaml_text.load(text)
    except yaml_text.InvalidYaml as exc:
        raise UsageError(exc.in_file(source)) from None  # its cause may quote a secret
    listed = values.get("dependencies") if isinstance(values, dict) else None
    if not isinstance(listed, list):
        raise UsageError(f"{source} has no list of dependencies.", hint="Is it an environment.yml?")
    reading, lines = Reading(name=str(values.get("name") or "")), Lines(source, text)
    for entry in listed:
        if isinstance(entry, str):
            _conda(entry, reading, lines.where(entry))
        elif isinstance(entry, dict) and set(entry) == {"pip"} and isinstance(entry["pip"], list):
            for line in map(str, entry["pip"]):
                reading.line(line, lines.where(line), source, (), constrains=False)
        else:
            raise UsageError(f"{source}: {one_line(masked(str(entry)))!r} is neither a package nor a list for pip.")
    if values.get("channels"):
        reading.notes.append(f"{source}: the channels were left out: everything is installed from the index.")
    reading.finish(source)
    return reading


def _conda(entry: str, reading: Imported, where: str) -> None:
    spec = _SPEC.fullmatch(entry.strip())
    name = normalise(spec["name"]) if spec is not None else ""
    if spec is None or "://" in entry or spec["name"].startswith("_"):
        reading.leave(entry, where, "only conda has it.")
    elif name in _OWN:
        reading.notes.append(f"{where}: {shown(entry)} was left out: every virtual environment has it.")
    elif not (pypi := _pypi_name(name)):
        reading.leave(entry, where, "it is not a Python package, so no Python index has it.")
    elif (requirement := _translated(spec["name"] if pypi == name else pypi, _version(spec), where)) is None:
        reading.leave(entry, where, "only conda understands its version: write NAME and versions as for pip.")
    else:
        reading.requirements.append(requirement)
        if pypi == name:
            reading.guessed.add(requirement.name)
        if requirement.text != entry:
            reading.notes.append(f"{where}: {shown(entry)} became {shown(requirement.text)}.")


def _pypi_name(name: str) -> str:
    """Return what a Python index calls a package of conda: usually the same; "" for what is not of Python."""
    table = names()
    if name in table["pypi"]:
        return str(table["pypi"][name])
    other = table["not_python"]
    return "" if name in other["names"] or name.startswith(tuple(other["prefixes"])) else name


@cache
def names() -> dict[str, Any]:
    """Return the table of names, by hand: see the file."""
    with resources.files(__package__).joinpath("conda_names.toml").open("rb") as file:
        return tomllib.load(file)


def _version(spec: re.Match[str]) -> str:
    """Return the version of a package: numpy=1.26, 'numpy >=1.2,<2' or numpy[version='>=1.2']."""
    for key in _KEY.finditer(spec["more"] or ""):
        if key["key"] == "version":  # what is in brackets wins
            return (key["single"] or key["double"] or key["bare"] or "").strip()
    return str(spec["version"] + spec["rest"]).strip()


def _translated(name: str, version: str, where: str) -> Requirement | None:
    """Return the same requirement for pip, or None. In conda = compares a prefix, and a third part is a build."""
    exact = _EXACT.fullmatch(version.replace(" ", "=") if re.fullmatch(r"[\d.]+ \S+", version) else version)
    if version in ("", "*"):
        text = name
    elif exact is not None:
        is_prefix = not version.startswith("==") and version.count("=") == 1 and not exact["version"].endswith("*")
        text = f"{name}=={exact['version']}{'.*' if is_prefix else ''}"
    else:
        text = f"{name}{version}"
    try:
        return parse(text, where=where)
    except UsageError:
        return None
