"""A wheel or sdist as values: what its filename claims and what the archive really holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.metadata import RawMetadata, parse_email
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from ppmctl.distributions import archive
from ppmctl.errors import InvalidDistribution as InvalidDistribution  # raised here, and imported from here

# 2.0 was withdrawn (PEP 426), but wheels of its time say it.
METADATA_VERSIONS = ("1.0", "1.1", "1.2", "2.0", "2.1", "2.2", "2.3", "2.4", "2.5")

# Room for the longest side file's suffix and a temporary name within the 255 bytes of a file name.
MAX_FILENAME = 200
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*", re.ASCII)
_NAME = re.compile(r"[A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9]", re.ASCII | re.IGNORECASE)
_NORMALISED = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)

Kind = Literal["wheel", "sdist"]


@dataclass(frozen=True, kw_only=True)
class Filename:
    """What a distribution's filename says. `project` is normalised (PEP 503), `version` is PEP 440's."""

    filename: str
    project: str
    version: Version
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class Dist:
    """A distribution whose archive was read and agrees with its filename.

    `metadata` is the METADATA file of a wheel, byte for byte, or an sdist's PKG-INFO; `requires_python`
    is as written there.
    """

    name: Filename
    metadata: bytes
    requires_python: str | None
    summary: str


def normalise(name: str) -> str:
    """The normalised form of a project's name (PEP 503)."""
    return canonicalize_name(name)


def is_name(name: str) -> bool:
    """Whether `name` is a valid name of a project, normalised or not (PEP 508)."""
    return _NAME.fullmatch(name) is not None and len(name) <= MAX_FILENAME


def is_normalised(name: str) -> bool:
    return _NORMALISED.fullmatch(name) is not None and len(name) <= MAX_FILENAME


def parse_filename(filename: str) -> Filename:
    """Read a distribution's filename: `.whl`, `.tar.gz` or `.zip`. InvalidDistribution says what is wrong."""
    if not _FILENAME.fullmatch(filename) or len(filename) > MAX_FILENAME:
        raise InvalidDistribution(
            f"{filename[:MAX_FILENAME]!r} is not a filename for a distribution: letters, digits and . _ + ! - only,"
            f" {MAX_FILENAME} characters at most."
        )
    kind: Kind
    try:
        if filename.endswith(".whl"):
            name, version, _build, _tags = parse_wheel_filename(filename)
            kind = "wheel"
        elif filename.endswith((".tar.gz", ".zip")):
            name, version = parse_sdist_filename(filename)
            kind = "sdist"
        else:
            raise InvalidDistribution(f"{filename} is neither a wheel (.whl) nor an sdist (.tar.gz, .zip).")
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion) as exc:
        raise InvalidDistribution(f"{filename} does not name a project and a version: {one_line(exc)}.") from exc
    if not is_normalised(name):
        raise InvalidDistribution(f"{filename} does not start with a valid name of a project.")
    return Filename(filename=filename, project=name, version=version, kind=kind)


def inspect(path: Path, filename: str) -> Dist:
    """Read the archive at `path`, which is to be published as `filename`.

    InvalidDistribution where it does not open, a member leaves its root, it is a decompression bomb, it
    has no readable metadata, or its metadata has another name or version than the filename. The file's
    content is read once at most and never unpacked.
    """
    name = parse_filename(filename)
    try:
        if name.kind == "wheel":
            metadata = archive.wheel_metadata(path, project=name.project, version=name.version)
        elif filename.endswith(".zip"):
            metadata = archive.zip_sdist_metadata(path)
        else:
            metadata = archive.tar_sdist_metadata(path)
    except InvalidDistribution as exc:
        raise InvalidDistribution(f"{filename}: {exc.message}") from exc
    except archive.UNREADABLE as exc:
        if isinstance(exc, OSError) and exc.errno is not None:  # the disk's; a decoder's (bz2, gzip) has none
            raise
        raise InvalidDistribution(f"{filename} is not a readable archive: {one_line(exc)}.") from exc
    return _agree(name, metadata)


def core_metadata(metadata: bytes) -> RawMetadata:
    """The fields of a METADATA file, of any index and whatever its version; none where it can't be read."""
    try:
        return parse_email(metadata)[0]
    except (ValueError, UnicodeError, LookupError):
        return {}


def summary(metadata: bytes) -> str:
    """The summary that a METADATA file has, on one line, or ""."""
    return " ".join((core_metadata(metadata).get("summary") or "").split())


def one_line(value: object) -> str:
    """`value` as a phrase for a message: one line, printable, no full stop at its end."""
    words = " ".join(str(value).split())[:300].rstrip(".")
    return "".join(character if character.isprintable() else "?" for character in words)


def _agree(name: Filename, metadata: bytes) -> Dist:
    raw = _parse(name.filename, metadata)
    said = raw.get("name") or ""
    if not is_name(said) or normalise(said) != name.project:
        raise InvalidDistribution(
            f"{name.filename} holds the metadata of the project {said!r}, not of {name.project!r}."
        )
    try:
        version = Version(raw.get("version") or "")
    except InvalidVersion as exc:
        raise InvalidDistribution(
            f"{name.filename} has the version {raw.get('version')!r} in its metadata, which is none (PEP 440)."
        ) from exc
    if version != name.version:
        raise InvalidDistribution(f"{name.filename} has the version {version} in its metadata.")
    requires_python = raw.get("requires_python")
    return Dist(
        name=name,
        metadata=metadata,
        requires_python=" ".join(requires_python.split()) if requires_python else None,
        summary=" ".join((raw.get("summary") or "").split()),
    )


def _parse(filename: str, metadata: bytes) -> RawMetadata:
    try:
        raw, _rest = parse_email(metadata)
    except (ValueError, UnicodeError, LookupError) as exc:
        raise InvalidDistribution(f"{filename} has metadata that can't be parsed: {one_line(exc)}.") from exc
    version = raw.get("metadata_version")
    if version is None:
        raise InvalidDistribution(f"{filename} has metadata without a Metadata-Version.")
    if version not in METADATA_VERSIONS:
        raise InvalidDistribution(
            f"{filename} has Metadata-Version {version[:20]!r}; this index knows up to {METADATA_VERSIONS[-1]}."
        )
    return raw
