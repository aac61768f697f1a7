"""Recognise two names of the same file of a release: another spelling, archive format or build."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from packaging.version import Version

from ppmctl.distributions.distribution import InvalidDistribution, parse_filename

_CACHED = 100_000
_BUILD = re.compile(r"0*(\d+)(.*)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A file's place in its project. `tags` are a wheel's: of the interpreter, of the ABI, of the platform.

    `tags` and `build` are empty for an sdist: a release has one, in any format.
    """

    version: Version
    tags: tuple[frozenset[str], ...] = ()
    build: tuple[str, ...] = ()


def is_same(one: str, other: str, *, project: str | None = None) -> bool:
    """Return whether two filenames of a project are names of one file, so that an installer would take either."""
    first, second = _place(one, project), _place(other, project)
    return first is not None and first == second


def may_replace(new: str, old: str, *, project: str | None = None, live: Iterable[str] = ()) -> bool:
    """Return whether an installer may take the file `new` of a project for the version of `old`, and instead of it.

    They have tags in common, or `new` is of a local version: `==1.0` means 1.0+local too, and prefers that. If a file
    of the release of `old` is among the `live` ones, wheels of a local version need tags in common too.
    """
    one, two = _place(new, project), _place(old, project)
    if one is None or two is None:
        return False
    if one.version != two.version:
        if Version(one.version.public) != two.version:
            return False
        is_live = any(place.version == two.version for name in live if (place := _place(name, project)) is not None)
        if not (is_live and one.tags and two.tags):
            return True
    return len(one.tags) == len(two.tags) and not any(
        tags.isdisjoint(others) for tags, others in zip(one.tags, two.tags, strict=True)
    )


@lru_cache(maxsize=_CACHED)
def _place(filename: str, project: str | None) -> _Place | None:
    """Return a file's place; None if the filename is not a distribution's."""
    try:
        name = parse_filename(filename, project=project)
    except InvalidDistribution:
        return None
    if name.kind == "sdist":
        return _Place(version=name.version)
    _project, _version, *build, interpreter, abi, platform = filename.removesuffix(".whl").lower().split("-")
    numbered = _BUILD.fullmatch(build[0]) if build else None
    return _Place(
        version=name.version,
        tags=tuple(frozenset(tags.split(".")) for tags in (interpreter, abi, platform)),
        build=numbered.groups() if numbered else (),
    )
