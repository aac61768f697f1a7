"""A release that has begun: what it changes, how far it is, and its files, kept where nothing is ever committed."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from glob import escape
from pathlib import Path

from packaging.version import Version

from ppmctl.errors import PpmError
from ppmctl.files import write_atomic
from ppmctl.publishing.git import Repository

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
        for path in list(self.path.parent.glob(f".{escape(self.path.name)}.{'[0-9a-f]' * 12}.tmp")):
            path.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a release was asked for with."""

    bump: str | None
    changelog: bool
    tag: bool

    def __str__(self) -> str:
        words = (self.bump and f"--bump {self.bump}", self.changelog and "--changelog", self.tag and "--tag")
        return " ".join(word for word in words if word)


@dataclass(frozen=True, kw_only=True)
class State:
    """What a release of the project `name` changes beside the index.

    `message` is that of the commit; `tag` is "" where none is made; `is_early` says that commit and tag come before
    the build, which reads its version from the tag. `head` is the commit that it begins on, "" without git. `built`
    are the distributions, name and sha256, once they are about to be uploaded.
    """

    asked: Wanted
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
class StateFolder:
    """The folder that stores the state of one project's release."""

    folder: Path

    @classmethod
    def of(cls, project: Path, repository: Repository | None) -> StateFolder:
        """Return that of `project`: in the repository's own folder, or the user's state (XDG_STATE_HOME)."""
        if repository is not None:
            own = repository.prefix.rstrip("/").replace("/", "+")
            return cls(folder=repository.private(f"ppmctl-release{'-' if own else ''}{own}"))
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        name = hashlib.sha256(os.fsencode(project)).hexdigest()[:16]
        return cls(folder=state / "ppmctl" / "releases" / name)

    def read(self) -> State | None:
        """Return what was begun here and not finished; None if nothing was."""
        try:
            return _parsed((self.folder / _NAME).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise PpmError(
                f"What was noted of an unfinished release can't be read: {self.folder / _NAME}: {exc}.",
                hint="Remove that file; git diff says what the release had changed.",
            ) from exc

    def write(self, state: State) -> None:
        """Store it, durably, before anything of it is done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"format": _FORMAT, **asdict(state)}, indent=1, default=_plain)
        write_atomic(self.folder / _NAME, text.encode(), mode=0o600, sync=True)

    def keep(self, state: State, paths: Iterable[Path]) -> State:
        """Store the distributions at `paths` until the release is finished: the same bytes can be sent again."""
        for path in paths:
            if path.parent != self.folder:
                write_atomic(self.folder / path.name, path.read_bytes())
        kept = replace(state, built=tuple((path.name, _sha256(path)) for path in paths))
        self.write(kept)
        return kept

    def built(self, state: State) -> tuple[Path, ...]:
        """Return the distributions that were stored; none unless all of them are there as they were."""
        paths = tuple(self.folder / name for name, _ in state.built)
        with contextlib.suppress(FileNotFoundError):
            return paths if tuple((path.name, _sha256(path)) for path in paths) == state.built else ()
        return ()

    def forget(self) -> None:
        """Delete the state. Its file goes first, so that what an interruption leaves is ignored."""
        (self.folder / _NAME).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _plain(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _parsed(content: bytes) -> State | None:
    found = json.loads(content)
    if found.pop("format") != _FORMAT:
        return None
    for edit in found["edits"]:
        edit |= {"path": Path(edit["path"]), **{side: base64.b64decode(edit[side]) for side in ("old", "new")}}
    read = {
        "asked": Wanted(**found["asked"]),
        "old": Version(found["old"]),
        "new": Version(found["new"]),
        "edits": tuple(Edit(**edit) for edit in found["edits"]),
        "built": tuple((name, sha256) for name, sha256 in found["built"]),
    }
    return State(**{**found, **read})
