"""Why a process may not use a folder, in one line that says what to type: whose it is, who is asking."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# a uid or gid map, as uid_map in user_namespaces(7): (inside, outside, how many)
Ids = tuple[tuple[int, ...], ...]
_IDENTITY: Ids = ((0, 0, 4294967295),)  # a number here is the same on the machine; in rootless containers it is not


@dataclass(frozen=True, kw_only=True)
class Asker:
    """A process, as its user and its group."""

    uid: int
    gid: int
    uids: Ids = _IDENTITY
    gids: Ids = _IDENTITY


def this_process() -> Asker:
    """Who this process is."""
    return Asker(uid=os.getuid(), gid=os.getgid(), uids=_ids("uid_map"), gids=_ids("gid_map"))


def _ids(name: str) -> Ids:
    try:
        lines = Path(f"/proc/self/{name}").read_text(encoding="ascii").splitlines()
        return tuple(tuple(map(int, line.split())) for line in lines) or _IDENTITY
    except (OSError, ValueError):
        return _IDENTITY


def outside(number: int, ids: Ids) -> int:
    """What an id of here is on the machine; itself, if it is none there."""
    for inside, there, count in ids:
        if inside <= number < inside + count:
            return there + number - inside
    return number


def refusal(path: Path, found: os.stat_result, asker: Asker, *, root: Path) -> str:
    """Why `asker` can't use `path`, which was `found` and is in the volume at `root`, and how it could. One line."""
    asking = f"uid {asker.uid}, gid {asker.gid}"
    if found.st_uid == asker.uid:
        return (
            f"{path} belongs to this process ({asking}), but its mode is {found.st_mode & 0o7777:04o}:"
            f" `chmod -R u+rwX {root}` (in a container: the folder that is mounted there) lets it in."
        )
    given = f"{outside(asker.uid, asker.uids)}:{outside(asker.gid, asker.gids)}"
    said = (
        f"{path} belongs to uid {found.st_uid}, gid {found.st_gid}; this process is {asking}, and can't write it."
        f" `sudo chown -R {given} {root}` (in a container: the folder that is mounted there) gives it all"
    )
    if found.st_uid == 0 and asker.uids == _IDENTITY:  # nobody should be told to serve as root
        return f"{said}."
    return (
        f"{said}, or run it as uid {found.st_uid}, gid {found.st_gid}"
        f" (Docker Compose: PPM_UID={found.st_uid} and PPM_GID={found.st_gid} in docker/.env)."
    )
