"""Store the state of an unfinished release and its built files, outside of what git commits."""

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

from ppmctl import user_dirs
from ppmctl.errors import PpmError
from ppmctl.files import write_atomic
from ppmctl.publishing.git import Repository

_NAME = "release.json"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A file, not a symbolic link, with its content before and after the release."""

    path: Path
    old: bytes
    new: bytes

    @property
    def current(self) -> bytes:
        """Return the file's content now; b"" if it can't be read."""
        try:
            return self.path.read_bytes()
        except OSError:
            return b""

    def write(self, content: bytes) -> None:
        """Replace the file's content in one step; its mode stays."""
        write_atomic(self.path, content, mode=self.path.stat().st_mode & 0o7777)

    def sweep(self) -> None:
        """Remove temporary files that a killed `write` left beside the file."""
        for path in list(self.path.parent.glob(f".{escape(self.path.name)}.{'[0-9a-f]' * 12}.tmp")):
            path.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class ReleaseOptions:
    """The options that a release was started with."""

    bump: str | None
    changelog: bool
    tag: bool

    def __str__(self) -> str:
        words = (self.bump and f"--bump {self.bump}", self.changelog and "--changelog", self.tag and "--tag")
        return " ".join(word for word in words if word)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What a release of the project `name` changes, apart from the index.

    `head` is the commit that it starts from, `message` that of its commit, `tag` its tag; "" without one. `is_early`:
    commit and tag come before the build, which reads its version from the tag. `built` are the distributions, name
    and sha256, once they are about to be uploaded.
    """

    asked: ReleaseOptions
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
        """Return the folder of a project: in .git, or else below the user's state folder (XDG_STATE_HOME)."""
        if repository is not None:
            own = repository.prefix.rstrip("/").replace("/", "+")
            return cls(folder=repository.private_path(f"ppmctl-release{'-' if own else ''}{own}"))
        state = user_dirs.state(os.environ, Path.home())
        name = hashlib.sha256(os.fsencode(project)).hexdigest()[:16]
        return cls(folder=state / "ppmctl" / "releases" / name)

    def read(self) -> Changes | None:
        """Return the changes of an unfinished release; None if there is none."""
        try:
            return _parse((self.folder / _NAME).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise PpmError(
                f"The state of an unfinished release can't be read: {self.folder / _NAME}: {exc}.",
                hint="Remove that file; git diff shows what the release had changed.",
            ) from exc

    def write(self, changes: Changes) -> None:
        """Store the state durably, before the release changes anything."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"format": _FORMAT, **asdict(changes)}, indent=1, default=_json_value)
        write_atomic(self.folder / _NAME, text.encode(), mode=0o600, sync=True)

    def keep(self, changes: Changes, paths: Iterable[Path]) -> Changes:
        """Store the distributions at `paths`, so that the same bytes can be sent again; return the new changes."""
        for path in paths:
            if path.parent != self.folder:
                write_atomic(self.folder / path.name, path.read_bytes())
        changes = replace(changes, built=tuple((path.name, _sha256(path)) for path in paths))
        self.write(changes)
        return changes

    def built(self, changes: Changes) -> tuple[Path, ...]:
        """Return the stored distributions; none unless all of them are unchanged."""
        paths = tuple(self.folder / name for name, _ in changes.built)
        with contextlib.suppress(FileNotFoundError):
            return paths if tuple((path.name, _sha256(path)) for path in paths) == changes.built else ()
        return ()

    def delete(self) -> None:
        """Delete the saved state. Its file goes first, so leftovers of an interrupted delete are ignored."""
        (self.folder / _NAME).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _json_value(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _parse(content: bytes) -> Changes | None:
    values = json.loads(content)
    if values.pop("format") != _FORMAT:
        return None
    for edit in values["edits"]:
        edit |= {"path": Path(edit["path"]), **{side: base64.b64decode(edit[side]) for side in ("old", "new")}}
    parsed = {
        "asked": ReleaseOptions(**values["asked"]),
        "old": Version(values["old"]),
        "new": Version(values["new"]),
        "edits": tuple(Edit(**edit) for edit in values["edits"]),
        "built": tuple((name, sha256) for name, sha256 in values["built"]),
    }
    return Changes(**{**values, **parsed})
