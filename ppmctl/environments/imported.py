"""What a file of requirements asks for, whatever its form."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ppmctl.environments.requirement import Requirement
from ppmctl.errors import UsageError
from ppmctl.files import whose

_MAX_SIZE = 8 << 20  # bytes


@dataclass(kw_only=True)
class Imported:
    """What a file asks for. `notes` are for people; `name` is what the file calls itself, or "".

    It is not certain that those in `guessed` are projects of a Python index. `lock` is a pylock.toml as it was read.
    """

    requirements: list[Requirement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    name: str = ""
    guessed: set[str] = field(default_factory=set)
    lock: str | None = None


def read_text(path: Path) -> str:
    """Return the text of a file; UsageError where it can't be read, or is too large to be such a file."""
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise UsageError(f"{path} can't be read: {exc.strerror}.", hint=whose(path)) from exc
    if len(content) > _MAX_SIZE:
        raise UsageError(f"{path} has over {_MAX_SIZE >> 20} MB.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeError as exc:
        raise UsageError(f"{path} is not UTF-8 text.") from exc
