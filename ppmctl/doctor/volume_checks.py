"""Check on the host what can't be seen from outside: free disk space, slow hashes, pages that may be old."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

from ppmctl.access import credential_files, htpasswd
from ppmctl.doctor.finding import Finding
from ppmctl.errors import PpmError, some
from ppmctl.index import operation_result
from ppmctl.index.free_space import free_space
from ppmctl.index.layout import Volume
from ppmctl.index.recovery import marked_projects
from ppmctl.server import health, running
from ppmctl.server.settings import server_settings

_LAST = {"backup": "last backup", "drill": "last drill", "certificate": "last renewal"}
_SLOW = 0.005  # seconds of processor time a request; an issued secret takes a thousandth of it


def check(volume: Volume, environ: Mapping[str, str], certificate: Iterable[Finding]) -> Iterator[Finding]:
    """Run all these checks of a volume that this process may use; `certificate` has those of the web server's."""
    yield Finding("volume", "ok", f"{volume.root} can be used")
    yield from disk(volume, os.statvfs(volume.root))
    yield from certificate
    yield from hashes(volume)
    yield from pending(volume)
    yield from operations(volume)
    yield from server(volume, environ)


def disk(volume: Volume, space: os.statvfs_result) -> Iterator[Finding]:
    """Check whether the file system has enough bytes and inodes; 0 inodes in all means no limit."""
    root = volume.root
    hints = {
        "disk": f"Enlarge the disk, or remove releases (ppmctl package remove): ppmctl stats --root {root}  shows"
        " sizes.",
        "inodes": f"Delete other files on that disk (df -i {root}), or copy {root} to one with more inodes"
        " (mkfs.ext4 -N).",
    }
    for free in free_space(space):
        yield Finding(free.what, free.state, free.message, "" if free.state == "ok" else hints[free.what])


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
    names = marked_projects(volume)
    if names:
        message = f"pages may be old ({len(names)}: {some(names, 5)}), unless an upload is running"
        yield Finding("pending", "warn", message, f"ppmctl index rebuild --root {volume.root}")
    else:
        yield Finding("pending", "ok", "all project pages are up to date")


def operations(volume: Volume) -> Iterator[Finding]:
    """Find recurring operations that failed the last time: backup, restore drill, renewal of the certificate."""
    for result in operation_result.read_all(volume).values():
        if not result.succeeded:
            message = f"it failed at {result.finished}: {result.detail or 'without a reason'}"
            hint = f"It last succeeded at {result.last_success}." if result.last_success else "It never succeeded."
            yield Finding(
                _LAST.get(result.name, result.name),
                "fail",
                message,
                f"{hint} ppmctl operation list --root {volume.root}",
            )


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
