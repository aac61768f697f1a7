"""The wheel that a revision of a shared environment is stored as. Pure.

The wheel `ppm_env_NAME-N-py3-none-any.whl` holds no code: its Requires-Dist are the list (METADATA 2.4), and its
.dist-info has the list in the forms that clients read. A format's bytes are fixed: a wheel is a revision if it is,
member for member, what its own values make; so what anybody reads of it says the same.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from ppmctl.distributions import small_wheel
from ppmctl.distributions.distribution import Filename
from ppmctl.distributions.environment_revision import (
    ABOUT,
    FILES,
    FORMAT,
    LOCK,
    REQUIREMENTS,
    Revision,
    distribution,
    environment_of,
    file_head,
    listing,
    normalise,
    rendered,
)
from ppmctl.errors import InvalidDistribution, Refused, UsageError

_FOLDER = "ppm-env"
_NONE = "It is not the revision of an environment"
_MAX_MEMBER = 32 << 20  # bytes


class NotARevision(InvalidDistribution):
    """A wheel is not the revision of an environment."""


def to_wheel(revision: Revision) -> bytes:
    """The wheel of a revision; the same bytes for the same values."""
    return small_wheel.pack(_members(revision))


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
            requirements=listing(members.get(folder + REQUIREMENTS, b"")),
            change=about["change"],
            shared=about["shared"],
            base=about["base"],
            lock=None if lock is None else lock.decode().removeprefix(file_head(about["name"], about["revision"])),
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
    named = {name.partition(f".dist-info/{_FOLDER}/")[2]: content for name, content in _read(wheel).items()}
    forms = {form: named[form] for form in FILES if form in named}
    if not forms.keys() >= set(FILES) - {LOCK}:
        raise NotARevision(f"{_NONE}: it lacks a form of the list.")
    return forms


def _metadata(revision: Revision) -> bytes:
    requires = "".join(f"Requires-Dist: {text}\n" for text in revision.requirements)
    head = (
        f"Metadata-Version: 2.4\nName: {revision.project}\nVersion: {revision.number}\nSummary: {revision.summary}\n"
    )
    return (head + requires).encode()


def _members(revision: Revision) -> dict[str, bytes]:
    info = f"{distribution(revision.name)}-{revision.number}.dist-info"
    forms = {f"{info}/{_FOLDER}/{name}": content for name, content in rendered(revision).items()}
    return small_wheel.members(info, _metadata(revision), forms)


def _read(wheel: Path | bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(wheel) if isinstance(wheel, bytes) else wheel) as archive:
            infos = archive.infolist()
            if len({info.filename for info in infos}) != len(infos) or len(infos) > len(FILES) + 3:
                raise NotARevision(f"{_NONE}: it holds more than one does.")
            if sum(info.file_size for info in infos) > _MAX_MEMBER:
                raise NotARevision(f"{_NONE}: it holds over {_MAX_MEMBER >> 20} MB.")
            return {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError, EOFError) as exc:
        raise NotARevision(f"It is no wheel: {' '.join(str(exc).split())[:200]}.") from exc


def check(name: Filename, wheel: Path) -> Revision:
    """Return the revision that a file of an environment is. Raise Refused with 400 if it is not one."""
    environment = environment_of(name.project) or ""
    if name.kind != "wheel":
        raise Refused(400, f"{name.project} is an environment: its revisions are wheels, and it has no sdists")
    try:
        normalise(environment)
        revision = from_wheel(wheel)
    except UsageError as exc:
        raise Refused(400, exc.message) from exc
    except NotARevision as exc:
        raise Refused(400, f"{name.filename}: {exc.message}") from exc
    if (revision.name, revision.filename) != (environment, name.filename):
        raise Refused(400, f"{name.filename} holds what belongs into {revision.filename}")
    return revision
