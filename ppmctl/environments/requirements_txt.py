"""Read a requirements.txt and the files that it includes, as pip does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import packaging.requirements

from ppmctl.distributions.environment_revision import MAX_REQUIREMENTS
from ppmctl.environments.imported import Imported, shown
from ppmctl.environments.requirement import Requirement, parse
from ppmctl.environments.source import Source
from ppmctl.errors import PpmError, UsageError

_COMMENT = re.compile(r"(?:^|\s)#.*$")
_OPTION = re.compile(r"(-[a-zA-Z]|--[a-z-]+)(?:[= ]\s*|(?<=-[a-zA-Z])(?=[^\s=]))?(.*)", re.DOTALL)
_OWN_OPTIONS = re.compile(r"\s--[a-z].*$", re.DOTALL)  # after a requirement: --hash=…
_NAME = re.compile(r"--[a-z-]+")
_NESTED = ("-r", "--requirement", "-c", "--constraint")
_EDITABLE = ("-e", "--editable")
_MAX_FILES = 1_000
_MAX_DEPTH = 20  # of files in files


class TooLarge(UsageError):
    """An import has more files or entries than are read."""


@dataclass(kw_only=True)
class Reading(Imported):
    """What is read of a list of lines; the constraints are applied at its end."""

    constraints: dict[str, list[Requirement]] = field(default_factory=dict)
    has_hashes: bool = False
    files: int = 0
    entries: int = 0

    def line(self, text: str, where: str, source: Source, within: tuple[str, ...], *, constrains: bool) -> None:
        """Read a line of the file `source`, which `within` includes. Raise TooLarge."""
        self.entries += 1
        if self.entries > MAX_REQUIREMENTS:
            raise TooLarge(f"{where}: {MAX_REQUIREMENTS} entries were read, and an environment takes no more.")
        match = _OPTION.fullmatch(text) if text.startswith("-") else None
        option, value = (match[1], match[2].strip()) if match else ("", "")
        if option in _NESTED:
            try:
                inside = constrains or option in ("-c", "--constraint")
                self.file(source.included(value), within, constrains=inside)
            except TooLarge:
                raise
            except PpmError as exc:
                self.leave(text, where, exc if isinstance(exc, UsageError) else UsageError(exc.message))
            return
        if text.startswith("-") and option not in _EDITABLE:
            name = shown(option or text.split()[0])
            self.notes.append(f"{where}: {name} was left out: an environment has no options.")
            return
        options = _OWN_OPTIONS.search(text)
        for name in dict.fromkeys(_NAME.findall(options.group()) if options else ()):
            self.has_hashes |= name == "--hash"
            if name != "--hash":
                self.notes.append(f"{where}: {name} was left out: an environment has no options.")
        requirement = self.take(_OWN_OPTIONS.sub("", text), where)
        if requirement is not None:
            into = self.constraints.setdefault(requirement.name, []) if constrains else self.requirements
            into.append(requirement)

    def file(self, source: Source, within: tuple[str, ...] = (), *, constrains: bool = False) -> None:
        """Read all lines of a file. Raise UsageError if it can't be read, PpmError if its server does not answer."""
        if source.identity in within:
            raise UsageError(f"{source} names itself.")
        if len(within) > _MAX_DEPTH:
            raise UsageError(f"{source} is included over {_MAX_DEPTH} levels deep.", hint="Import it alone.")
        self.files += 1
        if self.files > _MAX_FILES:
            hint = "Look for files that include each other several times."
            raise TooLarge(f"{source} is not read: {_MAX_FILES} files were included.", hint=hint)
        for number, line in _lines(source.text()):
            where = f"{source}:{number}"
            self.line(line, where, source, (*within, source.identity), constrains=constrains)

    def finish(self, source: Source) -> None:
        """Apply the constraints, and add the notes about the whole file."""
        if self.has_hashes:
            self.notes.append(f"{source}: hashes were left out; `ppmctl env lock` finds those of all files.")
        names = {requirement.name for requirement in self.requirements}
        if unused := sorted(set(self.constraints) - names):
            self.notes.append(f"Constraints on other projects were left out: {', '.join(unused)}.")
        self.requirements = [_narrow(requirement, self.constraints) for requirement in self.requirements]


def read(source: Source) -> Imported:
    """Return what the file requires. Raise UsageError if it can't be read."""
    reading = Reading()
    reading.file(source)
    reading.finish(source)
    return reading


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


def _narrow(requirement: Requirement, constraints: dict[str, list[Requirement]]) -> Requirement:
    """Add the constraints that apply on every machine to a requirement."""
    if requirement.url:
        return requirement
    parsed = packaging.requirements.Requirement(requirement.text)
    for constraint in constraints.get(requirement.name, ()):
        other = packaging.requirements.Requirement(constraint.text)
        if other.marker is None or str(other.marker) == requirement.marker:
            parsed.specifier &= other.specifier
    return parse(str(parsed), where=requirement.where)
