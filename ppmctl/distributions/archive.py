"""Inside an archive that a stranger made: its metadata, unless it does what no wheel or sdist may do.

Nothing is unpacked; the whole is read once at most. InvalidDistribution says what is wrong, UNREADABLE is what the
libraries raise of what is no archive.
"""

from __future__ import annotations

import gzip
import io
import lzma
import posixpath
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import IO, Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ppmctl.errors import InvalidDistribution

MAX_METADATA = 16 << 20
# An archive that grows more than this, and beyond BOMB_FLOOR bytes, is taken for a decompression bomb.
BOMB_RATIO = 50
BOMB_FLOOR = 64 << 20
MAX_HEADER = 1 << 20  # bytes; of a tar archive's extended headers

# zipfile on an encrypted member, tarfile on a header that makes no sense, decoders on noise
UNREADABLE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,  # and what zipfile does not implement
    ValueError,
    OverflowError,
)


def wheel_metadata(path: Path, *, project: str, version: Version) -> bytes:
    """The METADATA of a wheel of this project (its normalised name) and version, byte for byte."""
    with zipfile.ZipFile(path) as archive:
        members = _checked_zip(archive, path)
        folders = {member.split("/", 1)[0] for member in members}
        infos = [folder for folder in folders if folder.endswith(".dist-info")]
        if len(infos) != 1:
            raise InvalidDistribution(f"it has {len(infos)} .dist-info folders at its top, a wheel has one.")
        info = infos[0]
        said, _, said_version = info.removesuffix(".dist-info").partition("-")
        if canonicalize_name(said) != project or not _same_version(said_version, version):
            raise InvalidDistribution(f"its {info} is that of another distribution.")
        for needed in ("METADATA", "WHEEL", "RECORD"):
            if f"{info}/{needed}" not in members:
                raise InvalidDistribution(f"it has no {info}/{needed}.")
        return _read(archive.open(members[f"{info}/METADATA"]))


def zip_sdist_metadata(path: Path) -> bytes:
    """The PKG-INFO of an sdist as .zip."""
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


def tar_sdist_metadata(path: Path) -> bytes:
    """The PKG-INFO of an sdist as .tar.gz."""
    packed = path.stat().st_size
    found: dict[str, bytes] = {}
    links = _Links()
    with path.open("rb") as file, gzip.GzipFile(fileobj=file) as unpacked:
        limited = _LimitedReader(unpacked, check=lambda size: _check_growth(size, packed))
        with tarfile.open(fileobj=limited, mode="r|", tarinfo=_Member) as archive:
            for member in archive:
                links.check(member)
                where = str(PurePosixPath(member.name))
                content = archive.extractfile(member) if where.endswith("/PKG-INFO") and member.isfile() else None
                if content is not None and where.count("/") == 1:
                    found[where] = _read(content)
        while limited.read(1 << 20):
            pass  # what follows the end of the archive counts, and its checksum is verified
    links.check_ways()
    return found[_pkg_info(found)]


class _Member(tarfile.TarInfo):
    """A member of an archive. tarfile reads long names and pax headers whole: none that long is a name."""

    def _proc_member(self, tarfile_: tarfile.TarFile) -> Any:
        extended = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME)
        if self.type in (*extended, tarfile.GNUTYPE_LONGLINK) and self.size > MAX_HEADER:
            raise tarfile.ReadError(f"a header is over {MAX_HEADER >> 20} MB")
        return super()._proc_member(tarfile_)  # type: ignore[misc]  # typeshed lacks this hook of tarfile


class _Links:
    """What tarfile's data filter refuses (PEP 706), which Debian 12's Python 3.11.2 does not have yet; and links
    behind links, by which a member can leave its root though each name alone stays within."""

    def __init__(self) -> None:
        self._links: set[str] = set()
        self._ways: list[str] = []

    def check(self, member: tarfile.TarInfo) -> None:
        """Refuse a member that is a device, leaves the root, or points out of it."""
        _check_member(member)
        name = posixpath.normpath(member.name)
        self._ways.append(name)
        if member.issym():
            self._links.add(name)
            self._ways.append(posixpath.join(posixpath.dirname(name), member.linkname))
        elif member.islnk():
            self._ways.append(member.linkname)

    def check_ways(self) -> None:
        """Refuse what is reached through a link: where that leads is not in its name."""
        for way in self._ways:
            parts = way.split("/")
            for end in range(1, len(parts)):
                if posixpath.normpath("/".join(parts[:end])) in self._links:
                    raise InvalidDistribution(f"it can't be unpacked safely: {way[:200]!r} goes through a link.")


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
