"""`ppmctl index adopt`: take over an existing pypiserver folder, flat or nested."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ppmctl import events
from ppmctl.distributions import distribution, environment_wheel
from ppmctl.distributions.distribution import InvalidDistribution
from ppmctl.distributions.environment_revision import environment_of
from ppmctl.errors import PpmError, Refused
from ppmctl.index import project_folder
from ppmctl.index.store import Store

BY = "adopt"

# What pypiserver lists and an index of today does not hand out: no installer has used them for years.
_OLD_FORMATS = {
    ".egg": "an egg; installers take wheels and sdists",
    ".exe": "a bdist_wininst installer",
    ".msi": "a bdist_msi installer",
    ".rpm": "a bdist_rpm package",
    ".deb": "a Debian package",
    ".tar.bz2": "an sdist as .tar.bz2, which PEP 527 ended; build it again as .tar.gz",
    ".tar.xz": "an sdist as .tar.xz; build it again as .tar.gz",
    ".tar.Z": "an sdist as .tar.Z; build it again as .tar.gz",
    ".tgz": "an sdist as .tgz; build it again as .tar.gz",
    ".asc": "a signature, which installers don't read",
}
_PLATFORMS = ("linux", "macosx", "win32", "win-amd64", "cygwin", "freebsd", "solaris")


@dataclass(frozen=True, kw_only=True)
class Left:
    """A file that was not taken, and why."""

    path: Path
    reason: str


@dataclass(kw_only=True)
class Adopted:
    """What was taken, what was here already with the same content, and what was left."""

    taken: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)


def adopt(store: Store, source: Path, *, hard_links: bool) -> Adopted:
    """Publish the files below `source`, by name, each with its mtime as upload time.

    They are copied (blocks shared where the file system can), or with `hard_links` linked. The source is
    only read. A file that is here already with the same content is passed over, so it can be run again.
    PpmError where `source` is no folder, or the volume's.
    """
    if not source.is_dir():
        raise PpmError(f"{source} is not a folder.", hint="Give the folder that pypiserver serves.")
    _refuse_inside(store, source)
    if hard_links:
        events.note("Linked files are shared with the old folder: a change of one there changes it here too.")
    done = Adopted()
    changed: set[str] = set()
    found = sorted(_walk(source))
    try:
        with events.progress("Files", len(found)) as step:
            for path in found:
                try:
                    changed.add(_take(store, path, hard_links=hard_links, done=done))
                except Refused as exc:
                    done.left.append(Left(path=path, reason=exc.message))
                except InvalidDistribution as exc:
                    done.left.append(Left(path=path, reason=_about(path.name) or exc.message))
                step(1)
    finally:
        for project in sorted(changed):
            store.refresh(project)
        if changed:
            store.write_root()
    return done


def _take(store: Store, path: Path, *, hard_links: bool, done: Adopted) -> str:
    name = distribution.parse_filename(path.name)
    with store.area.take(path, hard_link=hard_links) as received:
        dist = distribution.inspect(received.path, path.name)
        if store.holds(name, received.sha256):
            done.same.append(path.name)
            return name.project
        if environment_of(name.project) is not None:
            environment_wheel.check(name, received.path)
        when = project_folder.timestamp(datetime.fromtimestamp(path.stat().st_mtime, UTC))
        store.put(received, dist, by=BY, upload_time=when, show=False)
    done.taken.append(path.name)
    return name.project


def _about(filename: str) -> str:
    """Why a file that pypiserver lists is not one that an index hands out; "" if it is none of those."""
    for suffix, reason in _OLD_FORMATS.items():
        if filename.endswith(suffix):
            return reason
    if any(f".{platform}" in filename for platform in _PLATFORMS) and not filename.endswith(".whl"):
        return "a bdist_dumb archive; installers take wheels and sdists"
    return ""


def _walk(source: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(source):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if not name.startswith(".") and path.is_file():
                yield path


def _refuse_inside(store: Store, source: Path) -> None:
    root, source = store.volume.root.resolve(), source.resolve()
    if source == root or root in source.parents or source in root.parents:
        raise PpmError(
            f"{source} and the volume {root} lie in one another.",
            hint="Move the old folder beside the volume, then adopt it from there.",
        )
