"""A requirements.txt, as pip reads one → requirements. Files that it names are followed where they are local."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement as Parsed

from ppmctl.environments.imported import Imported, read_text
from ppmctl.environments.requirement import Requirement, parse
from ppmctl.errors import UsageError

_COMMENT = re.compile(r"(?:^|\s)#.*$")
_OPTION = re.compile(r"(-[a-zA-Z]|--[a-z-]+)(?:[= ]\s*|(?<=-[a-zA-Z])(?=[^\s=]))?(.*)", re.DOTALL)
_OWN_OPTIONS = re.compile(r"\s--[a-z].*$", re.DOTALL)  # behind a requirement: --hash=…
_NESTED = ("-r", "--requirement", "-c", "--constraint")
_LOCAL = re.compile(r"(?:file:|\.{0,2}/|[A-Za-z]:\\)|\.(?:whl|tar\.gz|zip)$")
_URL = re.compile(r"[a-z+]+://")


@dataclass(kw_only=True)
class _Reading(Imported):
    constraints: dict[str, list[Requirement]] = field(default_factory=dict)
    has_hashes: bool = False


def read(path: Path) -> Imported:
    """Read the file at `path` and those it names; UsageError names the line that can't be kept."""
    found = _Reading()
    _read(path, found, (), constrains=False)
    if found.has_hashes:
        found.notes.append(f"{path}: hashes were left out; `ppmctl env lock` finds those of all files.")
    names = {requirement.name for requirement in found.requirements}
    if unused := sorted(set(found.constraints) - names):
        found.notes.append(f"Constraints on what is not in the list were left out: {', '.join(unused)}.")
    found.requirements = [_narrow(requirement, found.constraints) for requirement in found.requirements]
    return found


def _read(path: Path, found: _Reading, within: tuple[Path, ...], *, constrains: bool) -> None:
    if path.resolve() in within:
        raise UsageError(f"{path} names itself, by way of {within[-1]}.")
    for number, line in _lines(read_text(path)):
        where = f"{path}:{number}"
        if line.startswith("-"):
            option, value = _option(line, where)
            if option not in _NESTED:
                found.notes.append(f"{where}: {option} was left out: an environment has no options.")
                continue
            if _URL.match(value) and not value.startswith("file:"):
                raise UsageError(
                    f"{where}: {option} names a URL.", hint="Download that file and import it by its name."
                )
            inside = constrains or option in ("-c", "--constraint")
            _read(path.parent / value, found, (*within, path.resolve()), constrains=inside)
            continue
        options = _OWN_OPTIONS.search(line)
        found.has_hashes |= options is not None and "--hash" in options.group()
        requirement = _requirement(_OWN_OPTIONS.sub("", line), where)
        into = found.constraints.setdefault(requirement.name, []) if constrains else found.requirements
        into.append(requirement)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines with their numbers: joined where they go on, without comments and what is empty."""
    joined, first = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        first = first or number
        # a comment ends at the end of its line, whatever its last character is
        commented = _COMMENT.search(line) is not None
        if line.endswith("\\") and not commented:
            joined += line[:-1]
            continue
        whole, begun = _COMMENT.sub("", joined + line).strip(), first
        joined, first = "", 0
        if whole:
            yield begun, whole
    if last := _COMMENT.sub("", joined).strip():
        yield first, last


def _option(line: str, where: str) -> tuple[str, str]:
    """Return an option and its value; UsageError where it names what is on this machine alone."""
    found = _OPTION.fullmatch(line)
    option, value = (found.group(1), found.group(2).strip()) if found else (line.split()[0], "")
    if option in ("-e", "--editable"):
        raise UsageError(
            f"{where}: an editable requirement is a folder of this machine.", hint="Publish it, and name the project."
        )
    return option, value


def _requirement(text: str, where: str) -> Requirement:
    if _URL.match(text) and not text.startswith("file:"):
        raise UsageError(f"{where}: a URL without a name.", hint="Write NAME @ URL, so that it is known what it is.")
    if _LOCAL.search(text.partition(";")[0].strip()) and "@" not in text:
        raise UsageError(f"{where}: a file of this machine.", hint="Publish it, and name the project.")
    return parse(text, where=where)


def _narrow(requirement: Requirement, constraints: dict[str, list[Requirement]]) -> Requirement:
    """A requirement with what constrains it, where that holds for every machine."""
    if requirement.url:
        return requirement
    parsed = Parsed(requirement.text)
    for constraint in constraints.get(requirement.name, ()):
        other = Parsed(constraint.text)
        if other.marker is None or str(other.marker) == requirement.marker:
            parsed.specifier &= other.specifier
    return parse(str(parsed))
