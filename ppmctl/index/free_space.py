"""How much is free of the file system of a volume, and whether that is enough."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ppmctl.output import size

_MIB = 1 << 20
LEAST_SPACE = 100 * _MIB  # for an upload and its pages
_LITTLE_SPACE = 0.1  # of the disk
_ENOUGH_SPACE = 20 << 30  # whatever part of the disk it is
_LEAST_INODES = 1000  # a file takes three or four
_LITTLE_INODES = 0.05


@dataclass(frozen=True, kw_only=True)
class Free:
    """What is free of the bytes ("disk") or "inodes". `state` is "fail" if uploads fail, "warn" if little is left."""

    what: Literal["disk", "inodes"]
    state: Literal["ok", "warn", "fail"]
    message: str


def free_space(space: os.statvfs_result) -> Iterator[Free]:
    """Yield what is free of the bytes, and of the inodes if the file system has a limit of them (more than 0)."""
    free, whole = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
    message = f"{size(free)} of {size(whole)} are free"
    yield _free("disk", message, is_full=free < LEAST_SPACE, is_little=lacking_space(space) > 0)
    if space.f_files:
        message = f"{space.f_favail} of {space.f_files} inodes are free"
        is_little = space.f_favail < space.f_files * _LITTLE_INODES
        yield _free("inodes", message, is_full=space.f_favail < _LEAST_INODES, is_little=is_little)


def lacking_space(space: os.statvfs_result) -> int:
    """Return how many bytes more should be free; a negative number if enough are."""
    enough = min(int(space.f_blocks * _LITTLE_SPACE) * space.f_frsize, _ENOUGH_SPACE)
    return enough - space.f_bavail * space.f_frsize


def _free(what: Literal["disk", "inodes"], message: str, *, is_full: bool, is_little: bool) -> Free:
    if is_full:
        return Free(what=what, state="fail", message=f"{message}: uploads fail")
    return Free(what=what, state="warn" if is_little else "ok", message=message)
