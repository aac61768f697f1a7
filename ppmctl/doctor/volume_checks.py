"""Check on the host what can't be seen from outside: free disk space, slow hashes, pages that may be old."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

from ppmctl.access import credential_files, htpasswd
from ppmctl.doctor.finding import Finding
from ppmctl.errors import PpmError, some
from ppmctl.index.layout import ROOT_MARK, Volume
from ppmctl.index.pages import marked
from ppmctl.output import size
from ppmctl.server import health, running
from ppmctl.server.settings import server_settings

_MIB = 1 << 20
_LEAST_SPACE = 100 * _MIB  # for an upload and its pages
_LITTLE_SPACE = 0.1  # of the disk
_ENOUGH_SPACE = 20 << 30  # whatever part of the disk it is
_LEAST_INODES = 1000  # a file takes three or four
_LITTLE_INODES = 0.05
_SLOW = 0.005  # seconds of processor time a request; an issued secret takes a thousandth of it


def check(volume: Volume, environ: Mapping[str, str], certificate: Iterable[Finding]) -> Iterator[Finding]:
    """Run all these checks of a volume that this process may use; `certificate` has those of the web server's."""
    yield Finding("volume", "ok", f"{volume.root} can be used")
    yield from disk(volume, os.statvfs(volume.root))
    yield from certificate
    yield from hashes(volume)
    yield from pending(volume)
    yield from server(volume, environ)


def disk(volume: Volume, space: os.statvfs_result) -> Iterator[Finding]:
    """Check whether the file system has enough bytes and inodes; 0 inodes in all means no limit."""
    root, free, whole = volume.root, space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
    hint = f"Enlarge the disk, or remove releases (ppmctl package remove): ppmctl stats --root {root}  shows sizes."
    is_little = free < whole * _LITTLE_SPACE and free < _ENOUGH_SPACE
    message = f"{size(free)} of {size(whole)} are free"
    yield _enough("disk", message, hint, is_full=free < _LEAST_SPACE, is_little=is_little)
    if not space.f_files:
        return
    hint = f"Delete other files on that disk (df -i {root}), or copy {root} to one with more inodes (mkfs.ext4 -N)."
    message = f"{space.f_favail} of {space.f_files} inodes are free"
    is_little = space.f_favail < space.f_files * _LITTLE_INODES
    yield _enough("inodes", message, hint, is_full=space.f_favail < _LEAST_INODES, is_little=is_little)


def _enough(check: str, message: str, hint: str, *, is_full: bool, is_little: bool) -> Finding:
    if is_full:
        return Finding(check, "fail", f"{message}: uploads fail", hint)
    return Finding(check, "warn", message, hint) if is_little else Finding(check, "ok", message)


def hashes(volume: Volume) -> Iterator[Finding]:
    """Find credentials whose hash takes too long for every request."""
    known = credential_files.read_htpasswd(volume.htpasswd)
    is_fast = True
    for name, stored in sorted(known.items()):
        line = htpasswd.parse(f"{name}:{stored}")
        seconds = htpasswd.cost(line)
        if line.kind is None or seconds < _SLOW:
            continue
        is_fast = False
        cost = f"{name} has a hash ({line.kind.name}) that takes {seconds * 1000:.0f} ms of processor time a request"
        hint = f"ppmctl user rotate {name} --root {volume.root}  issues a secret that is as safe and takes no time."
        yield Finding("htpasswd", "warn", f"{cost}: meanwhile nginx answers no other request", hint)
    if is_fast:
        yield Finding("htpasswd", "ok", f"none of {len(known)} credentials takes long to check")


def pending(volume: Volume) -> Iterator[Finding]:
    """Find projects whose pages may be older than their files."""
    names = [name for name in marked(volume) if not name.startswith(ROOT_MARK)]
    if names:
        message = f"pages may be old ({len(names)}: {some(names, 5)}), unless an upload is running"
        yield Finding("pending", "warn", message, f"ppmctl index rebuild --root {volume.root}")
    else:
        yield Finding("pending", "ok", "all project pages are up to date")


def server(volume: Volume, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Check whether the application answers; while it is down, nginx serves reads, and uploads fail."""
    servers = running.servers(volume)
    served = next(iter(servers), None)
    try:
        health.check(server_settings(volume.root, flags=served.flags if served else None, environ=environ))
    except PpmError as exc:
        hint = (served.hint if served else "") or (
            "On a host: systemctl restart ppm.service, and journalctl -u ppm.service  shows why it stopped;"
            f" by hand: ppmctl serve --root {volume.root}"
        )
        yield Finding("server", "fail", exc.phrase, exc.hint or hint)
    else:
        yield Finding("server", "ok", "the application answers, serves a page, and can write to its volume")
    if len(servers) > 1:
        message = f"{len(servers)} servers use this volume: {some(each.described for each in servers)}"
        yield Finding("servers", "warn", message, "Unless one is about to replace the other, stop all but one.")
