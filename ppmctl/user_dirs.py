"""The paths of a user's own files: the folders for configuration and state, and the netrc file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ppmctl import regular_file


def config(environ: Mapping[str, str], home: Path) -> Path:
    """Return XDG_CONFIG_HOME or ~/.config; a relative path is ignored, as the XDG specification requires."""
    return _absolute(environ, "XDG_CONFIG_HOME") or home / ".config"


def state(environ: Mapping[str, str], home: Path) -> Path:
    """Return XDG_STATE_HOME or ~/.local/state, by the same rule as `config`."""
    return _absolute(environ, "XDG_STATE_HOME") or home / ".local" / "state"


def _absolute(environ: Mapping[str, str], name: str) -> Path | None:
    folder = Path(environ.get(name) or "")
    return folder if folder.is_absolute() else None


def own(environ: Mapping[str, str], home: Path) -> Path:
    """Return ppmctl's own configuration folder."""
    return config(environ, home) / "ppmctl"


def above(folder: Path, name: str) -> Path | None:
    """Return the file `name` in `folder` or in the nearest folder above that has one; None if there is none."""
    return next((path for each in (folder, *folder.parents) if regular_file.is_present(path := each / name)), None)


def netrc(environ: Mapping[str, str], home: Path) -> Path:
    """Return the path of the netrc file that clients read: NETRC or ~/.netrc."""
    return Path(environ.get("NETRC") or home / ".netrc")
