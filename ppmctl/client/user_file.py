"""Read and replace a whole file of the user that other programs read too."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ppmctl import files
from ppmctl.errors import PpmError

_LARGEST = 1 << 20  # bytes
_MODES = {".pypirc": 0o600}  # of new files; it can hold passwords


def real(path: Path) -> Path:
    """Return the file that a path and its symbolic links lead to. Raise PpmError if they go in a circle."""
    try:
        return path.resolve()
    except (OSError, RuntimeError) as exc:
        raise PpmError(f"{path} can't be followed: its links go in a circle.") from exc


def content(path: Path) -> bytes | None:
    """Return the bytes of a file, or None if it does not exist. Raise PpmError if it can't be read or edited."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise PpmError(f"{path} is not a regular file, so it is not edited.")
        if status.st_size > _LARGEST:
            raise PpmError(f"{path} has {status.st_size} bytes: too large for a configuration file.")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise PpmError(
            f"{path} can't be read: {exc.strerror}. Nothing is changed.", hint=files.access_hint(path)
        ) from exc


def replace(path: Path, new: bytes | None, *, mode: int | None = None) -> None:
    """Replace a file, or delete it if `new` is None; its owner and, without `mode`, its mode stay. Raise PpmError."""
    try:
        if new is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        status = path.stat() if path.exists() else None
        usual = _MODES.get(path.name, 0o644) if status is None else stat.S_IMODE(status.st_mode)
        with files.replacement(path, new, mode=mode or usual, sync=True) as temporary:
            if status is not None and status.st_uid != os.geteuid():  # an edit by root keeps the owner
                os.chown(temporary, status.st_uid, status.st_gid)
            temporary.replace(path)
    except OSError as exc:
        raise unwritable(path, exc) from exc


def unwritable(path: Path, exc: OSError) -> PpmError:
    """Return the error for a file that can't be written; it names the folder if that is the reason."""
    failed = Path(exc.filename or path)
    failed = path if failed.parent == path.parent else failed  # not the temporary file's name
    return PpmError(f"{failed} can't be written: {exc.strerror}.", hint=files.access_hint(path.parent))
