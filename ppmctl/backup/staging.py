"""Keep a copy of a volume's own files for restic, `backup/staging/`: hard links to files that never change.

Each project is brought up to date under its lock, the credentials under theirs. So a copy has only whole changes,
and every change that was done before it began. What did not change since the last backup is not touched, so neither
is its ctime, and restic stores only what is new.

Environments come before the projects that their locks name, credentials and the audit log come last.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from ppmctl import events, files
from ppmctl.distributions.environment_revision import environment_of
from ppmctl.distributions.names import is_normalised
from ppmctl.errors import NOT_SUCH_JSON, PpmError, some
from ppmctl.index import project_folder
from ppmctl.index.layout import SIDE_FILES, TOMBSTONE, Volume

# what is made again from the rest, belongs to running processes, or is not in the index yet
DERIVED = frozenset(
    {"index", "locks", "servers", "incoming", "bodies", "requests", "drop", "backup", "storage", "lost+found"}
)
# of the credentials: nginx's copy; and what would work again after it was used or ended
NOT_CREDENTIALS = frozenset({"nginx", "nginx-limited", "sessions", "login-links"})
_BY_PROJECT = ("packages", "quarantine")
_WITH_CREDENTIALS = ("first-credential", "netrc")
_AUDIT, _ROTATED = "audit.jsonl", "audit-"
_SQLITE = b"SQLite format 3\x00"
_OTHER = "Another snapshot: ppmctl backup list"
_BESIDE_SQLITE = ("-journal", "-wal", "-shm")
_STATUS = ".status"
_COUNTS = ".counts.json"  # how many files a snapshot has, which restic can't know if it could not read some


def is_data(name: str) -> bool:
    """Return whether the entry of a volume's root is backed up: also one that only a later release knows."""
    return name not in DERIVED and not name.startswith(".") and not name.endswith(_BESIDE_SQLITE)


def stage(volume: Volume) -> Path:
    """Bring the staged copy up to date, and return its folder. Raise OSError."""
    top = volume.staging
    for folder in (volume.backup, top):
        folder.mkdir(mode=0o700, exist_ok=True)
    _projects(volume, top)
    for folder in (volume.claims, volume.operations):
        _sync(folder, top / folder.name, _inodes(folder))
    others = _others(volume)
    for name in others:
        _copy(volume.root / name, top / name)
    with files.lock(volume.credentials_lock):
        _copy_tree(volume.credentials, top / volume.credentials.name, without=NOT_CREDENTIALS)
        for name in _WITH_CREDENTIALS:
            _copy(volume.root / name, top / name)
    _audit(volume, top)
    known = {*_BY_PROJECT, *_WITH_CREDENTIALS, *others, "claims", "operations", "credentials"}
    for name in os.listdir(top):
        if name not in known and name != _AUDIT and not name.startswith(_ROTATED):
            _remove(top / name)
    files.write_atomic(top / _COUNTS, json.dumps(_count(top)).encode() + b"\n", mode=0o600)
    return top


def require_all_counted(top: Path) -> None:
    """Raise PpmError unless a restored copy has as many files as were staged; one of an old release has no counts."""
    try:
        staged = dict(json.loads((top / _COUNTS).read_bytes()))
    except FileNotFoundError:
        return
    except NOT_SUCH_JSON as exc:
        raise PpmError("The snapshot has damaged counts of its files; nothing was changed.", hint=_OTHER) from exc
    if staged != (counted := _count(top)):
        names = sorted(name for name in {*staged, *counted} if staged.get(name) != counted.get(name))
        differences = [f"{name}: {counted.get(name, 0)} of {staged.get(name, 0)} files" for name in names]
        raise PpmError(f"The snapshot is incomplete ({some(differences)}); nothing was changed.", hint=_OTHER)


def _count(top: Path) -> dict[str, int]:
    """Return the number of files by each name in the root of a copy."""
    counts: Counter[str] = Counter()
    for folder, _folders, names in os.walk(top):
        below = Path(folder).relative_to(top).parts
        counts.update(below[0] if below else name for name in names if below or name != _COUNTS)
    return dict(counts)


def wanted_names(names: Collection[str]) -> frozenset[str]:
    """Return which of the names in a project's folder are of finished changes.

    Left out are temporary files, side files without a file, and a file with a tombstone, whose removal has begun.
    """
    removed = {name.removesuffix(TOMBSTONE) for name in names if name.endswith(TOMBSTONE)}
    wanted = set()
    for name in names:
        owner = project_folder.distribution_of(name)
        is_file = owner in names and owner not in removed and not name.startswith(".")
        if name == _STATUS or name.endswith(TOMBSTONE) or (is_file and (owner == name or name.endswith(SIDE_FILES))):
            wanted.add(name)
    return frozenset() if wanted == {_STATUS} else frozenset(wanted)


def _projects(volume: Volume, top: Path) -> None:
    for name in _BY_PROJECT:
        (top / name).mkdir(mode=0o700, exist_ok=True)
    staged = {name for folder in _BY_PROJECT for name in os.listdir(top / folder)}
    done: set[str] = set()
    with events.progress("Projects", sum(1 for _ in _names(volume.packages)), unit="projects") as step:
        for first in (True, False):
            # listed again: an environment may name a project that was made meanwhile
            for project in _names(volume.packages):
                if project not in done and (not first or environment_of(project) is not None):
                    _project(volume, top, project)
                    done.add(project)
                    step(1)
    for gone in staged - done:
        for folder in _BY_PROJECT:
            _remove(top / folder / gone)


def _project(volume: Volume, top: Path, project: str) -> None:
    served, kept = volume.project(project), volume.quarantined(project)
    with files.lock(volume.lock(project)):
        names = {folder: _inodes(folder) for folder in (served, kept)}
        wanted = wanted_names(names[served].keys() | names[kept].keys())
        for folder, inodes in names.items():
            own = {name: inode for name, inode in inodes.items() if name in wanted}
            _sync(folder, top / folder.parent.name / project, own)


def _names(folder: Path) -> Iterator[str]:
    """Yield the names of projects' folders."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_normalised(entry.name) and entry.is_dir(follow_symlinks=False):
                yield entry.name


def _inodes(folder: Path) -> dict[str, int]:
    """Return the regular files in a folder, with their inodes; none if it does not exist."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.inode() for entry in entries if entry.is_file(follow_symlinks=False)}
    except FileNotFoundError:
        return {}


def _sync(source: Path, target: Path, wanted: Mapping[str, int]) -> None:
    """Make `target` a folder of hard links to these files of `source`; without any, remove it."""
    present = _inodes(target)
    for name, inode in present.items():
        if wanted.get(name) != inode:
            (target / name).unlink()
    if not wanted:
        with contextlib.suppress(FileNotFoundError):
            target.rmdir()
        return
    if not present:
        target.mkdir(mode=source.stat().st_mode & 0o777, exist_ok=True)
    for name, inode in wanted.items():
        if present.get(name) == inode:
            continue
        try:
            os.link(source / name, target / name, follow_symlinks=False)
        except FileNotFoundError:  # a claim that was just taken back
            continue
        except OSError:  # another user's file, or one with too many links
            shutil.copy2(source / name, target / name, follow_symlinks=False)


def _others(volume: Volume) -> list[str]:
    """Return the names in the root that have no order of their own, such as ppm.yml."""
    own = {*_BY_PROJECT, *_WITH_CREDENTIALS, "claims", "operations", "credentials", _AUDIT}
    return [
        name
        for name in os.listdir(volume.root)
        if is_data(name) and name not in own and not name.startswith(_ROTATED)
    ]


def _copy(source: Path, target: Path) -> None:
    """Copy a file, or a folder with its files, if it has changed; remove the copy of one that is gone."""
    if source.is_dir() and not source.is_symlink():
        _copy_tree(source, target)
        return
    if not source.is_file():  # it is gone, or a socket or the like
        target.unlink(missing_ok=True)
        return
    try:
        if _is_database(source):
            _copy_database(source, target)
            return
        status = source.stat()
        with contextlib.suppress(FileNotFoundError):
            copied = target.stat()
            if (copied.st_size, copied.st_mtime_ns) == (status.st_size, status.st_mtime_ns):
                return
        with _replaced(target) as temporary:
            shutil.copy2(source, temporary)
    except FileNotFoundError:
        target.unlink(missing_ok=True)


def _copy_tree(source: Path, target: Path, *, without: Iterable[str] = ()) -> None:
    target.mkdir(mode=source.stat().st_mode & 0o777, exist_ok=True)
    names = {name for name in os.listdir(source) if not name.startswith(".") and name not in set(without)}
    for name in names:
        if not name.endswith(_BESIDE_SQLITE):
            _copy(source / name, target / name)
    for name in set(os.listdir(target)) - names:
        _remove(target / name)


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite database as it is between two transactions, while others write it."""
    with _replaced(target) as temporary:
        try:
            with (
                contextlib.closing(sqlite3.connect(source, timeout=60)) as original,
                contextlib.closing(sqlite3.connect(temporary)) as copied,
            ):
                original.backup(copied)
        except sqlite3.DatabaseError:  # damaged: it is stored as it is
            shutil.copy2(source, temporary)
        temporary.chmod(source.stat().st_mode & 0o777)


@contextlib.contextmanager
def _replaced(target: Path) -> Iterator[Path]:
    temporary = files.temporary_name(target)
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _audit(volume: Volume, top: Path) -> None:
    """Stage the audit log: older files by links, the current one up to its last whole line."""
    while True:
        rotated = {name: inode for name, inode in _inodes(volume.root).items() if name.startswith(_ROTATED)}
        for name in os.listdir(top):
            if name.startswith(_ROTATED) and name not in rotated:
                (top / name).unlink()
        for name in rotated:
            if files.identity(top / name) != files.identity(volume.root / name):
                (top / name).unlink(missing_ok=True)
                os.link(volume.root / name, top / name)
        _copy_audit(volume.audit, top / _AUDIT)
        if rotated.keys() == {name for name in os.listdir(volume.root) if name.startswith(_ROTATED)}:
            return  # else it was rotated meanwhile, and a part may be in none of both


def _copy_audit(source: Path, target: Path) -> None:
    try:
        with source.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # no line is being written
            left = os.fstat(file.fileno()).st_size
            fcntl.flock(file, fcntl.LOCK_UN)
            with _replaced(target) as temporary, temporary.open("xb") as copied:
                os.fchmod(copied.fileno(), 0o640)
                while left and (piece := file.read(min(left, 1 << 20))):
                    copied.write(piece)
                    left -= len(piece)
    except FileNotFoundError:
        target.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
