"""git: what a project's repository says, and the commit and the tag of a release. The only module that runs it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ppmctl.errors import PpmError

# Nothing is packed from there by the way of its own name, and there can be very much of it.
_ELSEWHERE = (".venv", "venv", "node_modules", ".tox", ".nox", "__pycache__", "*.egg-info")
TIMEOUT = 600  # seconds; a hook may run a project's tests
_TAIL = 20  # lines of what git, or a hook, said


def ask(folder: Path, *arguments: str) -> str | None:
    """What git prints; None where it fails, or is not there: for what can be done without."""
    try:
        return _run(folder, arguments)
    except (OSError, subprocess.SubprocessError):
        return None


def tell(folder: Path, *arguments: str) -> str:
    """What git prints; PpmError in git's own words, or those of a hook, where it fails."""
    try:
        return _run(folder, arguments)
    except subprocess.CalledProcessError as exc:
        said = os.fsdecode(exc.stderr + exc.stdout).strip().splitlines()[-_TAIL:]
        lines = "".join(f"\n    {line}" for line in said) or f" exit code {exc.returncode}."
        raise PpmError(f"git {_verb(arguments)} failed in {folder}:{lines}") from exc
    except subprocess.TimeoutExpired as exc:
        raise PpmError(f"git {_verb(arguments)} was not done after {TIMEOUT // 60} minutes in {folder}.") from exc
    except OSError as exc:
        raise PpmError(f"git can't be run: {exc.strerror}.", hint="Install git: apt-get install git") from exc


def _verb(arguments: tuple[str, ...]) -> str:
    return next(argument for argument in arguments if not argument.startswith("-"))


def _run(folder: Path, arguments: tuple[str, ...]) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        check=True,
        timeout=TIMEOUT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    return os.fsdecode(done.stdout).rstrip("\n")


@dataclass(frozen=True, kw_only=True)
class Repository:
    """The git repository that `folder`, a project's, is a part of. Nothing here pushes."""

    folder: Path

    @property
    def head(self) -> str:
        """The commit that is checked out; "" before the first."""
        return ask(self.folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}") or ""

    @property
    def parent(self) -> str:
        """The commit before the one that is checked out; "" where there is none."""
        return ask(self.folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}^") or ""

    @property
    def branch(self) -> str:
        """The branch that is checked out; "" where HEAD is detached."""
        return ask(self.folder, "symbolic-ref", "--quiet", "--short", "HEAD") or ""

    @property
    def is_shallow(self) -> bool:
        """Whether it is a clone that lacks the older commits, and with them their tags."""
        return ask(self.folder, "rev-parse", "--is-shallow-repository") == "true"

    @cached_property
    def prefix(self) -> str:
        """The project's folder below the top of the repository, with a slash at its end; "" where it is the top."""
        return ask(self.folder, "rev-parse", "--show-prefix") or ""

    @property
    def subject(self) -> str:
        """The first line of the message of the commit that is checked out."""
        return ask(self.folder, "log", "-1", "--format=%s") or ""

    def private(self, name: str) -> Path:
        """A path in the repository's own folder (a worktree's in its own), where nothing is ever committed."""
        return self.folder / tell(self.folder, "rev-parse", "--git-path", name)

    def changed(self, files: Sequence[Path] = ()) -> list[Path]:
        """The files of the project, or of `files`, that are not as committed; ignored ones are not among them."""
        form = ("--literal-pathspecs", "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--")
        listed = tell(self.folder, *form, *(str(path) for path in files or (".",)))
        return sorted(self._top / entry[3:] for entry in _split(listed))

    @cached_property
    def _top(self) -> Path:
        return Path(tell(self.folder, "rev-parse", "--show-toplevel"))

    def files(self) -> list[Path]:
        """The files of the project that git tracks."""
        listed = tell(self.folder, "ls-files", "-z", "--", ".")
        return [self.folder / name for name in _split(listed)]

    def unidentified(self) -> str:
        """Why git would not know who commits; "" where it does."""
        try:
            tell(self.folder, "var", "GIT_AUTHOR_IDENT")
            tell(self.folder, "var", "GIT_COMMITTER_IDENT")
        except PpmError as exc:
            return exc.message
        return ""

    def untracked(self, files: Iterable[Path]) -> list[Path]:
        """Those of `files` that git does not track."""
        form = ("--literal-pathspecs", "ls-files", "--error-unmatch", "--")
        return [path for path in files if ask(self.folder, *form, str(path)) is None]

    def last_tag(self) -> str:
        """The newest tag with a number in it that the commit that is checked out descends from; "" without one."""
        return ask(self.folder, "describe", "--tags", "--abbrev=0", "--match=*[0-9]*") or ""

    def tags(self) -> list[str]:
        """The names of all tags, the newest first."""
        form = "--format=%(refname:strip=2)"
        return (ask(self.folder, "for-each-ref", "refs/tags", "--sort=-creatordate", form) or "").splitlines()

    def tagged(self, tag: str) -> str:
        """The commit that a tag stands for; "" where there is no such tag."""
        return ask(self.folder, "rev-parse", "--verify", "--quiet", f"refs/tags/{tag}^{{commit}}") or ""

    def commit(self, files: Iterable[Path], message: str) -> None:
        """Commit `files` alone, if they are not as committed; hooks and signatures are as the repository has them."""
        names = [str(path) for path in files]
        if names and tell(self.folder, "--literal-pathspecs", "status", "--porcelain", "--", *names):
            tell(self.folder, "--literal-pathspecs", "commit", "--quiet", f"--message={message}", "--", *names)

    def tag(self, tag: str, message: str) -> None:
        """Tag the commit that is checked out, with an annotated tag."""
        tell(self.folder, "tag", "--annotate", f"--message={message}", tag)

    def untag(self, tag: str) -> None:
        """Take the tag back."""
        tell(self.folder, "tag", "--delete", tag)

    def uncommit(self, to: str) -> None:
        """Let the branch stand at the commit `to` again; the files stay as they are, and nothing is staged."""
        tell(self.folder, "reset", "--quiet", "--mixed", to)

    def remote(self) -> str:
        """Where the branch is pushed to; "" where the repository has no remote."""
        remotes = (ask(self.folder, "remote") or "").splitlines()
        own = ask(self.folder, "config", f"branch.{self.branch}.remote") or "origin"
        return own if own in remotes else next(iter(remotes), "")


def checkout(folder: Path) -> Path | None:
    """The top of the git checkout that `folder` is in, if it is in one. A home that is one is not meant."""
    homes = {Path.home(), *Path.home().parents}
    for place in (folder, *folder.parents):
        if place != folder and place in homes:
            break
        if (place / ".git").exists():
            return place
    return None


def repository(folder: Path) -> Repository | None:
    """The repository that `folder`, an absolute path, is a part of; None without one, or where it ignores the folder.

    PpmError where there is one that git will not touch (another user's), in its words.
    """
    if checkout(folder) is None:
        return None
    repository = Repository(folder=folder)
    tell(folder, "rev-parse", "--is-inside-work-tree")
    return None if ask(folder, "check-ignore", "--quiet", ".") is not None else repository


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """The files of a folder that git tracks, and those that it does not, ignored ones too.

    Names are relative to the folder, with `/`.
    """

    tracked: frozenset[str]
    others: frozenset[str]


def tracking(project: Path) -> Tracking | None:
    """Return what git tracks of the folder `project`; None where it is in no repository, or git tracks none of it."""
    tracked = ask(project, "ls-files", "-z", "--recurse-submodules")
    if not tracked:
        return None
    left = [part for name in _ELSEWHERE for part in ("--exclude", name)]
    others = ask(project, "ls-files", "-z", "--others", *left) or ""
    return Tracking(tracked=frozenset(_split(tracked)), others=frozenset(_split(others)))


def _split(listed: str) -> list[str]:
    return [name for name in listed.split("\0") if name]
