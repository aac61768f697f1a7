"""Read and check a wheel or sdist: its filename, its archive and its metadata."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.metadata import RawMetadata, parse_email
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    NormalizedName,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from ppmctl.distributions import archive, budget, metadata_rules
from ppmctl.distributions.environment_revision import RevisionHead
from ppmctl.distributions.metadata_rules import Fault
from ppmctl.distributions.names import MAX_FILENAME, is_filename, is_name, is_normalised
from ppmctl.errors import InvalidDistribution as InvalidDistribution  # raised here, and imported from here

_SDISTS = (".tar.gz", ".zip")

Kind = Literal["wheel", "sdist"]


@dataclass(frozen=True, kw_only=True)
class Filename:
    """The parts of a distribution's filename. `project` is normalised (PEP 503)."""

    filename: str
    project: str
    version: Version
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class Dist:
    """A distribution whose metadata agrees with its filename. `metadata`: the bytes of METADATA or PKG-INFO.

    `revision` is for a shared environment. `faults` are what is wrong with the fields of its metadata, `notes` what a
    publisher should know about them.
    """

    name: Filename
    metadata: bytes
    requires_python: str | None
    summary: str
    revision: RevisionHead | None = None
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def metadata_hash(self) -> str | None:
        """Return the sha256 of a wheel's metadata file; None for an sdist, which has none (PEP 658)."""
        return hashlib.sha256(self.metadata).hexdigest() if self.name.kind == "wheel" else None

    def require_valid(self) -> None:
        """Raise InvalidDistribution if its metadata has a fault: a new upload can be built again without it."""
        self._refuse(self.faults)

    def require_readable(self) -> None:
        """Raise InvalidDistribution if its metadata makes pip or uv fail."""
        self._refuse([fault for fault in self.faults if not fault.is_tolerated])

    def _refuse(self, faults: Sequence[Fault]) -> None:
        if faults:
            raise InvalidDistribution(f"{self.name.filename}: {'; '.join(fault.reason for fault in faults[:3])}.")


def normalise(name: str) -> str:
    """Return the normalised form of a project's name (PEP 503)."""
    return canonicalize_name(name)


def parse_version(text: str) -> Version:
    """Return a version (PEP 440). Raise InvalidVersion also for one with more digits than Python converts."""
    try:
        return Version(text)
    except ValueError as exc:
        raise InvalidVersion(f"Invalid version: {text[:MAX_FILENAME]!r}") from exc


def kind_of(filename: str) -> Kind:
    """Return what a filename is the name of, by its ending. Raise InvalidDistribution for no distribution's."""
    if not is_filename(filename) or len(filename) > MAX_FILENAME:
        raise InvalidDistribution(
            f"{filename[:MAX_FILENAME]!r} is not a filename for a distribution: letters, digits and . _ + ! - only,"
            f" {MAX_FILENAME} characters at most."
        )
    if filename.endswith(".whl"):
        return "wheel"
    if filename.endswith(_SDISTS):
        return "sdist"
    raise InvalidDistribution(f"{filename} is neither a wheel (.whl) nor an sdist (.tar.gz, .zip).")


@functools.lru_cache(maxsize=1000)  # it is asked several times while a file is uploaded
def parse_filename(filename: str, *, project: str | None = None) -> Filename:
    """Parse a distribution's filename: `.whl`, `.tar.gz` or `.zip`. Raise InvalidDistribution if it is invalid.

    An sdist's name is split at its last dash (PEP 625), or if it starts with `project` (normalised) after that: the
    versions of old ones have dashes. Installers split it in the same way on that project's page.
    """
    kind = kind_of(filename)
    try:
        if kind == "wheel":
            name, version, _build, _tags = parse_wheel_filename(filename)
        else:
            name, version = _split_after(project, filename) or parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion) as exc:
        raise InvalidDistribution(f"{filename} does not name a project and a version: {one_line(exc)}.") from exc
    if not is_normalised(name):
        raise InvalidDistribution(f"{filename} does not start with a valid name of a project.")
    return Filename(filename=filename, project=name, version=version, kind=kind)


def projects_of(filename: str) -> Iterator[str]:
    """Yield the projects that a file of this name can belong to: several for an sdist's name with several dashes."""
    starts = [normalise(filename[: dash.start()]) for dash in re.finditer("-", filename[:MAX_FILENAME])]
    seen = set()
    for project in (None, *starts):
        with contextlib.suppress(InvalidDistribution):
            name = parse_filename(filename, project=project)
            if name.project not in seen:
                seen.add(name.project)
                yield name.project


def _split_after(project: str | None, filename: str) -> tuple[NormalizedName, Version] | None:
    """Return the normalised name and the version in an sdist's name, if it consists of `project` and a version."""
    stem = next(filename.removesuffix(ending) for ending in _SDISTS if filename.endswith(ending))
    for dash in re.finditer("-", stem):
        name = canonicalize_name(stem[: dash.start()])
        if name == project:
            with contextlib.suppress(InvalidVersion):
                return name, parse_version(stem[dash.end() :])
    return None


def inspect(path: Path, filename: str, *, old: bool = False) -> Dist:
    """Read the archive at `path`, which is to be published as `filename`. Nothing is written to the disk.

    A file that a stranger made is read by `inspection.inspect`, which calls this in a child process with limits.
    `old`: accept an sdist of a tool from before PEP 625, whose project its PKG-INFO has.

    Raise InvalidDistribution if it is not a valid and safe archive, or if its metadata can't be read or has another
    name or version than the filename.
    """
    old = old and kind_of(filename) == "sdist"
    name = None if old else parse_filename(filename)
    try:
        if name is not None and name.kind == "wheel":
            metadata = archive.wheel_metadata(path, project=name.project, version=name.version)
        elif filename.endswith(".zip"):
            metadata = archive.zip_sdist_metadata(path, old=old)
        else:
            metadata = archive.tar_sdist_metadata(path)
    except InvalidDistribution as exc:
        raise InvalidDistribution(f"{filename}: {exc.message}") from exc
    except archive.UNREADABLE as exc:
        if isinstance(exc, OSError) and exc.errno is not None:  # a failing disk; errors of bz2 and gzip have no errno
            raise
        raise InvalidDistribution(f"{filename} is not a readable archive: {one_line(exc)}.") from exc
    if name is None:
        name = parse_filename(filename, project=normalise(core_metadata(metadata).get("name", "")))
    return _agree(name, metadata)


def core_metadata(metadata: bytes) -> RawMetadata:
    """Return the fields of a METADATA file of any index and version; {} if it can't be parsed."""
    try:
        budget.require_plain_fields(metadata)
        return parse_email(metadata)[0]
    except (ValueError, UnicodeError, LookupError, RecursionError):
        return {}


def summary(metadata: bytes) -> str:
    """Return the summary in a METADATA file, on one line, or ""."""
    return _unfolded(core_metadata(metadata).get("summary"))


def one_line(value: object, *, most: int = 300) -> str:
    """Return at most `most` characters of `value` for a message: one line, printable, no full stop at the end."""
    words = " ".join(str(value).split())[:most].rstrip(".")
    return "".join(character if character.isprintable() else "?" for character in words)


def _agree(name: Filename, metadata: bytes) -> Dist:
    raw = _parse(name.filename, metadata)
    project = raw.get("name") or ""
    if not is_name(project) or normalise(project) != name.project:
        raise InvalidDistribution(
            f"{name.filename} holds the metadata of the project {project[:MAX_FILENAME]!r}, not of {name.project!r}."
        )
    written = raw.get("version")
    version = _version(written or "")
    if version is None:
        shown = written and written[:MAX_FILENAME]
        raise InvalidDistribution(
            f"{name.filename} has the version {shown!r} in its metadata, which is invalid (PEP 440)."
        )
    if version != name.version:
        raise InvalidDistribution(f"{name.filename} has the version {version} in its metadata.")
    requires_python = _unfolded(raw.get("requires_python"))
    if len(requires_python) > budget.MAX_REQUIRES_PYTHON:
        raise InvalidDistribution(
            f"{name.filename} has a Requires-Python of more than {budget.MAX_REQUIRES_PYTHON} characters."
        )
    return Dist(
        name=name,
        metadata=metadata,
        requires_python=metadata_rules.readable_python(requires_python),
        summary=_unfolded(raw.get("summary")),
        faults=metadata_rules.faults(metadata, raw, is_sdist=name.kind == "sdist"),
        notes=metadata_rules.notes(raw),
    )


def _version(text: str) -> Version | None:
    try:
        return Version(text) if len(text) <= MAX_FILENAME else None
    except InvalidVersion:
        return None


def _unfolded(field: str | None) -> str:
    return " ".join((field or "").split())


def _parse(filename: str, metadata: bytes) -> RawMetadata:
    try:
        budget.require_plain_fields(metadata)
        raw, _rest = parse_email(metadata)
    except (ValueError, UnicodeError, LookupError, RecursionError) as exc:
        raise InvalidDistribution(f"{filename} has metadata that can't be parsed: {one_line(exc)}.") from exc
    version = raw.get("metadata_version")
    if version is None:
        raise InvalidDistribution(f"{filename} has metadata without a Metadata-Version.")
    if not metadata_rules.is_supported(version):
        raise InvalidDistribution(
            f"{filename} has Metadata-Version {version[:20]!r}; this index knows up to {metadata_rules.NEWEST}."
        )
    return raw
