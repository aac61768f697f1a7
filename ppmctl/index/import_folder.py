"""`ppmctl index adopt`: publish the files of an existing pypiserver folder, flat or nested."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ppmctl import events, regular_file
from ppmctl.distributions import distribution, inspection
from ppmctl.distributions.distribution import InvalidDistribution
from ppmctl.errors import PpmError, Refused
from ppmctl.index import project_folder
from ppmctl.index.store import Store

BY = project_folder.ADOPT

# Formats that pypiserver lists, but no current installer uses.
_OLD_FORMATS = {
    ".egg": "an egg; installers take wheels and sdists",
    ".exe": "a bdist_wininst installer",
    ".msi": "a bdist_msi installer",
    ".rpm": "a bdist_rpm package",
    ".deb": "a Debian package",
    ".tar.bz2": "an sdist as .tar.bz2, which PEP 527 ended; pack it again: bzcat {0}.tar.bz2 | gzip > {0}.tar.gz",
    ".tar.xz": "an sdist as .tar.xz; pack it again: xzcat {0}.tar.xz | gzip > {0}.tar.gz",
    ".tar.Z": "an sdist as .tar.Z; pack it again: zcat {0}.tar.Z | gzip > {0}.tar.gz",
    ".tgz": "an sdist as .tgz; rename it to {0}.tar.gz",
    ".asc": "a signature, which installers don't read",
}
_PLATFORMS = ("linux", "macosx", "win32", "win-amd64", "cygwin", "freebsd", "solaris")


@dataclass(frozen=True, kw_only=True)
class Left:
    """A file that was not published, and the reason."""

    path: Path
    reason: str


@dataclass(kw_only=True)
class Adopted:
    """The files that were published, that the index had already with the same content, and that were left."""

    taken: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)


def adopt(store: Store, source: Path, *, hard_links: bool) -> Adopted:
    """Publish the files below `source`, sorted by path, each with its mtime as upload time.

    They are copied (with shared blocks if possible), or with `hard_links` linked; `source` is only read. A symbolic
    link counts as the file below `source` that it leads to. A file that the index already has is skipped, so this can
    be run again. PpmError if `source` is no folder outside the volume.
    """
    if not source.is_dir():
        raise PpmError(f"{source} is not a folder.", hint="Give the folder that pypiserver serves.")
    _require_outside(store, source)
    if hard_links:
        events.note("Linked files are shared with the old folder: a change there also changes the file in the index.")
    done = Adopted()
    changed: set[str] = set()
    paths = sorted(_walk(source))
    try:
        with events.progress("Files", len(paths)) as step:
            for path in paths:
                try:
                    changed.add(_take(store, source, path, hard_links=hard_links, done=done))
                except (Refused, inspection.Busy) as exc:
                    done.left.append(Left(path=path, reason=exc.message))
                except InvalidDistribution as exc:
                    done.left.append(Left(path=path, reason=old_format(path.name) or exc.message))
                except regular_file.NotRegularFile:
                    done.left.append(Left(path=path, reason="not a regular file"))
                step(1)
    finally:
        for project in sorted(changed):
            store.refresh(project)
        if changed:
            store.write_root()
    return done


def _take(store: Store, source: Path, path: Path, *, hard_links: bool, done: Adopted) -> str:
    real = _without_link(source, path)
    distribution.kind_of(path.name)  # so that no other file is copied
    below = source if real is path else source.resolve()
    with store.area.take(real, below=below, hard_link=hard_links) as received:
        dist = inspection.inspect(received.path, path.name, old=True)
        if store.holds(dist.name, received.sha256):
            done.same.append(path.name)
            return dist.name.project
        dist.require_readable()
        when = project_folder.timestamp(datetime.fromtimestamp(real.stat().st_mtime, UTC))
        store.put(received, dist, by=BY, upload_time=when, show=False)
    done.taken.append(path.name)
    return dist.name.project


def _without_link(source: Path, path: Path) -> Path:
    """Return the file that a path below `source` leads to. Raise InvalidDistribution if that is not below `source`.

    A user who may write into the old folder must not publish files that only this process can read.
    """
    if not path.is_symlink():
        return path
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(source.resolve()):
        raise InvalidDistribution("a link out of the folder; put the file itself there")
    if real.is_dir():
        raise InvalidDistribution("a link to a folder; what is in that folder is taken from there")
    if not real.is_file():
        raise InvalidDistribution("a link to no file")
    return real


def old_format(filename: str) -> str:
    """Return the name of an old format that pypiserver lists, with advice; "" for other files."""
    for suffix, reason in _OLD_FORMATS.items():
        if filename.endswith(suffix):
            return reason.format(filename.removesuffix(suffix))
    if any(f".{platform}" in filename for platform in _PLATFORMS) and not filename.endswith(".whl"):
        return "a bdist_dumb archive; installers take wheels and sdists"
    return ""


def _walk(source: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(source):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(parent, name).is_symlink()]  # which are not followed
        yield from (Path(parent, name) for name in (*names, *links) if not name.startswith("."))


def _require_outside(store: Store, source: Path) -> None:
    root, source = store.volume.root.resolve(), source.resolve()
    if source == root or root in source.parents or source in root.parents:
        raise PpmError(
            f"{source} must be outside the volume {root}, and must not contain it.",
            hint="Move the old folder out of the volume, then adopt it from there.",
        )
