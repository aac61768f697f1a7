"""What is packed in a wheel or sdist: no secret, no cache, nothing that git does not track; nothing left out.

Nothing is unpacked, and of each member no more is read than its beginning.
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
from pathlib import Path, PurePosixPath
from typing import IO

from ppmctl.distributions import archive
from ppmctl.distributions.distribution import Filename, InvalidDistribution, one_line
from ppmctl.errors import PpmError, some
from ppmctl.publishing import secret_patterns
from ppmctl.publishing.git import Tracking

READ = 1 << 20  # bytes of each member; secrets stand in small files
BIG = 10 << 20  # bytes; of a file that git does not track
HUGE = 100 << 20  # of any file
_LISTED = 20  # in a refusal
_EXECUTABLE = 0o111

# Made by a build, and so in no repository; what is compiled is also large by right.
_COMPILED = (".so", ".pyd", ".dll", ".dylib", ".a", ".lib", ".exe")
_GENERATED = re.compile(
    r"(.*/)?(_*version_*\.(py|txt)|PKG-INFO|setup\.cfg|[^/]*_pb2(_grpc)?\.pyi?|[^/]*\.(c|cpp|mo|so|pyd|dll|dylib))"
)
_NO_MODULES = frozenset(("tests", "test", "testing", "docs", "doc", "examples", "benchmarks", "scripts"))
_ROOTS = ("", "src/", "lib/", "python/")

# Where a build backend is told what to leave out, by how its name starts.
_LEAVE_OUT = (
    ("setuptools", "`exclude` in MANIFEST.in, or [tool.setuptools.exclude-package-data] in pyproject.toml"),
    ("hatchling", "`exclude` in [tool.hatch.build] of pyproject.toml"),
    ("flit", "`exclude` in [tool.flit.sdist] of pyproject.toml for sdists; for wheels, outside of the package"),
    ("poetry", "`exclude` in [tool.poetry] of pyproject.toml"),
    ("pdm", "`excludes` in [tool.pdm.build] of pyproject.toml"),
    ("uv_build", "`source-exclude` and `wheel-exclude` in [tool.uv.build-backend] of pyproject.toml"),
)


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file in an archive: its name there, its size in bytes, and how it begins."""

    name: str
    size: int
    head: bytes

    @property
    def text(self) -> bytes:
        """Its beginning, if it is a text; else nothing."""
        return b"" if b"\0" in self.head[:8192] else self.head


@dataclass(frozen=True, kw_only=True)
class Findings:
    """`refused`: what must not be published, as "member: what it is". `warnings` are for people."""

    refused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def members(path: Path) -> Iterator[Member]:
    """Yield the files in the archive at `path`, in its order. InvalidDistribution where it can't be read."""
    try:
        for name, size, _form, content in opened(path):
            if content is not None:
                yield Member(name=name, size=size, head=content.read(READ))
    except archive.UNREADABLE as exc:
        raise InvalidDistribution(f"{path.name} is not a readable archive: {one_line(exc)}.") from exc


def opened(path: Path) -> Iterator[tuple[str, int, object, IO[bytes] | None]]:
    """Yield each member of an archive that is no folder: name, size, form and content, which a link has not.

    The form says whether it is executable, and what it links to. archives.UNREADABLE.
    """
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
    """What is wrong with what is packed in the distribution `name`.

    `tracking` is of the folder that it was built from, None where git knows nothing of that. What matches a glob of
    `allowed` is right, whatever it is. Of what is not one's `own`, and can't be built better, caches are no more than
    named.
    """
    refused: list[str] = []
    warnings: list[str] = []
    names: dict[str, int] = {}
    litter = []
    for member in packed:
        names[member.name] = member.size
        if _matches(member.name, allowed):
            continue
        if what := _secret(member):
            refused.append(f"{member.name}: {what}")
        elif what := secret_patterns.litter(member.name):
            if is_own:
                refused.append(f"{member.name}: {what} is no part of a project")
            else:
                litter.append(member.name)
    if litter:
        warnings.append(f"{name.filename} has caches in it: {some(map(one_line, litter))}.")
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
            warnings.append(f"{name.filename} has {one_line(full)} in it, {size >> 20} MB.")
    if untracked:
        warnings.append(f"{name.filename} has files in it that git does not track: {some(map(one_line, untracked))}.")
    if name.kind == "wheel" and tracking and (missing := _missing(sizes, roots, tracking)):
        warnings.append(f"{name.filename} lacks modules that git tracks: {some(map(one_line, missing))}.")
    return Findings(refused=tuple(refused), warnings=tuple(warnings))


def refusal(found: Iterable[tuple[str, str]], *, backend: str = "") -> PpmError:
    """The error for what was `found`, pairs of a distribution's filename and "member: what it is"."""
    found = list(found)
    lines = [f"{filename}: {one_line(what)}" for filename, what in found[:_LISTED]]
    if len(found) > _LISTED:
        lines.append(f"and {len(found) - _LISTED} more")
    member = shlex.quote(escape(found[0][1].partition(": ")[0]))
    place = next((where for start, where in _LEAVE_OUT if backend.startswith(start)), "the build backend's settings")
    return PpmError(
        "What is packed must not be published:\n    " + "\n    ".join(lines),
        hint=f"Nothing was uploaded. Delete it, or leave it out of what is packed: {place}."
        f" If it is right as it is: --allow-packed {member} (a glob). A secret that others saw is to be replaced.",
    )


def stale(name: Filename, packed: Iterable[Member], folder: Path) -> list[str]:
    """The Python files of `folder` that the distribution `name` has with other content: it was built before they
    were changed."""
    changed = []
    for member in packed:
        inner = _inner(member.name, name)
        if inner is None or not inner.endswith(".py") or _GENERATED.fullmatch(inner) or inner == "setup.py":
            continue
        for root in _ROOTS if name.kind == "wheel" else ("",):
            here = folder / f"{root}{inner}"
            if here.is_file():
                with here.open("rb") as file:
                    if file.read(READ) != member.head:
                        changed.append(f"{root}{inner}")
                break
    return changed


def _secret(member: Member) -> str:
    return (secret_patterns.secret_file(member.name) if member.size else "") or secret_patterns.secret(member.text)


def _inner(member: str, name: Filename) -> str | None:
    """A member's name as it is in the project's folder; None for what a build writes itself."""
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
    """Where in the project's folder the wheel's modules come from, such as src/."""
    wanted = {name for name in inner if "/" in name}
    tops = {name.partition("/")[0] for name in wanted}
    found = set()
    for tracked in tracking.tracked:
        parts = tracked.split("/")
        for place, part in enumerate(parts[:-1]):
            if part in tops and "/".join(parts[place:]) in wanted:
                found.add("".join(f"{folder}/" for folder in parts[:place]))
                break
    return tuple(sorted({*found, "", "src/"}))


def _untracked(inner: str, roots: Sequence[str], tracking: Tracking) -> bool:
    names = {f"{root}{inner}" for root in roots}
    return not names & tracking.tracked and not names.isdisjoint(tracking.others)


def _missing(inner: Iterable[str], roots: Sequence[str], tracking: Tracking) -> list[str]:
    """The modules that git tracks in packages that the wheel has, and the wheel has not."""
    there = set(inner)
    packages = {name.partition("/")[0] for name in there if "/" in name and name.endswith((".py", *_COMPILED))}
    longest_first = sorted(roots, key=len, reverse=True)
    missing = []
    for tracked in sorted(tracking.tracked):
        if not (tracked.endswith(".py") or PurePosixPath(tracked).name == "py.typed"):
            continue
        names = [tracked.removeprefix(root) for root in longest_first if tracked.startswith(root)]
        name = next((name for name in names if "/" in name and name.partition("/")[0] in packages), "")
        parts = PurePosixPath(name).parts
        if name and name not in there and not _NO_MODULES & set(parts) and parts[-1] != "conftest.py":
            missing.append(tracked)
    return missing


def _matches(member: str, globs: Iterable[str]) -> bool:
    """Whether a glob means the member: by its whole name, or in an sdist without the folder at its top."""
    return any(fnmatchcase(member, glob) or fnmatchcase(member.partition("/")[2], glob) for glob in globs)
