"""A revision of a shared environment, and the forms of its list that clients read (FILES). Pure."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ppmctl.errors import UsageError

if TYPE_CHECKING:
    from packaging.pylock import Pylock

PREFIX = "ppm-env-"
FORMAT = 1
MAX_NAME = 60  # characters
MAX_CHANGE = 300  # characters
MAX_REQUIREMENTS = 10_000
MAX_LOCK = 16 << 20  # bytes

REQUIREMENTS, CONSTRAINTS, CONDA = "requirements.txt", "constraints.txt", "environment.yml"
LOCK, ABOUT = "pylock.toml", "env.json"
FILES = (REQUIREMENTS, CONSTRAINTS, CONDA, LOCK, ABOUT)  # LOCK in locked revisions alone

_MAX_REQUIREMENT = 2_000  # characters
_NAME = re.compile(r"[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]", re.ASCII)
NUMBER = re.compile(r"[1-9][0-9]{0,7}", re.ASCII)
_EXTRAS = re.compile(r"^([A-Za-z0-9._-]+)\s*\[[^\]]*\]\s*")


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A revision as values; UsageError where they can't be one.

    `name` is normalised, `number` counts from 1, `requirements` are PEP 508 in the order of `listed`, `base` is the
    revision that was changed (None: none was), `change` says in a line what was done, `lock` is the text of a
    pylock.toml (PEP 751). Who may change a `shared` environment, `ppmctl.server.environment_policy` says.
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
            raise UsageError(f"Revision {self.number} can't be made of revision {self.base}.")
        if not isinstance(self.shared, bool):
            raise UsageError("An environment is shared or not: true or false.")
        is_line = self.change.isprintable() and self.change.strip() == self.change
        if not is_line or not 0 < len(self.change) <= MAX_CHANGE:
            raise UsageError(f"What a revision changes is said in one line of {MAX_CHANGE} characters at most.")
        if listed(self.requirements) != self.requirements:
            raise UsageError("The requirements of a revision are in order, and none is there twice.")
        if self.lock is not None:
            parse_lock(self.lock)

    @property
    def project(self) -> str:
        return PREFIX + self.name

    @property
    def filename(self) -> str:
        """The name of its wheel."""
        return f"{distribution(self.name)}-{self.number}-py3-none-any.whl"

    @property
    def summary(self) -> str:
        """What the index says of it; `change_of` reads the change from it."""
        return f"Environment {self.name}, revision {self.number}: {self.change}"


def normalise(name: str) -> str:
    """The normalised form of an environment's name: `ML_base` is `ml-base`. UsageError for what is none."""
    if len(name) <= MAX_NAME and _NAME.fullmatch(name):
        return canonicalize_name(name)
    raise UsageError(
        f"{name[:MAX_NAME]!r} can't be the name of an environment: letters, digits, and . _ - between them;"
        f" {MAX_NAME} characters at most."
    )


def environment_of(project: str) -> str | None:
    """The environment that is stored as `project` (a normalised name); None where that is an ordinary one."""
    return project.removeprefix(PREFIX) if project.startswith(PREFIX) else None


def change_of(summary: str) -> str:
    """What a revision changed, from its summary."""
    return summary.partition(": ")[2] if summary.startswith("Environment ") else summary


def requirement(text: str) -> Requirement:
    """A requirement (PEP 508) that a shared list can carry. UsageError says what is wrong with it."""
    text = text.strip()
    if len(text) > _MAX_REQUIREMENT:
        raise UsageError(f"{text[:60]!r}… is too long for a requirement.")
    try:
        parsed = Requirement(text)
    except InvalidRequirement as exc:
        raise UsageError(f"{text!r} is not a requirement: {str(exc).partition(chr(10))[0]}.") from exc
    if not text.isprintable() or "\\" in text or re.search(r"\s#", text):
        raise UsageError(f"{text!r} would be read as something else in a requirements.txt.")
    if parsed.url is not None and has_credential(parsed.url):
        shown = re.sub(r"//[^/@]*@", "//***@", text)
        raise UsageError(
            f"{shown!r} has a credential in its URL, which everybody who reads the environment would see.",
            hint="Leave out everything before the @. ~/.netrc, or what the version control system has for it, is the"
            " place for a credential.",
        )
    return parsed


def has_credential(url: str) -> bool:
    """Return whether a URL has a secret in it: a password, or a user of HTTP, which may be a token."""
    try:
        parts = urlsplit(url)
        return parts.password is not None or (parts.scheme.endswith(("http", "https")) and parts.username is not None)
    except ValueError:
        return False


def listed(requirements: Iterable[str]) -> tuple[str, ...]:
    """The requirements in the order that a revision has them: by normalised name, each once.

    The texts are kept as they are, without the spaces around them. UsageError where one is none.
    """
    found = {text.strip(): canonicalize_name(requirement(text).name) for text in requirements}
    if len(found) > MAX_REQUIREMENTS:
        raise UsageError(f"An environment has {MAX_REQUIREMENTS} requirements at most.")
    return tuple(sorted(found, key=lambda text: (found[text], text)))


def parse_lock(text: str, *, where: str = "The lock") -> Pylock:
    """Read a pylock.toml (PEP 751); UsageError where `text` is none."""
    from packaging.pylock import Pylock, PylockValidationError

    if len(text.encode(errors="surrogatepass")) > MAX_LOCK:
        raise UsageError(f"{where} is over {MAX_LOCK >> 20} MB.")
    try:
        text.encode()
        return Pylock.from_dict(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, UnicodeEncodeError, PylockValidationError, RecursionError) as exc:
        raise UsageError(f"{where} is no pylock.toml (PEP 751): {' '.join(str(exc).split())}.") from exc


def rendered(revision: Revision) -> dict[str, bytes]:
    """The forms of the list by file name, those of FILES that the revision has."""
    head = file_head(revision.name, revision.number)
    found = {
        REQUIREMENTS: head + _lines(revision.requirements),
        CONSTRAINTS: head + _lines(constraints(revision.requirements)),
        CONDA: head + _conda(revision),
        ABOUT: _about(revision),
    }
    if revision.lock is not None:
        found[LOCK] = head + revision.lock
    return {name: text.encode() for name, text in found.items()}


def constraints(requirements: Iterable[str]) -> tuple[str, ...]:
    """What of a list can be a constraint: versions and markers; no extras and no direct URLs, as pip demands."""
    found = []
    for text in requirements:
        parsed = Requirement(text)
        if parsed.specifier and parsed.url is None:
            # of the text, and not of what was parsed: another release of packaging may write that otherwise
            found.append(_EXTRAS.sub(r"\1", text, count=1) if parsed.extras else text)
    return tuple(dict.fromkeys(found))


def number_of(name: str, filename: str) -> int | None:
    """The revision of the environment `name` that has this filename; None where none can have it."""
    found = re.fullmatch(rf"{re.escape(distribution(name))}-({NUMBER.pattern})-py3-none-any\.whl", filename)
    return int(found[1]) if found else None


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and NUMBER.fullmatch(str(value)) is not None


def distribution(name: str) -> str:
    """Return how filenames write the project of an environment."""
    return (PREFIX + name).replace("-", "_")


def file_head(name: str, number: int) -> str:
    """Return the first line of each file of a revision."""
    # each file says what it is of: two that were read one after the other may be of two revisions
    return f"# {PREFIX}{name}, revision {number}\n"


def _lines(texts: Iterable[str]) -> str:
    return "".join(f"{text}\n" for text in texts)


def listing(content: bytes) -> tuple[str, ...]:
    """Return the requirements in the bytes of REQUIREMENTS."""
    return tuple(line for line in content.decode(errors="replace").split("\n") if line and not line.startswith("#"))


def _conda(revision: Revision) -> str:
    # a JSON string is a YAML one, where it has no character that JSON would write in two halves
    pip = "".join(f"    - {json.dumps(text, ensure_ascii=False)}\n" for text in revision.requirements)
    listing = f"  - pip:\n{pip}" if pip else ""
    return f'name: "{revision.name}"\ndependencies:\n  - python\n  - pip\n{listing}'


def _about(revision: Revision) -> str:
    values = {
        "format": FORMAT,
        "name": revision.name,
        "revision": revision.number,
        "shared": revision.shared,
        "base": revision.base,
        "change": revision.change,
    }
    return json.dumps(values, ensure_ascii=False, indent=1) + "\n"
