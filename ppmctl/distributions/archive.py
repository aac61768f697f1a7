"""Read the metadata in a wheel or sdist that nobody has checked yet, and refuse unsafe archives.

Nothing is unpacked, and the file is read once at most. InvalidDistribution is raised for an invalid or unsafe
archive. For a file that is not an archive the libraries raise one of UNREADABLE.
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
from typing import IO, Self

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ppmctl.errors import InvalidDistribution

MAX_METADATA = 16 << 20
# An archive that grows by more than this factor, and beyond BOMB_FLOOR bytes, counts as a decompression bomb.
BOMB_RATIO = 50
BOMB_FLOOR = 64 << 20
MAX_HEADER = 1 << 20  # bytes; of a tar archive's extended headers

# zipfile raises them for an encrypted member, tarfile for an invalid header, decoders for invalid data
UNREADABLE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,  # with its subclass for what zipfile does not support
    ValueError,
    OverflowError,
)


def wheel_metadata(path: Path, *, project: str, version: Version) -> bytes:
    """Return the bytes of the METADATA of a wheel of this project (normalised) and version."""
    with zipfile.ZipFile(path) as archive:
        members = _checked_zip(archive, path)
        folders = {member.split("/", 1)[0] for member in members}
        infos = [folder for folder in folders if folder.endswith(".dist-info")]
        if len(infos) != 1:
            raise InvalidDistribution(f"it has {len(infos)} .dist-info folders at its top, a wheel has one.")
        info = infos[0]
        name, _, number = info.removesuffix(".dist-info").partition("-")
        if canonicalize_name(name) != project or not _is_version(number, version):
            raise InvalidDistribution(f"its {info} is that of another distribution.")
        for needed in ("METADATA", "WHEEL", "RECORD"):
            if f"{info}/{needed}" not in members:
                raise InvalidDistribution(f"it has no {info}/{needed}.")
        return _read(archive.open(members[f"{info}/METADATA"]))


def zip_sdist_metadata(path: Path) -> bytes:
    """Return the PKG-INFO of a .zip sdist."""
    with zipfile.ZipFile(path) as archive:
        members = _checked_zip(archive, path)
        return _read(archive.open(members[_pkg_info(members)]))


def _is_version(text: str, version: Version) -> bool:
    try:
        return Version(text.replace("_", "-")) == version
    except InvalidVersion:
        return False


def _pkg_info(members: Iterable[str]) -> str:
    paths = [member for member in members if member.count("/") == 1 and member.endswith("/PKG-INFO")]
    if len(paths) != 1:
        raise InvalidDistribution(f"it has {len(paths)} PKG-INFO files one folder deep, an sdist has one.")
    return paths[0]


def _checked_zip(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    unpacked = 0
    for member in archive.infolist():
        name = repr(member.filename[:200])
        if _leaves_root(member.filename):
            raise InvalidDistribution(f"its member {name} would leave the folder that it is unpacked into.")
        if member.filename in members:
            raise InvalidDistribution(f"it has two members of the name {name}.")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise InvalidDistribution(f"its member {name} is a symbolic link.")
        members[member.filename] = member
        unpacked += member.file_size
    _check_growth(unpacked, path.stat().st_size)
    return members


def tar_sdist_metadata(path: Path) -> bytes:
    """Return the PKG-INFO of a .tar.gz sdist."""
    packed = path.stat().st_size
    pkg_infos: dict[str, bytes] = {}
    links = _Links()
    with path.open("rb") as file, gzip.GzipFile(fileobj=file) as unpacked:
        limited = _LimitedReader(unpacked, check=lambda size: _check_growth(size, packed))
        with tarfile.open(fileobj=limited, mode="r|", tarinfo=_Member) as archive:
            for member in archive:
                links.check(member)
                name = str(PurePosixPath(member.name))
                content = archive.extractfile(member) if name.endswith("/PKG-INFO") and member.isfile() else None
                if content is not None and name.count("/") == 1:
                    pkg_infos[name] = _read(content)
        while limited.read(1 << 20):
            pass  # read to the end: data behind the archive counts too, and gzip verifies its checksum
    links.check_paths()
    return pkg_infos[_pkg_info(pkg_infos)]


class _Member(tarfile.TarInfo):
    """A member of a tar archive whose headers have a limited size, because tarfile reads them whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return the member of a header, before anything after the header is read."""
        member = super().frombuf(buf, encoding, errors)
        extended = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME)
        if member.type in (*extended, tarfile.GNUTYPE_LONGLINK) and member.size > MAX_HEADER:
            raise tarfile.ReadError(f"a header is over {MAX_HEADER >> 20} MB")
        return member


class _Links:
    """A check of the paths and links in a tar archive.

    It refuses what tarfile's data filter refuses (PEP 706), which Python 3.11.2 of Debian 12 lacks, and paths through
    links, which can leave the root although each name alone does not.
    """

    def __init__(self) -> None:
        self._links: set[str] = set()
        self._paths: list[str] = []

    def check(self, member: tarfile.TarInfo) -> None:
        """Raise InvalidDistribution for a device, a path that leaves the root, or a link that points out of it."""
        name, target = member.name, member.linkname
        if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
            raise InvalidDistribution(f"it can't be unpacked safely: its member {name[:200]!r} is a device.")
        if _leaves_root(name):
            raise InvalidDistribution(f"it can't be unpacked safely: its member {name[:200]!r} leaves its root.")
        normalised = posixpath.normpath(name)
        self._paths.append(normalised)
        if not (member.issym() or member.islnk()):
            return
        path = posixpath.join(posixpath.dirname(normalised), target) if member.issym() else target
        if target.startswith("/") or _leaves_root(posixpath.normpath(path)):
            raise InvalidDistribution(f"it can't be unpacked safely: its link {name[:200]!r} points out of its root.")
        self._paths.append(path)
        if member.issym():
            self._links.add(normalised)

    def check_paths(self) -> None:
        """Raise InvalidDistribution for a path that goes through a link: its name does not tell where it leads."""
        for path in self._paths:
            parts = path.split("/")
            for end in range(1, len(parts)):
                if posixpath.normpath("/".join(parts[:end])) in self._links:
                    raise InvalidDistribution(f"it can't be unpacked safely: {path[:200]!r} goes through a link.")


class _LimitedReader(io.RawIOBase):
    """A reader that calls `check` with the number of bytes read so far."""

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


def _leaves_root(path: str) -> bool:
    is_unsafe = "\\" in path or "\0" in path or path.startswith("/") or ".." in PurePosixPath(path).parts
    return is_unsafe or re.match(r"[A-Za-z]:", path) is not None


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
