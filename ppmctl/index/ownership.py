"""Explains why a process may not use a path, in one line with the command to type."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# a uid or gid map, as uid_map in user_namespaces(7): (inside, outside, count)
Ids = tuple[tuple[int, ...], ...]
_IDENTITY: Ids = ((0, 0, 4294967295),)  # ids are the same on the host; in a rootless container they differ


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process, by its user and group."""

    uid: int
    gid: int
    uids: Ids = _IDENTITY
    gids: Ids = _IDENTITY

    def __str__(self) -> str:
        return f"uid {self.uid}, gid {self.gid}"


def this_process() -> Process:
    """Return this process."""
    return Process(uid=os.getuid(), gid=os.getgid(), uids=_ids("uid_map"), gids=_ids("gid_map"))


def _ids(name: str) -> Ids:
    try:
        lines = Path(f"/proc/self/{name}").read_text(encoding="ascii").splitlines()
        return tuple(tuple(map(int, line.split())) for line in lines) or _IDENTITY
    except (OSError, ValueError):
        return _IDENTITY


def host_id(number: int, ids: Ids) -> int:
    """Return the id on the host of an id in this container; the same id if it is not mapped."""
    for inside, outside, count in ids:
        if inside <= number < inside + count:
            return outside + number - inside
    return number


def refusal(path: Path, status: os.stat_result, process: Process, *, root: Path) -> str:
    """Return why `process` can't use `path`, of the volume at `root`, and how to change that. One line."""
    uid, gid = status.st_uid, status.st_gid
    if uid == process.uid:
        return (
            f"{path} belongs to this process ({process}), but its mode is {status.st_mode & 0o7777:04o}:"
            f" `chmod -R u+rwX {root}` (in a container: on the mounted folder) gives access."
        )
    owner = f"{host_id(process.uid, process.uids)}:{host_id(process.gid, process.gids)}"
    text = (
        f"{path} belongs to uid {uid}, gid {gid}; this process is {process}, and can't write it."
        f" `sudo chown -R {owner} {root}` (in a container: on the mounted folder) gives access"
    )
    if uid != 0 or process.uids != _IDENTITY:  # never suggest to serve as root
        text += (
            f", or run it as uid {uid}, gid {gid} (Docker Compose: PPM_UID={uid} and PPM_GID={gid} in docker/.env)"
        )
    return f"{text}."
