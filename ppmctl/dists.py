"""A wheel or sdist as values: what its filename claims and what the archive really holds."""

from __future__ import annotations

import gzip
import io
import posixpath
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from packaging.metadata import RawMetadata, parse_email
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from ppmctl.errors import PpmError

# 2.0 was withdrawn (PEP 426), but wheels of its time say it.
METADATA_VERSIONS = ("1.0", "1.1", "1.2", "2.0", "2.1", "2.2", "2.3", "2.4", "2.5")

# Room for the longest side file's suffix and a temporary name within the 255 bytes of a file name.
MAX_FILENAME = 200
MAX_METADATA = 16 << 20
# An archive that grows more than this, and beyond BOMB_FLOOR bytes, is taken for a decompression bomb.
BOMB_RATIO = 50
BOMB_FLOOR = 64 << 20

_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*", re.ASCII)
_NAME = re.compile(r"[A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9]", re.ASCII | re.IGNORECASE)
_NORMALISED = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)

Kind = Literal["wheel", "sdist"]


class InvalidDistribution(PpmError):
    """A file is not the wheel or sdist that its name says, or not one that an index may hand out."""


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
            metadata = _wheel_metadata(path, name)
        elif filename.endswith(".zip"):
            metadata = _zip_sdist_metadata(path)
        else:
            metadata = _tar_sdist_metadata(path)
    except InvalidDistribution as exc:
        raise InvalidDistribution(f"{filename}: {exc.message}") from exc
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        EOFError,
        gzip.BadGzipFile,
        NotImplementedError,
    ) as exc:
        raise InvalidDistribution(f"{filename} is not a readable archive: {one_line(exc)}.") from exc
    except (RuntimeError, UnicodeError, ValueError, OverflowError) as exc:
        # zipfile on an encrypted member, tarfile on a header that makes no sense
        raise InvalidDistribution(f"{filename} is not a readable archive: {one_line(exc)}.") from exc
    return _agree(name, metadata)


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


def _wheel_metadata(path: Path, name: Filename) -> bytes:
    with zipfile.ZipFile(path) as archive:
        members = _checked_zip(archive, path)
        folders = {member.split("/", 1)[0] for member in members}
        infos = [folder for folder in folders if folder.endswith(".dist-info")]
        if len(infos) != 1:
            raise InvalidDistribution(f"it has {len(infos)} .dist-info folders at its top, a wheel has one.")
        info = infos[0]
        project, _, version = info.removesuffix(".dist-info").partition("-")
        if normalise(project) != name.project or not _same_version(version, name.version):
            raise InvalidDistribution(f"its {info} is that of another distribution.")
        for needed in ("METADATA", "WHEEL", "RECORD"):
            if f"{info}/{needed}" not in members:
                raise InvalidDistribution(f"it has no {info}/{needed}.")
        return _read(archive.open(members[f"{info}/METADATA"]))


def _zip_sdist_metadata(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        members = _checked_zip(archive, path)
        return _read(archive.open(members[_pkg_info(members)]))


def _same_version(text: str, version: Version) -> bool:
    try:
        return Version(text.replace("_", "-")) == version
    except InvalidVersion:
        return False


def _pkg_info(members: Iterable[str]) -> str:
    found = [member for member in members if member.count("/") == 1 and member.endswith("/PKG-INFO")]
    if len(found) != 1:
        raise InvalidDistribution(f"it has {len(found)} PKG-INFO files one folder deep, an sdist has one.")
    return found[0]


def _checked_zip(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    unpacked = 0
    for member in archive.infolist():
        _check_path(member.filename)
        if member.filename in members:
            raise InvalidDistribution(f"it has two members of the name {member.filename[:200]!r}.")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise InvalidDistribution(f"its member {member.filename[:200]!r} is a symbolic link.")
        members[member.filename] = member
        unpacked += member.file_size
    _check_growth(unpacked, path.stat().st_size)
    return members


def _tar_sdist_metadata(path: Path) -> bytes:
    packed = path.stat().st_size
    found: dict[str, bytes] = {}
    with path.open("rb") as file, gzip.GzipFile(fileobj=file) as unpacked:
        limited = _LimitedReader(unpacked, check=lambda size: _check_growth(size, packed))
        with tarfile.open(fileobj=limited, mode="r|") as archive:
            for member in archive:
                _check_member(member)
                where = str(PurePosixPath(member.name))
                content = archive.extractfile(member) if where.endswith("/PKG-INFO") and member.isfile() else None
                if content is not None and where.count("/") == 1:
                    found[where] = _read(content)
        while limited.read(1 << 20):
            pass  # what follows the end of the archive counts, and its checksum is verified
    return found[_pkg_info(found)]


class _LimitedReader(io.RawIOBase):
    """Reads on, and tells `check` how much was read so far."""

    def __init__(self, source: gzip.GzipFile, *, check: Callable[[int], None]) -> None:
        self._source = source
        self._check = check
        self._count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        chunk = self._source.read(size)
        self._count += len(chunk)
        self._check(self._count)
        return chunk


def _check_member(member: tarfile.TarInfo) -> None:
    """What tarfile's data filter refuses (PEP 706), which Debian 12's Python 3.11.2 does not have yet."""
    name, target = member.name, member.linkname
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        raise InvalidDistribution(f"it can't be unpacked safely: its member {name[:200]!r} is a device.")
    if _leaves(name):
        raise InvalidDistribution(f"it can't be unpacked safely: its member {name[:200]!r} leaves its root.")
    if member.issym() or member.islnk():
        start = posixpath.dirname(name) if member.issym() else ""
        if target.startswith("/") or _leaves(posixpath.normpath(posixpath.join(start, target))):
            raise InvalidDistribution(f"it can't be unpacked safely: its link {name[:200]!r} points out of its root.")


def _check_path(member: str) -> None:
    if _leaves(member):
        raise InvalidDistribution(f"its member {member[:200]!r} would leave the folder that it is unpacked into.")


def _leaves(member: str) -> bool:
    parts = PurePosixPath(member).parts
    bad = "\\" in member or "\0" in member or member.startswith("/") or ".." in parts
    return bad or re.match(r"[A-Za-z]:", member) is not None


def _check_growth(unpacked: int, packed: int) -> None:
    if unpacked > max(BOMB_FLOOR, BOMB_RATIO * packed):
        raise InvalidDistribution(
            f"it unpacks to more than {BOMB_RATIO} times its size, which is what a decompression bomb does."
        )


def _read(member: IO[bytes]) -> bytes:
    with member:
        content = member.read(MAX_METADATA + 1)
    if len(content) > MAX_METADATA:
        raise InvalidDistribution(f"its metadata is over {MAX_METADATA >> 20} MB.")
    return content
