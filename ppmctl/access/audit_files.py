"""Find and open all files of the audit log: the current one, those that rotations made, and those of logrotate."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume

STAMP = "%Y%m%dT%H%M%SZ"  # of a rotation, in the name of the file

_STAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z", re.ASCII)
_FOREIGN = re.compile(r"[.-][0-9]+(\.gz)?|\.gz", re.ASCII)  # logrotate: .1, .2.gz, -20261121, -20261121.gz
_ATTEMPTS = 10  # to open the files while they are rotated


@dataclass(frozen=True, kw_only=True)
class AuditFile:
    """An open file of the audit log. `name` is that of its content, which it keeps when it is renamed."""

    path: Path
    file: IO[bytes]
    name: str


def paths(volume: Volume) -> list[Path]:
    """Return the files of the audit log that exist, the oldest first and the current one last."""
    keys = {path: (stamp, 0) for path, stamp in rotated(volume).items()}
    for path in _foreign(volume):
        try:
            changed = path.stat().st_mtime_ns
        except FileNotFoundError:  # rotated at this moment
            continue
        keys[path] = (f"{datetime.fromtimestamp(changed // 10**9, UTC):{STAMP}}", changed)
    current = [volume.audit] if volume.audit.exists() else []
    return sorted(keys, key=lambda path: keys[path]) + current


def rotated(volume: Volume) -> dict[Path, str]:
    """Return the files that rotations made, the oldest first, each with the stamp in its name."""
    start, end = volume.old_audit("*").name.split("*")
    stamps = {path: path.name.removeprefix(start).removesuffix(end) for path in volume.root.glob(f"{start}*{end}")}
    return {path: stamps[path] for path in sorted(stamps) if _STAMP.fullmatch(stamps[path])}


def _foreign(volume: Volume) -> list[Path]:
    name = volume.audit.name
    found = (path for path in volume.root.glob(f"{name}?*") if _FOREIGN.fullmatch(path.name[len(name) :]))
    return sorted(found, key=lambda path: (len(path.name), path.name))


@contextmanager
def opened(volume: Volume, *, compressed: bool = True) -> Iterator[list[AuditFile]]:
    """Open all files of one moment, whatever is rotated meanwhile; yield them oldest first, each content once.

    Without `compressed`, those that logrotate has compressed are left out. Raise PpmError if one can't be read.
    """
    with ExitStack() as stack:
        found: dict[str, AuditFile] = {}  # by the name of the content, which a compressed copy shares

        def add(path: Path) -> bool:
            try:
                with reading(path):
                    file = stack.enter_context(_open(path))
                    first = file.readline()
            except FileNotFoundError:
                return False
            if first.endswith(b"\n") or (first and path != volume.audit):  # else its first line is being written
                name = hashlib.sha256(first).hexdigest()[:16]
                known = found.get(name)
                found[name] = AuditFile(path=path, file=known.file if known else file, name=name)
            return True

        # the current file first: what is rotated after this is that file, or has only later lines
        add(volume.audit)
        for path in _complete(volume):
            add(path)
        for _attempt in range(_ATTEMPTS):
            # logrotate gives a file the next name: in this order it is met again and not missed
            foreign = [path for path in _foreign(volume) if compressed or path.suffix != ".gz"]
            missed = [path for path in foreign if not add(path)]
            if not missed:
                break
        order = {path: number for number, path in enumerate(paths(volume))}
        order[volume.audit] = len(order)  # its name may be free at this moment
        files = sorted(found.values(), key=lambda each: order.get(each.path, -1))
        for each in files:
            each.file.seek(0)
        yield files


def _complete(volume: Volume) -> list[Path]:
    """Return the rotated files without a gap: a folder that changes while it is listed can lack any new name.

    What the first listing has is older than the second, which thus has all that was rotated before it.
    """
    last = max(rotated(volume), default=None)
    return [path for path in rotated(volume) if last is not None and path <= last]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise PpmError instead of an OSError of a file that can't be read, except FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, EOFError) as exc:
        why = (exc.strerror if isinstance(exc, OSError) else None) or "it is truncated or not a gzip file"
        raise PpmError(f"{path} can't be read: {why}.", hint="Move it away to read the others.") from exc


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")
