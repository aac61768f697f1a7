"""A file of the user's that other programs read: read whole, and replaced whole."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from ppmctl import files
from ppmctl.errors import PpmError

_LARGEST = 1 << 20  # bytes
_MODES = {".pypirc": 0o600}  # of new files; people put passwords into it


def real(path: Path) -> Path:
    """Return the file that a path leads to, through its links. Raise PpmError where they lead nowhere."""
    try:
        return path.resolve()
    except (OSError, RuntimeError) as exc:
        raise PpmError(f"{path} can't be followed: its links go round in a circle.") from exc


def content(path: Path) -> bytes | None:
    """Return the bytes of a file; None where there is none. Raise PpmError where it can't be read or edited."""
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise PpmError(f"{path} is no file, so it is not edited.")
            if status.st_size > _LARGEST:
                raise PpmError(f"{path} has {status.st_size} bytes, so it is no configuration.")
            return path.read_bytes()
    except OSError as exc:
        raise PpmError(f"{path} can't be read: {exc.strerror}. Nothing is changed.", hint=files.whose(path)) from exc
    return None


def replace(path: Path, new: bytes | None, *, mode: int | None = None) -> None:
    """Replace a file's content, or delete the file if there is none. Raise PpmError.

    Without `mode` the file keeps the mode that it has; its owner stays too.
    """
    try:
        if new is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        status = path.stat() if path.exists() else None
        born = _MODES.get(path.name, 0o644) if status is None else stat.S_IMODE(status.st_mode)
        with files.replacement(path, new, mode=mode or born, sync=True) as temporary:
            if status is not None and status.st_uid != os.geteuid():  # root's edit does not make it root's
                os.chown(temporary, status.st_uid, status.st_gid)
            temporary.replace(path)
    except OSError as exc:
        raise unwritable(path, exc) from exc


def unwritable(path: Path, exc: OSError) -> PpmError:
    """Return the error for a file that can't be written; it names a folder above if that is the reason."""
    failed = Path(exc.filename or path)
    failed = path if failed.parent == path.parent else failed  # and not the name that it has for a moment
    return PpmError(f"{failed} can't be written: {exc.strerror}.", hint=files.whose(path.parent))
