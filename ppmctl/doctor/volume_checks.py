"""What is seen beside a volume alone: the room that is left, what credentials cost, what is unfinished."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ppmctl.access import credential_files, htpasswd
from ppmctl.doctor import tls
from ppmctl.doctor.finding import Finding
from ppmctl.errors import PpmError
from ppmctl.index.layout import ROOT_MARK, Volume
from ppmctl.index.pages import marked
from ppmctl.output import size
from ppmctl.server import health
from ppmctl.server.settings import server_settings

_MIB = 1 << 20
_LEAST_ROOM = 100 * _MIB  # an upload needs room for itself, and so do the pages
_LITTLE_ROOM = 0.1  # of the whole
_ROOM = 20 << 30  # is enough, whatever part of the whole it is
_LEAST_NAMES = 1000  # a file takes three or four
_LITTLE_NAMES = 0.05
_SLOW = 0.005  # seconds of processor time a request; an issued secret takes a thousandth of it


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a file system has left, and in all. `names` are files that can still be made; 0 of 0 has no limit."""

    free: int
    size: int
    names: int
    all_names: int


def check(volume: Volume, environ: Mapping[str, str]) -> Iterator[Finding]:
    """All that there is to see; `volume` is one that this process may use."""
    yield Finding("volume", "ok", f"{volume.root} can be used")
    yield from disk(volume, _room(volume))
    yield from tls.beside()
    yield from hashes(volume)
    yield from unfinished(volume)
    yield from server(volume, environ)


def _room(volume: Volume) -> Room:
    found = os.statvfs(volume.root)
    return Room(
        free=found.f_bavail * found.f_frsize,
        size=found.f_blocks * found.f_frsize,
        names=found.f_favail,
        all_names=found.f_files,
    )


def disk(volume: Volume, room: Room) -> Iterator[Finding]:
    """The bytes and the files that still fit."""
    left = f"{size(room.free)} of {size(room.size)} are free"
    mend = (
        f"Enlarge its disk, or make room: ppmctl stats --root {volume.root}  shows which projects are large,"
        " ppmctl package remove  takes old releases away."
    )
    is_little = room.free < room.size * _LITTLE_ROOM and room.free < _ROOM
    yield _enough("disk", left, mend, is_full=room.free < _LEAST_ROOM, is_little=is_little)
    if not room.all_names:
        return
    left = f"{room.names} of {room.all_names} inodes are free"
    mend = (
        f"Delete what is not the index's on that file system (df -i {volume.root}), or make one with more inodes"
        f" (mkfs.ext4 -N) and copy {volume.root} to it."
    )
    is_little = room.names < room.all_names * _LITTLE_NAMES
    yield _enough("inodes", left, mend, is_full=room.names < _LEAST_NAMES, is_little=is_little)


def _enough(check: str, left: str, mend: str, *, is_full: bool, is_little: bool) -> Finding:
    if is_full:
        return Finding(check, "fail", f"{left}: uploads fail", mend)
    return Finding(check, "warn", left, mend) if is_little else Finding(check, "ok", left)


def hashes(volume: Volume) -> Iterator[Finding]:
    """Credentials whose hash costs too much to be made again with each request."""
    known = credential_files.read_htpasswd(volume.htpasswd)
    slow = 0
    for name, stored in sorted(known.items()):
        line = htpasswd.parse(f"{name}:{stored}")
        seconds = htpasswd.cost(line)
        if line.kind is None or seconds < _SLOW:
            continue
        slow += 1
        each = f"{name} has a hash ({line.kind.name}) that takes {seconds * 1000:.0f} ms of processor time a request"
        mend = f"ppmctl user rotate {name} --root {volume.root}  issues a secret that is as safe and costs nothing."
        yield Finding("htpasswd", "warn", f"{each}: nginx answers nobody else meanwhile", mend)
    if not slow:
        yield Finding("htpasswd", "ok", f"none of {len(known)} credentials takes long to try")


def unfinished(volume: Volume) -> Iterator[Finding]:
    """Projects whose pages may be older than their folders."""
    names = [name for name in marked(volume) if not name.startswith(ROOT_MARK)]
    if names:
        named = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        said = f"the pages of projects may be old ({len(names)}: {named}), unless something is just being uploaded"
        yield Finding("pending", "warn", said, f"ppmctl index rebuild --root {volume.root}")
    else:
        yield Finding("pending", "ok", "every project's pages are of this moment")


def server(volume: Volume, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the application answers: while it is down nginx goes on reading, and nobody can upload."""
    try:
        health.check(server_settings(volume.root, environ=environ))
    except PpmError as exc:
        mend = (
            "On a host: systemctl restart ppm.service, and journalctl -u ppm.service  says why it stopped;"
            f" by hand: ppmctl serve --root {volume.root}"
        )
        yield Finding("server", "fail", exc.phrase, exc.hint or mend)
    else:
        yield Finding("server", "ok", "the application answers, shows a page, and can write its volume")
