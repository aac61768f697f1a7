"""Read the metadata in a wheel or sdist that nobody has checked yet, and refuse unsafe archives.

Nothing is written to the disk. InvalidDistribution is raised for an invalid or unsafe archive, or for one over a
limit of `budget`. For a file that is not an archive the libraries raise one of UNREADABLE.
"""

from __future__ import annotations

import gzip
import io
import lzma
import posixpath
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import IO, Any, Self, cast

from packaging.utils import canonicalize_name
from packaging.version import Version

from ppmctl.distributions import budget, strict_zip
from ppmctl.distributions.budget import ArchiveBudget, leaves_root, shown
from ppmctl.distributions.strict_zip import StrictZip
from ppmctl.distributions.zip_records import windows_name
from ppmctl.errors import InvalidDistribution

_EXTENDED = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
# where the folder of a Python's packages is below its root, or the root of a user's packages
_PACKAGES = r"(?:local/)?(?:lib[^/]*/)?(?:(?:python|pypy|graalpy)[^/]*/)?(?:site|dist)-packages"
_INSTALLED_INFO = re.compile(
    rf"[^/]+\.data/(?:purelib|platlib|data/{_PACKAGES})/[^/]+\.dist-info(?:/|$)", re.IGNORECASE
)
_ENDS = ("EOFHeaderError", "EmptyHeaderError")  # what tarfile raises at the end of an archive
_MAX_READS_AT_END = 8  # tarfile goes on reading at the end of a file that is shorter than a header in it claims


class InvalidTar(Exception):
    """A tar archive has a header that tarfile would take for the archive's end, or that is too large."""


# zipfile raises them for an encrypted member, tarfile for an invalid header, decoders for invalid data
UNREADABLE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    InvalidTar,
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
    with strict_zip.opened(path) as archive:
        members = archive.members
        names = [*members, *map(windows_name, members)]
        folders = {name.split("/", 1)[0] for name in names}
        infos = [folder for folder in folders if folder.lower().endswith(".dist-info")]
        if len(infos) != 1:
            raise InvalidDistribution(f"it has {len(infos)} .dist-info folders at its top, a wheel has one.")
        info = infos[0]
        name, _, number = info.removesuffix(".dist-info").partition("-")
        if canonicalize_name(name) != project or not _is_version(number, version):
            raise InvalidDistribution(f"its {info} is that of another distribution.")
        for needed in ("METADATA", "WHEEL", "RECORD"):
            if f"{info}/{needed}" not in members:
                raise InvalidDistribution(f"it has no {info}/{needed}.")
        _require_one_metadata(names, folders, project=project, version=version)
        return _read(archive, f"{info}/METADATA")


def _require_one_metadata(names: Iterable[str], folders: Iterable[str], *, project: str, version: Version) -> None:
    """Raise InvalidDistribution if other metadata would be installed, from a .data folder: pip reads each of them.

    Tools name such a folder in several ways: poetry-core kept the project's spelling, setuptools adds the build
    number, and `wheel pack` leaves out a new local version.
    """
    data = re.compile(rf"(?i:{project.replace('-', '[-_.]+')})-([^-+]+)(?:\+[^-]*)?(?:-\d[^-]*)?\.data")
    own_name = f"{project.replace('-', '_')}-{version}.data"
    for folder in folders:
        own = data.fullmatch(folder)
        if folder.lower().endswith(".data") and not (own and _is_version(own[1], Version(version.public))):
            raise InvalidDistribution(f"its folder {shown(folder)} is not named {own_name}.")
    for name in filter(_INSTALLED_INFO.match, names):
        raise InvalidDistribution(f"its member {shown(name)} would be installed as the metadata of a distribution.")


def zip_sdist_metadata(path: Path, *, old: bool) -> bytes:
    """Return the PKG-INFO of a .zip sdist. `old`: accept what tools wrote before PEP 625."""
    with strict_zip.opened(path, old=old) as archive:
        return _read(archive, _pkg_info(archive.members))


def _read(archive: StrictZip, name: str) -> bytes:
    content = archive.read(archive.members[name], budget.MAX_METADATA)
    if content is None:
        raise _too_much_metadata()
    return content


def _too_much_metadata() -> InvalidDistribution:
    return InvalidDistribution(f"its metadata is over {budget.MAX_METADATA} bytes.")


def _is_version(text: str, version: Version) -> bool:
    try:
        return Version(text.replace("_", "-")) == version
    except ValueError:  # also for more digits than Python converts
        return False


def _pkg_info(members: Iterable[str]) -> str:
    paths = [member for member in members if member.count("/") == 1 and member.endswith("/PKG-INFO")]
    if len(paths) != 1:
        raise InvalidDistribution(f"it has {len(paths)} PKG-INFO files one folder deep, an sdist has one.")
    return paths[0]


def tar_sdist_metadata(path: Path) -> bytes:
    """Return the PKG-INFO of a .tar.gz sdist."""
    cost = ArchiveBudget(path.stat().st_size)
    pkg_infos: dict[str, bytes] = {}
    links = _Links()
    with path.open("rb") as file, gzip.GzipFile(fileobj=file) as unpacked:
        limited = _LimitedReader(unpacked, check=cost.require_size)
        with tarfile.open(fileobj=limited, mode="r|", tarinfo=_Member) as archive:
            while (member := archive.next()) is not None:
                cast("Any", archive).members.clear()  # tarfile would keep them all
                if member.size < 0:
                    raise InvalidTar("a member has a negative size")
                cost.require_size(
                    archive.offset
                )  # where the next header is, if the content has the size that it claims
                cost.count_member(member.name)
                links.check(member)
                name = str(PurePosixPath(member.name))
                content = archive.extractfile(member) if name.endswith("/PKG-INFO") and member.isfile() else None
                if content is not None and name.count("/") == 1:
                    pkg_infos[name] = _read_pkg_info(content)
        while limited.read(1 << 20):
            pass  # read to the end: data behind the archive counts too, and gzip verifies its checksum
    links.check_paths()
    return pkg_infos[_pkg_info(pkg_infos)]


def _read_pkg_info(member: IO[bytes]) -> bytes:
    with member:
        content = member.read(budget.MAX_METADATA + 1)
    if len(content) > budget.MAX_METADATA:
        raise _too_much_metadata()
    return content


class _Member(tarfile.TarInfo):
    """A member of a tar archive with valid headers of a limited size, because tarfile reads each as a whole."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        """Return the next member. Raise InvalidTar for an invalid header, behind which other readers find more."""
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as exc:
            if type(exc).__name__ in _ENDS:
                raise
            raise InvalidTar(f"a header is invalid: {exc}") from exc

    def _proc_member(self, archive: tarfile.TarFile) -> Self:
        # every version of tarfile calls it after each header, before it reads what follows; newer ones not `frombuf`
        if self.type in _EXTENDED and self.size > budget.MAX_TAR_HEADER:
            raise InvalidTar(f"a header is over {budget.MAX_TAR_HEADER} bytes")
        return cast("Self", cast("Any", super())._proc_member(archive))


class _Links:
    """A check of the paths and links in a tar archive.

    It refuses what tarfile's data filter refuses (PEP 706), which Python 3.11.2 of Debian 12 lacks, and paths through
    links, which can leave the root although each name alone does not.
    """

    def __init__(self) -> None:
        self._links: set[str] = set()
        self._paths: list[str] = []

    def check(self, member: tarfile.TarInfo) -> None:
        """Raise InvalidDistribution for a device, a sparse file, or a link that points out of the root."""
        # as Windows unpacks them: elsewhere a backslash is a part of a name, which leads nowhere
        name, target = (text.replace("\\", "/") for text in (member.name, member.linkname))
        if not (member.isfile() or member.isdir() or member.issym() or member.islnk()) or member.issparse():
            raise InvalidDistribution(f"its member {shown(name)} is a device or a sparse file.")
        normalised = posixpath.normpath(name)
        self._paths.append(normalised)
        if not (member.issym() or member.islnk()):
            return
        path = posixpath.join(posixpath.dirname(normalised), target) if member.issym() else target
        if len(path) > 2 * budget.MAX_PATH or target.startswith("/") or leaves_root(posixpath.normpath(path)):
            raise InvalidDistribution(f"its link {shown(name)} points out of the folder that it is unpacked into.")
        self._paths.append(path)
        if member.issym():
            self._links.add(normalised)

    def check_paths(self) -> None:
        """Raise InvalidDistribution for a path that goes through a link: its name does not tell where it leads."""
        for path in self._paths if self._links else ():
            parents: list[str] = []
            for part in path.split("/")[:-1]:
                if part == "..":
                    parents.pop()
                elif part not in ("", "."):
                    parents.append(f"{parents[-1]}/{part}" if parents else part)
                if parents and parents[-1] in self._links:
                    raise InvalidDistribution(f"its path {shown(path)} goes through a link.")


class _LimitedReader(io.RawIOBase):
    """A reader that calls `check` with the number of bytes read, and raises EOFError if reads go on at the end."""

    def __init__(self, source: gzip.GzipFile, *, check: Callable[[int], None]) -> None:
        self._source = source
        self._check = check
        self._count = 0
        self._reads_at_end = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        chunk = self._source.read(size)
        self._count += len(chunk)
        self._check(self._count)
        self._reads_at_end += not chunk
        if self._reads_at_end > _MAX_READS_AT_END:
            raise EOFError("it ends too early")
        return chunk
