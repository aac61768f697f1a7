"""A revision of a shared environment ⇄ the wheel that it is stored as. Pure.

The wheel `ppm_env_NAME-N-py3-none-any.whl` holds no code: its Requires-Dist are the list (METADATA 2.4), and its
.dist-info has the list in the forms that clients read (FILES). A format's bytes are fixed: a wheel is a revision if
it is, member for member, what its own values make; so what anybody reads of it says the same.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tomllib
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ppmctl.errors import InvalidDistribution, UsageError

PREFIX = "ppm-env-"
FORMAT = 1
MAX_NAME = 60  # characters
MAX_CHANGE = 300  # characters
MAX_REQUIREMENTS = 10_000
MAX_LOCK = 16 << 20  # bytes

REQUIREMENTS, CONSTRAINTS, CONDA = "requirements.txt", "constraints.txt", "environment.yml"
LOCK, ABOUT = "pylock.toml", "env.json"
FILES = (REQUIREMENTS, CONSTRAINTS, CONDA, LOCK, ABOUT)  # LOCK in locked revisions alone

_FOLDER = "ppm-env"
_NONE = "It is not the revision of an environment"
_MAX_REQUIREMENT = 2_000  # characters
_MAX_MEMBER = 32 << 20  # bytes
_NAME = re.compile(r"[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{0,7}", re.ASCII)
_EXTRAS = re.compile(r"^([A-Za-z0-9._-]+)\s*\[[^\]]*\]\s*")
_WHEEL = b"Wheel-Version: 1.0\nGenerator: ppmctl\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip archive can name


class NotARevision(InvalidDistribution):
    """A wheel is not the revision of an environment."""


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A revision as values; UsageError where they can't be one.

    `name` is normalised, `number` counts from 1, `requirements` are PEP 508 in the order of `listed`, `base` is the
    revision that was changed (None: none was), `change` says in a line what was done, `lock` is the text of a
    pylock.toml (PEP 751). Who may change a `shared` environment, `ppmctl.environments.rules` says.
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
        if (
            not 0 < len(self.change) <= MAX_CHANGE
            or not self.change.isprintable()
            or self.change.strip() != self.change
        ):
            raise UsageError(f"What a revision changes is said in one line of {MAX_CHANGE} characters at most.")
        if listed(self.requirements) != self.requirements:
            raise UsageError("The requirements of a revision are in order, and none is there twice.")
        if self.lock is not None:
            check_lock(self.lock)

    @property
    def project(self) -> str:
        return PREFIX + self.name

    @property
    def filename(self) -> str:
        """The name of its wheel."""
        return f"{_distribution(self.name)}-{self.number}-py3-none-any.whl"

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
    if parsed.url is not None:
        _refuse_secret(text, parsed.url)
    return parsed


def listed(requirements: Iterable[str]) -> tuple[str, ...]:
    """The requirements in the order that a revision has them: by normalised name, each once.

    The texts are kept as they are, without the spaces around them. UsageError where one is none.
    """
    found = {text.strip(): canonicalize_name(requirement(text).name) for text in requirements}
    if len(found) > MAX_REQUIREMENTS:
        raise UsageError(f"An environment has {MAX_REQUIREMENTS} requirements at most.")
    return tuple(sorted(found, key=lambda text: (found[text], text)))


def check_lock(text: str) -> None:
    """UsageError where `text` is no pylock.toml (PEP 751)."""
    from packaging.pylock import Pylock, PylockValidationError

    if len(text.encode(errors="surrogatepass")) > MAX_LOCK:
        raise UsageError(f"The lock is over {MAX_LOCK >> 20} MB.")
    try:
        text.encode()
        Pylock.from_dict(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, UnicodeEncodeError, PylockValidationError, RecursionError) as exc:
        raise UsageError(f"The lock is no pylock.toml (PEP 751): {' '.join(str(exc).split())}.") from exc


def rendered(revision: Revision) -> dict[str, bytes]:
    """The forms of the list by file name, those of FILES that the revision has."""
    head = _head(revision.name, revision.number)
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


def to_wheel(revision: Revision) -> bytes:
    """The wheel of a revision; the same bytes for the same values."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _members(revision).items():
            member = zipfile.ZipInfo(name, _EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3
            member.external_attr = 0o100644 << 16
            archive.writestr(member, content)
    return buffer.getvalue()


def from_wheel(wheel: Path | bytes) -> Revision:
    """The revision in a wheel. NotARevision where it holds something else, or anything besides."""
    members = _read(wheel)
    infos = [name for name in members if name.endswith(f".dist-info/{_FOLDER}/{ABOUT}")]
    if len(infos) != 1:
        raise NotARevision(f"{_NONE}: it has no {_FOLDER}/{ABOUT} in its .dist-info.")
    folder = infos[0].removesuffix(ABOUT)
    try:
        about = json.loads(members[infos[0]])
        if about["format"] != FORMAT:
            raise NotARevision(
                f"It has the format {str(about['format'])[:20]!r} of an environment, and not {FORMAT}."
            )
        lock = members.get(folder + LOCK)
        revision = Revision(
            name=about["name"],
            number=about["revision"],
            requirements=_listing(members.get(folder + REQUIREMENTS, b"")),
            change=about["change"],
            shared=about["shared"],
            base=about["base"],
            lock=None if lock is None else lock.decode().removeprefix(_head(about["name"], about["revision"])),
        )
    except UsageError as exc:
        raise NotARevision(f"{_NONE}: {exc.message}") from exc
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise NotARevision(f"{_NONE}: its {ABOUT} makes no sense.") from exc
    expected = _members(revision)
    for name in sorted({*expected, *members}):
        if expected.get(name) != members.get(name):
            raise NotARevision(f"{_NONE}: its {name[:100]!r} is not what its {ABOUT} and its {REQUIREMENTS} make.")
    return revision


def read_forms(wheel: Path) -> dict[str, bytes]:
    """The forms of the list that a wheel carries, by file name, byte for byte, of a wheel that was checked before.

    NotARevision where it does not have those that each revision has.
    """
    forms: dict[str, bytes] = {}
    for name, content in _read(wheel).items():
        folder, _, form = name.rpartition("/")
        if form in FILES and folder.endswith(f".dist-info/{_FOLDER}"):
            forms[form] = content
    if not forms.keys() >= set(FILES) - {LOCK}:
        raise NotARevision(f"{_NONE}: it lacks a form of the list.")
    return forms


def number_of(name: str, filename: str) -> int | None:
    """The revision of the environment `name` that has this filename; None where none can have it."""
    number = filename.removeprefix(f"{_distribution(name)}-").removesuffix("-py3-none-any.whl")
    if not _NUMBER.fullmatch(number) or filename != f"{_distribution(name)}-{number}-py3-none-any.whl":
        return None
    return int(number)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and _NUMBER.fullmatch(str(value)) is not None


def _distribution(name: str) -> str:
    return (PREFIX + name).replace("-", "_")


def _refuse_secret(text: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        has_secret = parts.password is not None or (
            parts.scheme.endswith(("http", "https")) and parts.username is not None
        )
    except ValueError:
        has_secret = False
    if has_secret:
        shown = re.sub(r"//[^/@]*@", "//***@", text)
        raise UsageError(
            f"{shown!r} has a credential in its URL, which everybody who reads the environment would see."
        )


def _head(name: str, number: int) -> str:
    # each file says what it is of: two that were read one after the other may be of two revisions
    return f"# {PREFIX}{name}, revision {number}\n"


def _lines(texts: Iterable[str]) -> str:
    return "".join(f"{text}\n" for text in texts)


def _listing(content: bytes) -> tuple[str, ...]:
    return tuple(line for line in content.decode().split("\n") if line and not line.startswith("#"))


def _conda(revision: Revision) -> str:
    # a JSON string is a YAML one, where it has no character that JSON would write in two halves
    pip = "".join(f"    - {json.dumps(text, ensure_ascii=False)}\n" for text in revision.requirements)
    listing = f"  - pip:\n{pip}" if pip else ""
    return f'name: "{revision.name}"\ndependencies:\n  - python\n  - pip\n{listing}'


def _about(revision: Revision) -> str:
    values: dict[str, Any] = {
        "format": FORMAT,
        "name": revision.name,
        "revision": revision.number,
        "shared": revision.shared,
        "base": revision.base,
        "change": revision.change,
    }
    return json.dumps(values, ensure_ascii=False, indent=1) + "\n"


def _metadata(revision: Revision) -> bytes:
    requires = "".join(f"Requires-Dist: {text}\n" for text in revision.requirements)
    head = (
        f"Metadata-Version: 2.4\nName: {revision.project}\nVersion: {revision.number}\nSummary: {revision.summary}\n"
    )
    return (head + requires).encode()


def _members(revision: Revision) -> dict[str, bytes]:
    info = f"{_distribution(revision.name)}-{revision.number}.dist-info"
    members = {f"{info}/METADATA": _metadata(revision), f"{info}/WHEEL": _WHEEL}
    members |= {f"{info}/{_FOLDER}/{name}": content for name, content in rendered(revision).items()}
    record = "".join(f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in members.items())
    return members | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _read(wheel: Path | bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(wheel) if isinstance(wheel, bytes) else wheel) as archive:
            listing = archive.infolist()
            names = {member.filename for member in listing}
            if len(names) != len(listing) or len(listing) > len(FILES) + 3:
                raise NotARevision(f"{_NONE}: it holds more than one does.")
            if sum(member.file_size for member in listing) > _MAX_MEMBER:
                raise NotARevision(f"{_NONE}: it holds over {_MAX_MEMBER >> 20} MB.")
            return {member.filename: archive.read(member) for member in listing}
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError, EOFError) as exc:
        raise NotARevision(f"It is no wheel: {' '.join(str(exc).split())[:200]}.") from exc
