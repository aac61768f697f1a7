"""Read a requirements.txt and the local files that it includes, as pip does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import packaging.requirements

from ppmctl.distributions.distribution import one_line
from ppmctl.environments.imported import Imported, read_text
from ppmctl.environments.requirement import Requirement, parse
from ppmctl.errors import UsageError
from ppmctl.secret import masked

_COMMENT = re.compile(r"(?:^|\s)#.*$")
_OPTION = re.compile(r"(-[a-zA-Z]|--[a-z-]+)(?:[= ]\s*|(?<=-[a-zA-Z])(?=[^\s=]))?(.*)", re.DOTALL)
_OWN_OPTIONS = re.compile(r"\s--[a-z].*$", re.DOTALL)  # after a requirement: --hash=…
_NESTED = ("-r", "--requirement", "-c", "--constraint")
_LOCAL = re.compile(r"(?:file:|\.{0,2}/|[A-Za-z]:\\)|\.(?:whl|tar\.gz|zip)$")
_URL = re.compile(r"[a-z+]+://")


@dataclass(kw_only=True)
class _Reading(Imported):
    constraints: dict[str, list[Requirement]] = field(default_factory=dict)
    has_hashes: bool = False


def read(path: Path) -> Imported:
    """Return what the file at `path` requires. Raise UsageError for a line that can't be stored."""
    reading = _Reading()
    _read(path, reading, (), constrains=False)
    if reading.has_hashes:
        reading.notes.append(f"{path}: hashes were left out; `ppmctl env lock` finds those of all files.")
    names = {requirement.name for requirement in reading.requirements}
    if unused := sorted(set(reading.constraints) - names):
        reading.notes.append(f"Constraints on other projects were left out: {', '.join(unused)}.")
    reading.requirements = [_narrow(requirement, reading.constraints) for requirement in reading.requirements]
    return reading


def _read(path: Path, reading: _Reading, within: tuple[Path, ...], *, constrains: bool) -> None:
    if path.resolve() in within:
        raise UsageError(f"{path} names itself, through {within[-1]}.")
    for number, line in _lines(read_text(path)):
        where = f"{path}:{number}"
        if line.startswith("-"):
            option, value = _option(line, where)
            if option not in _NESTED:
                shown = one_line(masked(option))
                reading.notes.append(f"{where}: {shown} was left out: an environment has no options.")
                continue
            if "${" in value:
                raise UsageError(f"{where}: {option} has a variable in it.", hint="Write the path of the file.")
            if not value.isprintable():
                raise UsageError(f"{where}: {option} does not name a file.")
            if _URL.match(value) and not value.startswith("file:"):
                raise UsageError(f"{where}: {option} names a URL.", hint="Download that file, and import it.")
            inside = constrains or option in ("-c", "--constraint")
            _read(path.parent / value, reading, (*within, path.resolve()), constrains=inside)
            continue
        options = _OWN_OPTIONS.search(line)
        reading.has_hashes |= options is not None and "--hash" in options.group()
        requirement = _requirement(_OWN_OPTIONS.sub("", line), where)
        into = reading.constraints.setdefault(requirement.name, []) if constrains else reading.requirements
        into.append(requirement)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines with their numbers, continued lines joined, without comments and empty lines.

    Only an end of line that everybody sees ends one: pip ends a line at others too, such as U+2028.
    """
    joined, first = "", 0
    for number, line in enumerate([*re.split(r"\r?\n", text), ""], start=1):
        first = first or number
        # a comment ends with its line, even after a backslash
        if line.endswith("\\") and not _COMMENT.search(line):
            joined += line[:-1]
            continue
        if whole := _COMMENT.sub("", joined + line).strip():
            yield first, whole
        joined, first = "", 0


def _option(line: str, where: str) -> tuple[str, str]:
    """Return an option and its value. Raise UsageError for an editable requirement."""
    match = _OPTION.fullmatch(line)
    option, value = (match[1], match[2].strip()) if match else (line.split()[0], "")
    if option in ("-e", "--editable"):
        raise UsageError(
            f"{where}: an editable requirement is a local folder.", hint="Publish it, and name the project."
        )
    return option, value


def _requirement(text: str, where: str) -> Requirement:
    if _URL.match(text) and not text.startswith("file:"):
        raise UsageError(f"{where}: a URL without a name.", hint="Write NAME @ URL, so that its name is known.")
    if _LOCAL.search(text.partition(";")[0].strip()) and "@" not in text:
        raise UsageError(f"{where}: a local file.", hint="Publish it, and name the project.")
    return parse(text, where=where)


def _narrow(requirement: Requirement, constraints: dict[str, list[Requirement]]) -> Requirement:
    """Add the constraints that apply on every machine to a requirement."""
    if requirement.url:
        return requirement
    parsed = packaging.requirements.Requirement(requirement.text)
    for constraint in constraints.get(requirement.name, ()):
        other = packaging.requirements.Requirement(constraint.text)
        if other.marker is None or str(other.marker) == requirement.marker:
            parsed.specifier &= other.specifier
    return parse(str(parsed))
