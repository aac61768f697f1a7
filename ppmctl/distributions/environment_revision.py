"""A revision of a shared environment, and the files that clients read of it (FILES)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ppmctl.distributions.shareable import requirement
from ppmctl.errors import UsageError

PREFIX = "ppm-env-"
MAX_NAME = 60  # characters
MAX_CHANGE = 300  # characters
MAX_REQUIREMENTS = 10_000
_MAX_LIST = 1 << 20  # characters of all requirements

REQUIREMENTS, CONSTRAINTS, CONDA = "requirements.txt", "constraints.txt", "environment.yml"
LOCK, LOCKED, ABOUT = "pylock.toml", "requirements-locked.txt", "env.json"
FILES = (REQUIREMENTS, CONSTRAINTS, CONDA, LOCK, LOCKED, ABOUT)
OF_LOCKS = frozenset({LOCK, LOCKED})  # only in locked revisions

_NAME = re.compile(r"[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]", re.ASCII)
NUMBER = re.compile(r"[1-9][0-9]{0,7}", re.ASCII)
_EXTRAS = re.compile(r"^([A-Za-z0-9._-]+)\s*\[[^\]]*\]\s*")


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A revision of an environment. UsageError is raised for invalid values.

    `name` is normalised; `number` counts from 1; `requirements` are PEP 508, as from `ordered`; `base` is
    the revision that was changed, after a deletion the last one, or None; `change` describes the change in one line;
    others than the owner may change a `shared` environment too; `lock` is a pylock.toml (PEP 751).
    """

    name: str
    number: int
    requirements: tuple[str, ...]
    change: str
    shared: bool = False
    base: int | None = None
    lock: str | None = None

    def __post_init__(self) -> None:
        if normalise(self.name) != self.name:
            raise UsageError(f"{self.name!r} is not the normalised name of an environment.")
        if not _is_number(self.number) or (self.base is not None and not _is_number(self.base)):
            raise UsageError("A revision is a whole number from 1.")
        if self.base is not None and self.base >= self.number:
            raise UsageError(f"Revision {self.number} can't be based on revision {self.base}.")
        if not isinstance(self.shared, bool):
            raise UsageError("An environment is shared or not: true or false.")
        is_line = self.change.isprintable() and self.change.strip() == self.change
        if not is_line or not 0 < len(self.change) <= MAX_CHANGE:
            raise UsageError(f"The change of a revision is one line of {MAX_CHANGE} characters at most.")
        if ordered(self.requirements) != self.requirements:
            raise UsageError("The requirements of a revision are sorted, and each is there once.")
        if self.lock is not None:
            from ppmctl.distributions import lock as locks

            locks.read(self.lock)

    @property
    def project(self) -> str:
        return PREFIX + self.name

    @property
    def filename(self) -> str:
        """Return the filename of its wheel."""
        return f"{distribution(self.name)}-{self.number}-py3-none-any.whl"

    @property
    def summary(self) -> str:
        """Return the summary in the metadata, from which `change_of` reads the change."""
        return f"Environment {self.name}, revision {self.number}: {self.change}"


@dataclass(frozen=True, kw_only=True)
class RevisionHead:
    """What the index needs of a revision. If it is `shared`, others than the owner may change the environment.

    `base` is the revision that was changed, or None.
    """

    number: int
    shared: bool
    base: int | None


def normalise(name: str) -> str:
    """Return the normalised form of an environment's name: `ML_base` is `ml-base`. Raise UsageError if invalid."""
    if len(name) <= MAX_NAME and _NAME.fullmatch(name):
        return canonicalize_name(name)
    raise UsageError(
        f"{name[:MAX_NAME]!r} can't be the name of an environment: letters, digits, and . _ - between them;"
        f" {MAX_NAME} characters at most."
    )


def named(text: str) -> str:
    """Return the normalised name that a user gave. Raise UsageError if invalid, and for the one that pip uses."""
    name = normalise(text)
    if name.startswith(PREFIX):
        hint = f"The environment's name is {name.removeprefix(PREFIX)}."
        raise UsageError(f"{text!r} is the name that pip uses.", hint=hint)
    return name


def environment_of(project: str) -> str | None:
    """Return the environment that is stored as this project (normalised), or None for another project."""
    return project.removeprefix(PREFIX) if project.startswith(PREFIX) else None


def change_of(summary: str) -> str:
    """Return the change of a revision from its summary."""
    return summary.partition(": ")[2] if summary.startswith("Environment ") else summary


def ordered(requirements: Iterable[str]) -> tuple[str, ...]:
    """Return the requirements sorted by normalised name, each once. Raise UsageError for invalid ones or too many."""
    names, size = dict[str, str](), 0
    for text in requirements:
        names[text.strip()] = canonicalize_name(requirement(text).name)
        size += len(text)
        if len(names) > MAX_REQUIREMENTS or size > _MAX_LIST:
            most = f"{MAX_REQUIREMENTS} requirements, of {_MAX_LIST >> 20} MB"
            raise UsageError(f"An environment has {most} at most.", hint="Make two environments of it.")
    return tuple(sorted(names, key=lambda text: (names[text], text)))


def formats(lock: str | None) -> tuple[int, ...]:
    """Return the numbers of the formats that a revision with this lock can have, the newest last.

    In format 1 a locked revision has the constraints of its list, and no LOCKED.
    """
    return (1,) if lock is None else (1, 2)


def rendered(revision: Revision, number: int | None = None) -> dict[str, bytes]:
    """Return the content of each of FILES that the revision has, by file name; by default in the newest format."""
    number = number or formats(revision.lock)[-1]
    head = file_head(revision.name, revision.number)
    contents = {
        REQUIREMENTS: head + _lines(revision.requirements),
        CONSTRAINTS: head + _lines(constraints(revision.requirements)),
        CONDA: head + _conda(revision),
        ABOUT: _about(revision, number),
    }
    if revision.lock is not None:
        contents[LOCK] = head + revision.lock
    if revision.lock is not None and number > 1:
        from ppmctl.distributions import lock as locks

        pinned = locks.read(revision.lock)
        contents[CONSTRAINTS] = head + _lines(filter(None, (pin.constraint for pin in pinned.pins)))
        contents[LOCKED] = head + _lines(pinned.lines())
    return {name: text.encode() for name, text in contents.items()}


def constraints(requirements: Iterable[str]) -> tuple[str, ...]:
    """Return the requirements as pip accepts them as constraints: without extras and direct URLs."""
    lines = []
    for text in requirements:
        parsed = Requirement(text)
        if parsed.specifier and parsed.url is None:
            # edit the text: another release of packaging may format a parsed requirement differently
            lines.append(_EXTRAS.sub(r"\1", text, count=1) if parsed.extras else text)
    return tuple(dict.fromkeys(lines))


def number_of(name: str, filename: str) -> int | None:
    """Return the number of the revision of `name` whose wheel has this filename, or None."""
    match = re.fullmatch(rf"{re.escape(distribution(name))}-({NUMBER.pattern})-py3-none-any\.whl", filename)
    return int(match[1]) if match else None


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and NUMBER.fullmatch(str(value)) is not None


def distribution(name: str) -> str:
    """Return the project of an environment as it is written in filenames."""
    return (PREFIX + name).replace("-", "_")


def file_head(name: str, number: int) -> str:
    """Return the first line of each file of a revision."""
    # files that are read one after the other may be of two revisions; this line shows it
    return f"# {PREFIX}{name}, revision {number}\n"


def _lines(texts: Iterable[str]) -> str:
    return "".join(f"{text}\n" for text in texts)


def parse_requirements(content: bytes) -> tuple[str, ...]:
    """Return the requirements in the content of REQUIREMENTS."""
    return tuple(line for line in content.decode(errors="replace").split("\n") if line and not line.startswith("#"))


def _conda(revision: Revision) -> str:
    # a JSON string is valid YAML, except for escaped surrogate pairs: ensure_ascii=False avoids them
    pip = "".join(f"    - {json.dumps(text, ensure_ascii=False)}\n" for text in revision.requirements)
    with_pip = f"  - pip:\n{pip}" if pip else ""
    return f'name: "{revision.name}"\ndependencies:\n  - python\n  - pip\n{with_pip}'


def _about(revision: Revision, number: int) -> str:
    values = {
        "format": number,
        "name": revision.name,
        "revision": revision.number,
        "shared": revision.shared,
        "base": revision.base,
        "change": revision.change,
    }
    return json.dumps(values, ensure_ascii=False, indent=1) + "\n"
