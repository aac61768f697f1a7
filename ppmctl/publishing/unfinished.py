"""A release that has begun: what it changes, how far it is, and its files, kept where nothing is ever committed."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from packaging.version import Version

from ppmctl.errors import PpmError
from ppmctl.files import write_atomic

TEMPORARY = r"\.[0-9a-f]{12}\.tmp"  # how `files.temporary_name` ends a name
_NAME = "release.json"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A file, no symbolic link, as it was and as it is to be."""

    path: Path
    old: bytes
    new: bytes

    @property
    def current(self) -> bytes:
        """What the file has now; b"" where it can't be read."""
        try:
            return self.path.read_bytes()
        except OSError:
            return b""

    def write(self, content: bytes) -> None:
        """Give the file `content`, in one step; its mode stays."""
        write_atomic(self.path, content, mode=self.path.stat().st_mode & 0o7777)

    def sweep(self) -> None:
        """Remove what a `write` that was killed left beside the file."""
        left = re.compile(rf"\.{re.escape(self.path.name)}{TEMPORARY}")
        for path in [path for path in self.path.parent.iterdir() if left.fullmatch(path.name)]:
            path.unlink(missing_ok=True)

    def shown(self, folder: Path) -> str:
        """Its name as seen from `folder`."""
        return os.path.relpath(self.path, folder)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a release was asked for with."""

    bump: str | None
    changelog: bool
    tag: bool

    def __str__(self) -> str:
        words = (self.bump and f"--bump {self.bump}", self.changelog and "--changelog", self.tag and "--tag")
        return " ".join(word for word in words if word)


@dataclass(frozen=True, kw_only=True)
class Note:
    """What a release of the project `name` changes beside the index.

    `message` is that of the commit; `tag` is "" where none is made; `is_early` says that commit and tag come before
    the build, which reads its version from the tag. `head` is the commit that it begins on, "" without git. `built`
    are the distributions, name and sha256, once they are about to be uploaded.
    """

    asked: Asked
    name: str
    old: Version
    new: Version
    head: str
    message: str
    tag: str
    is_early: bool
    edits: tuple[Edit, ...]
    built: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Notebook:
    """The folder that remembers the release of one project: in the repository's own folder, or the user's state."""

    folder: Path

    def read(self) -> Note | None:
        """What was begun here and not finished; None if nothing was."""
        try:
            found = json.loads((self.folder / _NAME).read_bytes())
            return _parsed(found) if found["format"] == _FORMAT else None
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise PpmError(
                f"What was noted of an unfinished release can't be read: {self.folder / _NAME}: {exc}.",
                hint="Remove that file; git diff says what the release had changed.",
            ) from exc

    def write(self, note: Note) -> None:
        """Remember it, durably, before anything of it is done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"format": _FORMAT, **_plain(note)}, indent=1)
        write_atomic(self.folder / _NAME, text.encode(), mode=0o600, sync=True)

    def keep(self, note: Note, paths: Iterable[Path]) -> Note:
        """Keep the distributions at `paths` until the release is finished: the same bytes can be sent again."""
        built = []
        for path in paths:
            content = path.read_bytes()
            if path.parent != self.folder:
                write_atomic(self.folder / path.name, content)
            built.append((path.name, hashlib.sha256(content).hexdigest()))
        kept = replace(note, built=tuple(built))
        self.write(kept)
        return kept

    def built(self, note: Note) -> tuple[Path, ...]:
        """The distributions that were kept; none unless all of them are there as they were."""
        paths = tuple(self.folder / name for name, _ in note.built)
        with contextlib.suppress(FileNotFoundError):
            found = tuple((path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths)
            return paths if found == note.built else ()
        return ()

    def forget(self) -> None:
        """Nothing is note any more. The note goes first: what else is left behind means nothing."""
        (self.folder / _NAME).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def in_state(project: Path) -> Path:
    """The folder for a project without a repository, in the user's own state (XDG_STATE_HOME)."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "ppmctl" / "releases" / hashlib.sha256(os.fsencode(project)).hexdigest()[:16]


def _plain(note: Note) -> dict[str, Any]:
    edits = [
        {"path": str(edit.path), **{side: base64.b64encode(getattr(edit, side)).decode() for side in ("old", "new")}}
        for edit in note.edits
    ]
    return {**asdict(replace(note, edits=())), "old": str(note.old), "new": str(note.new), "edits": edits}


def _parsed(found: dict[str, Any]) -> Note:
    edits = tuple(
        Edit(path=Path(edit["path"]), **{side: base64.b64decode(edit[side]) for side in ("old", "new")})
        for edit in found["edits"]
    )
    built = tuple((str(name), str(sha256)) for name, sha256 in found["built"])
    return Note(
        asked=Asked(**found["asked"]),
        old=Version(found["old"]),
        new=Version(found["new"]),
        is_early=bool(found["is_early"]),
        edits=edits,
        built=built,
        **{key: str(found[key]) for key in ("name", "head", "message", "tag")},
    )
