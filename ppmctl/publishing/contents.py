"""Look at what is packed in a wheel or sdist: secrets, caches, untracked files, missing modules.

Nothing is unpacked, and only the beginning of each member is read.
"""

from __future__ import annotations

import re
import shlex
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import escape
from itertools import groupby
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from ppmctl.distributions import archive
from ppmctl.distributions.distribution import Filename, InvalidDistribution, one_line
from ppmctl.errors import PpmError, some
from ppmctl.publishing import secret_patterns

if TYPE_CHECKING:
    from ppmctl.publishing.git import Tracking

READ = 1 << 20  # bytes of each member; secrets are in small files
BIG = 10 << 20  # bytes, of a file that git does not track
HUGE = 100 << 20  # bytes, of any file
_LISTED = 20  # members of each file in an error
_EXECUTABLE = 0o111

# Files that builds make, so they are not in the repository. Compiled files may also be large.
_COMPILED = (".so", ".pyd", ".dll", ".dylib", ".a", ".lib", ".exe")
_GENERATED = re.compile(
    r"(.*/)?(_*version_*\.(py|txt)|PKG-INFO|setup\.cfg|[^/]*_pb2(_grpc)?\.pyi?|[^/]*\.(c|cpp|mo|so|pyd|dll|dylib))"
)
_NO_MODULES = frozenset(("tests", "test", "testing", "docs", "doc", "examples", "benchmarks", "scripts"))
_ROOTS = ("", "src/", "lib/", "python/")

# The setting of each build backend that excludes files, by the start of the backend's name.
_EXCLUDE = (
    ("setuptools", "`exclude` in MANIFEST.in, or [tool.setuptools.exclude-package-data] in pyproject.toml"),
    ("hatchling", "`exclude` in [tool.hatch.build] of pyproject.toml"),
    ("flit", "`exclude` in [tool.flit.sdist] of pyproject.toml for sdists; for wheels, outside of the package"),
    ("poetry", "`exclude` in [tool.poetry] of pyproject.toml"),
    ("pdm", "`excludes` in [tool.pdm.build] of pyproject.toml"),
    ("uv_build", "`source-exclude` and `wheel-exclude` in [tool.uv.build-backend] of pyproject.toml"),
)


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file in an archive: its name in the archive, its size in bytes, and its beginning."""

    name: str
    size: int
    head: bytes

    @property
    def text(self) -> bytes:
        """Return its beginning if it is a text file, else nothing."""
        return b"" if b"\0" in self.head[:8192] else self.head


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What must not be published (`refused`, as "member: reason"), and warnings for the user, as phrases."""

    refused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def members(path: Path) -> Iterator[Member]:
    """Yield the files in the archive at `path`, in its order; raise InvalidDistribution if it can't be read."""
    try:
        for name, size, _form, content in open_members(path):
            if content is not None:
                yield Member(name=name, size=size, head=content.read(READ))
    except archive.UNREADABLE as exc:
        raise InvalidDistribution(f"{path.name} is not a readable archive: {one_line(exc)}.") from exc


def open_members(path: Path) -> Iterator[tuple[str, int, object, IO[bytes] | None]]:
    """Yield each member that is not a folder: name, size, form (executable, link to), content (None for a link)."""
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path, "r|gz") as tar:
            for item in tar:
                if not item.isdir():
                    form = (item.type, item.linkname, bool(item.mode & _EXECUTABLE))
                    yield item.name, item.size, form, tar.extractfile(item) if item.isfile() else None
        return
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                with archive.open(info) as content:
                    yield info.filename, info.file_size, bool(info.external_attr >> 16 & _EXECUTABLE), content


def examine(
    name: Filename,
    packed: Iterable[Member],
    *,
    tracking: Tracking | None = None,
    allowed: Sequence[str] = (),
    is_own: bool = True,
) -> Findings:
    """Return what is wrong with the members of the distribution `name`.

    `tracking` is of the folder that it was built from, None without git. Members that match a glob of `allowed` are
    not reported. In a distribution that was not built here (`is_own`) caches are only a warning.
    """
    refused: list[str] = []
    warnings: list[str] = []
    names: dict[str, int] = {}
    leftovers = []
    for member in packed:
        names[member.name] = member.size
        if _matches(member.name, allowed):
            continue
        if secret := _secret(member):
            refused.append(f"{member.name}: {secret}")
        elif leftover := secret_patterns.leftover(member.name):
            if is_own:
                refused.append(f"{member.name}: {leftover} is not part of a project")
            else:
                leftovers.append(member.name)
    if leftovers:
        warnings.append(f"it has caches in it: {some(map(one_line, leftovers))}")
    sizes = {inner: (full, size) for full, size in names.items() if (inner := _inner(full, name)) is not None}
    roots = _roots(sizes, tracking) if name.kind == "wheel" and tracking else ("",)
    untracked = []
    for inner, (full, size) in sizes.items():
        if _matches(full, allowed) or full.endswith(_COMPILED):
            continue
        is_unknown = tracking is not None and _untracked(inner, roots, tracking)
        if is_unknown and size > BIG:
            refused.append(f"{full}: {size >> 20} MB that git does not track")
        elif is_unknown and not _GENERATED.fullmatch(inner):
            untracked.append(full)
        elif size > HUGE and tracking is None:
            warnings.append(f"it has {one_line(full)} in it, {size >> 20} MB")
    if untracked:
        warnings.append(f"it has files in it that git does not track: {some(map(one_line, untracked))}")
    if name.kind == "wheel" and tracking and (missing := _missing(sizes, roots, tracking)):
        warnings.append(f"it lacks modules that git tracks: {some(map(one_line, missing))}")
    return Findings(refused=tuple(refused), warnings=tuple(warnings))


def refusal(refused: Sequence[tuple[str, str]], *, backend: str = "") -> PpmError:
    """Return the error for members that must not be published: pairs of filename and "member: reason"."""
    lines = []
    for filename, group in groupby(refused, itemgetter(0)):
        reasons = [one_line(reason) for _filename, reason in group]
        lines += [f"{filename}: {reason}" for reason in reasons[:_LISTED]]
        if len(reasons) > _LISTED:
            lines.append(f"{filename}: and {len(reasons) - _LISTED} more")
    member = shlex.quote(escape(refused[0][1].partition(": ")[0]))
    setting = next((text for start, text in _EXCLUDE if backend.startswith(start)), "the build backend's settings")
    return PpmError(
        "These packed files must not be published:\n    " + "\n    ".join(lines),
        hint=f"Nothing was uploaded. Delete it, or leave it out of the build: {setting}."
        f" To publish it all the same: --allow-packed {member} (a glob). Replace a secret that others have seen.",
    )


def stale(name: Filename, packed: Iterable[Member], folder: Path) -> list[str]:
    """Return the Python files of `folder` that were changed after the distribution `name` was built."""
    changed = []
    for member in packed:
        inner = _inner(member.name, name)
        if inner is None or not inner.endswith(".py") or _GENERATED.fullmatch(inner) or inner == "setup.py":
            continue
        candidates = (f"{root}{inner}" for root in (_ROOTS if name.kind == "wheel" else ("",)))
        source = next((path for path in candidates if (folder / path).is_file()), None)
        if source is not None:
            with (folder / source).open("rb") as file:
                changed += [source] if file.read(READ) != member.head else []
    return changed


def _secret(member: Member) -> str:
    return (secret_patterns.secret_file(member.name) if member.size else "") or secret_patterns.secret(member.text)


def _inner(member: str, name: Filename) -> str | None:
    """Return a member's path in the project's folder; None for what a build writes itself."""
    top, _, rest = member.partition("/")
    if name.kind == "sdist":
        return None if not rest or rest == "PKG-INFO" or ".egg-info/" in rest else rest
    if top.endswith(".dist-info"):
        return None
    if top.endswith(".data"):
        kind, _, rest = rest.partition("/")
        return rest if kind in ("purelib", "platlib") else None
    return member


def _roots(inner: Iterable[str], tracking: Tracking) -> tuple[str, ...]:
    """Return the folders of the project that the wheel's modules come from, such as src/."""
    wanted = {name for name in inner if "/" in name}
    tops = {name.partition("/")[0] for name in wanted}
    roots = {"", "src/"}
    for tracked in tracking.tracked:
        parts = tracked.split("/")
        for number, part in enumerate(parts[:-1]):
            if part in tops and "/".join(parts[number:]) in wanted:
                roots.add("".join(f"{folder}/" for folder in parts[:number]))
                break
    return tuple(sorted(roots))


def _untracked(inner: str, roots: Sequence[str], tracking: Tracking) -> bool:
    names = {f"{root}{inner}" for root in roots}
    return not names & tracking.tracked and not names.isdisjoint(tracking.others)


def _missing(inner: Iterable[str], roots: Sequence[str], tracking: Tracking) -> list[str]:
    """Return the tracked modules that are missing from the wheel, in packages that the wheel has."""
    packed = set(inner)
    packages = {name.partition("/")[0] for name in packed if "/" in name and name.endswith((".py", *_COMPILED))}
    longest_first = sorted(roots, key=len, reverse=True)
    missing = []
    for tracked in sorted(tracking.tracked):
        if not (tracked.endswith(".py") or PurePosixPath(tracked).name == "py.typed"):
            continue
        names = [tracked.removeprefix(root) for root in longest_first if tracked.startswith(root)]
        name = next((name for name in names if "/" in name and name.partition("/")[0] in packages), "")
        parts = PurePosixPath(name).parts
        if name and name not in packed and not _NO_MODULES & set(parts) and parts[-1] != "conftest.py":
            missing.append(tracked)
    return missing


def _matches(member: str, globs: Iterable[str]) -> bool:
    """Return whether a glob matches the member's whole name, or its name below the top folder of an sdist."""
    return any(fnmatchcase(member, glob) or fnmatchcase(member.partition("/")[2], glob) for glob in globs)
