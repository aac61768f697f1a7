"""Store a revision of a shared environment as a wheel, and read it from one.

`ppm_env_NAME-N-py3-none-any.whl` has no code: its Requires-Dist are the requirements (METADATA 2.4), and its
.dist-info has the files that clients read. The bytes of a format are fixed: a wheel is a revision only if each member
is exactly what its own values produce, so that all its files agree.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from ppmctl import files
from ppmctl.distributions import lock as locks
from ppmctl.distributions import small_wheel
from ppmctl.distributions.archive import UNREADABLE
from ppmctl.distributions.distribution import Filename
from ppmctl.distributions.environment_revision import (
    ABOUT,
    FILES,
    LOCK,
    OF_LOCKS,
    REQUIREMENTS,
    Revision,
    RevisionHead,
    environment_of,
    file_head,
    formats,
    normalise,
    ordered,
    parse_requirements,
    rendered,
)
from ppmctl.errors import InvalidDistribution, UsageError

_FOLDER = "ppm-env"
_INVALID = "It is not the revision of an environment"
_MAX_SIZE = 32 << 20  # bytes, unpacked
# the last wheels that were checked; the index links such a file into a project's folder
_checked: deque[tuple[int, int, int] | None] = deque(maxlen=64)


class NotARevision(InvalidDistribution):
    """A wheel is not the revision of an environment."""


def to_wheel(revision: Revision, number: int | None = None) -> bytes:
    """Return the wheel of a revision: the same bytes for the same values; by default in the newest format."""
    return small_wheel.pack(_members(revision, number))


def from_wheel(wheel: Path | bytes, *, is_new: bool = False) -> Revision:
    """Return the revision in a wheel. Raise NotARevision if it has other or additional content.

    The lock of one that `is_new` has the limits for publishing; older releases published larger locks.
    """
    members = _read(wheel)
    paths = [name for name in members if name.endswith(f".dist-info/{_FOLDER}/{ABOUT}")]
    if len(paths) != 1:
        raise NotARevision(f"{_INVALID}: it has no {_FOLDER}/{ABOUT} in its .dist-info.")
    folder = paths[0].removesuffix(ABOUT)
    try:
        about = json.loads(members[paths[0]])
        lock = members.get(folder + LOCK)
        known = formats(None if lock is None else "")
        if about["format"] not in known:
            numbers = " or ".join(map(str, known))
            raise NotARevision(
                f"It has the format {str(about['format'])[:20]!r} of an environment, and not {numbers}."
            )
        text = None if lock is None else lock.decode().removeprefix(file_head(about["name"], about["revision"]))
        if is_new and text is not None:
            locks.require_size(text)
        revision = Revision(
            name=about["name"],
            number=about["revision"],
            requirements=parse_requirements(members.get(folder + REQUIREMENTS, b"")),
            change=about["change"],
            shared=about["shared"],
            base=about["base"],
            lock=text,
        )
    except UsageError as exc:
        raise NotARevision(f"{_INVALID}: {exc.message}") from exc
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise NotARevision(f"{_INVALID}: its {ABOUT} is invalid.") from exc
    expected = _members(revision, int(about["format"]))
    for name in sorted({*expected, *members}):
        if expected.get(name) != members.get(name):
            raise NotARevision(f"{_INVALID}: its {name[:100]!r} does not match its {ABOUT} and its {REQUIREMENTS}.")
    return revision


def read_forms(wheel: Path) -> dict[str, bytes]:
    """Return the content of each of FILES in a checked wheel. Raise NotARevision if one is missing."""
    named = {name.partition(f".dist-info/{_FOLDER}/")[2]: content for name, content in _read(wheel).items()}
    forms = {form: named[form] for form in FILES if form in named}
    if not forms.keys() >= set(FILES) - OF_LOCKS:
        raise NotARevision(f"{_INVALID}: one of its files is missing.")
    return forms


def remember_as_checked(wheel: Path) -> None:
    """Remember that a wheel passed `check`, so that `is_accepted` does not parse it again."""
    _checked.append(files.identity(wheel))


def is_accepted(wheel: Path, forms: Mapping[str, bytes]) -> bool:
    """Return whether a stored revision with these FILES has only what today's rules allow: older releases had fewer.

    Its lock may be larger than a new one.
    """
    if files.identity(wheel) in _checked:
        return True
    try:
        ordered(parse_requirements(forms[REQUIREMENTS]))
        if LOCK in forms:
            locks.read(forms[LOCK].decode().partition("\n")[2])  # without the head, as in `from_wheel`
    except (UsageError, UnicodeError):
        return False
    return True


def _metadata(revision: Revision) -> bytes:
    requires = "".join(f"Requires-Dist: {text}\n" for text in revision.requirements)
    head = (
        f"Metadata-Version: 2.4\nName: {revision.project}\nVersion: {revision.number}\nSummary: {revision.summary}\n"
    )
    return (head + requires).encode()


def _members(revision: Revision, number: int | None = None) -> dict[str, bytes]:
    info = revision.filename.removesuffix("-py3-none-any.whl") + ".dist-info"
    forms = {f"{info}/{_FOLDER}/{name}": content for name, content in rendered(revision, number).items()}
    return small_wheel.members(info, _metadata(revision), forms)


def _read(wheel: Path | bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(wheel) if isinstance(wheel, bytes) else wheel) as archive:
            infos = archive.infolist()
            if len({info.filename for info in infos}) != len(infos) or len(infos) > len(FILES) + 3:
                raise NotARevision(f"{_INVALID}: it has too many members, or one twice.")
            if sum(info.file_size for info in infos) > _MAX_SIZE:
                raise NotARevision(f"{_INVALID}: it unpacks to more than {_MAX_SIZE >> 20} MB.")
            return {info.filename: archive.read(info) for info in infos}
    except UNREADABLE as exc:
        if isinstance(exc, OSError) and exc.errno is not None:  # a missing file, a failing disk
            raise
        raise NotARevision(f"It is not a wheel: {' '.join(str(exc).split())[:200]}.") from exc


def check(name: Filename, wheel: Path, *, old: bool = False) -> RevisionHead:
    """Return what a file of an environment has as its revision. Raise InvalidDistribution if it has none.

    The lock of an `old` one may be larger than a new one.
    """
    environment = environment_of(name.project) or ""
    if name.kind != "wheel":
        raise InvalidDistribution(
            f"{name.project} is an environment: its revisions are wheels, and it has no sdists."
        )
    try:
        normalise(environment)
        revision = from_wheel(wheel, is_new=not old)
    except UsageError as exc:
        raise InvalidDistribution(exc.message) from exc
    except NotARevision as exc:
        raise InvalidDistribution(f"{name.filename}: {exc.message}") from exc
    if (revision.name, revision.filename) != (environment, name.filename):
        raise InvalidDistribution(f"{name.filename} has the content of {revision.filename}.")
    return RevisionHead(number=revision.number, shared=revision.shared, base=revision.base)
