"""The requirements that are read from a file of any form."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ppmctl import regular_file
from ppmctl.environments.requirement import Requirement
from ppmctl.errors import UsageError
from ppmctl.files import access_hint

_MAX_SIZE = 8 << 20  # bytes


@dataclass(kw_only=True)
class Imported:
    """The requirements of a file. `notes` are for the user; `name` is the file's own name for its list, or "".

    The projects in `guessed` may be missing from Python indexes. `lock` is the text of a pylock.toml.
    """

    requirements: list[Requirement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    name: str = ""
    guessed: set[str] = field(default_factory=set)
    lock: str | None = None


def read_text(path: Path) -> str:
    """Return the text of a file. Raise UsageError if it can't be read or is too large."""
    try:
        content = regular_file.read(path, most=_MAX_SIZE)
    except OSError as exc:
        raise UsageError(f"{path} can't be read: {exc.strerror}.", hint=access_hint(path)) from exc
    try:
        return content.decode("utf-8-sig")
    except UnicodeError as exc:
        raise UsageError(f"{path} is not UTF-8 text.") from exc
