"""Read a project's git repository, and make the commit and the tag of a release. The only module that runs git."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ppmctl.errors import PpmError

# No build packs files from these, and they can have very many.
_NEVER_PACKED = (".venv", "venv", "node_modules", ".tox", ".nox", "__pycache__", "*.egg-info")
TIMEOUT = 600  # seconds; a hook may run a project's tests
_TAIL = 20  # lines of output that an error shows


def run(folder: Path, *arguments: str) -> str:
    """Return the output of a git command; raise PpmError with git's message, or a hook's, if it fails."""
    return _answer(folder, arguments, is_question=False) or ""


def ask(folder: Path, *arguments: str) -> str | None:
    """Return the output of a git command; None if its exit code is 1, which means "no". Raise as `run` does."""
    return _answer(folder, arguments, is_question=True)


def _answer(folder: Path, arguments: Sequence[str], *, is_question: bool) -> str | None:
    command = next(argument for argument in arguments if not argument.startswith("-"))
    try:
        return _run(folder, arguments)
    except subprocess.CalledProcessError as exc:
        if is_question and exc.returncode == 1:
            return None
        text = os.fsdecode(exc.stderr + exc.stdout).strip().splitlines()[-_TAIL:]
        lines = "".join(f"\n    {line}" for line in text) or f" exit code {exc.returncode}."
        raise PpmError(f"git {command} failed in {folder}:{lines}") from exc
    except subprocess.TimeoutExpired as exc:
        raise PpmError(f"git {command} did not finish within {TIMEOUT // 60} minutes in {folder}.") from exc
    except OSError as exc:
        raise PpmError(f"git can't be run: {exc.strerror}.", hint="Install git: apt-get install git") from exc


def _run(folder: Path, arguments: Sequence[str]) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, check=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL, capture_output=True)
    return os.fsdecode(done.stdout).rstrip("\n")


def names(output: str) -> list[str]:
    """Return the names in the output of a git command with -z."""
    return [name for name in output.split("\0") if name]


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A commit: its id, its first parent's id and the first line of its message; "" for what it does not have."""

    id: str = ""
    parent: str = ""
    subject: str = ""


@dataclass(frozen=True, kw_only=True)
class Repository:
    """The git repository of a project. Nothing here pushes.

    `prefix` is the project's folder relative to the repository's top, ending with a slash; "" for the top.
    """

    folder: Path
    prefix: str

    def _ask(self, *arguments: str) -> str:
        return ask(self.folder, *arguments) or ""

    def last_commit(self) -> Commit:
        """Return the current commit; an empty one before the first."""
        if _is_empty(self.folder):
            return Commit()
        text = run(self.folder, "log", "-1", "--no-show-signature", "--format=%H %P%n%s")
        ids, _, subject = text.partition("\n")
        own, parent, *_ = (*ids.split(), "", "")
        return Commit(id=own, parent=parent, subject=subject)

    @property
    def head(self) -> str:
        """Return the id of the current commit; "" before the first."""
        return self.last_commit().id

    @property
    def branch(self) -> str:
        """Return the current branch; "" if HEAD is detached."""
        return self._ask("symbolic-ref", "--quiet", "--short", "HEAD")

    @property
    def is_shallow(self) -> bool:
        """Return whether this is a clone without older commits and their tags."""
        return self._ask("rev-parse", "--is-shallow-repository") == "true"

    def private_path(self, name: str) -> Path:
        """Return a path in .git (a worktree's own), where nothing is ever committed."""
        return self.folder / run(self.folder, "rev-parse", "--git-path", name)

    def changed(self, files: Sequence[Path] = ()) -> list[Path]:
        """Return the files of the project, or of `files`, that differ from the commit, without ignored ones."""
        form = ("--literal-pathspecs", "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--")
        listed = run(self.folder, *form, *(str(path) for path in files or (".",)))
        return sorted(self._top / entry[3:] for entry in names(listed))

    @cached_property
    def _top(self) -> Path:
        return Path(run(self.folder, "rev-parse", "--show-toplevel"))

    def files(self) -> list[Path]:
        """Return the files of the project that git tracks."""
        return [self.folder / name for name in names(run(self.folder, "ls-files", "-z", "--", "."))]

    def identity_error(self) -> str:
        """Return why git has no name or address for a commit; "" if it has both."""
        try:
            run(self.folder, "var", "GIT_AUTHOR_IDENT")
            run(self.folder, "var", "GIT_COMMITTER_IDENT")
        except PpmError as exc:
            return exc.message
        return ""

    def untracked(self, files: Sequence[Path]) -> list[Path]:
        """Return those of `files` that git does not track."""
        form = ("--literal-pathspecs", "ls-files", "--error-unmatch", "--")
        if not files or ask(self.folder, *form, *map(str, files)) is not None:
            return []
        return [path for path in files if ask(self.folder, *form, str(path)) is None]

    def last_tag(self) -> str:
        """Return the newest tag with a number in it among the current commit's ancestors; "" without one."""
        numbered = "*[0-9]*"
        # git describe fails in the same way without a tag and for any other reason
        if _is_empty(self.folder) or not run(self.folder, "tag", "--merged=HEAD", "--list", numbered):
            return ""
        return run(self.folder, "describe", "--tags", "--abbrev=0", f"--match={numbered}")

    def tags(self) -> list[str]:
        """Return the names of all tags, newest first."""
        form = "--format=%(refname:strip=2)"
        return self._ask("for-each-ref", "refs/tags", "--sort=-creatordate", form).splitlines()

    def tag_commit(self, tag: str) -> str:
        """Return the id of the commit that a tag points to; "" if there is no such tag."""
        return self._ask("rev-parse", "--verify", "--quiet", f"refs/tags/{tag}^{{commit}}")

    def commit(self, files: Iterable[Path], message: str) -> None:
        """Commit only `files`, if they differ from the commit. Hooks run, and git signs if it is configured to."""
        paths = [str(path) for path in files]
        if paths and run(self.folder, "--literal-pathspecs", "status", "--porcelain", "--", *paths):
            run(self.folder, "--literal-pathspecs", "commit", "--quiet", f"--message={message}", "--", *paths)

    def tag(self, tag: str, message: str) -> None:
        """Make an annotated tag at the current commit."""
        run(self.folder, "tag", "--annotate", f"--message={message}", tag)

    def delete_tag(self, tag: str) -> None:
        """Delete a tag."""
        run(self.folder, "tag", "--delete", tag)

    def reset_to(self, commit: str) -> None:
        """Move the branch back to a commit, with nothing staged; files stay as they are."""
        run(self.folder, "reset", "--quiet", "--mixed", commit)

    def remote(self) -> str:
        """Return the remote that the branch is pushed to; "" if the repository has none."""
        remotes = self._ask("remote").splitlines()
        own = self._ask("config", f"branch.{self.branch}.remote") or "origin"
        return own if own in remotes else next(iter(remotes), "")


def find_checkout(folder: Path) -> Path | None:
    """Return the top of the git checkout of `folder`; None without one, or if it is the home folder or above."""
    homes = {Path.home(), *Path.home().parents}
    for path in (folder, *folder.parents):
        if path != folder and path in homes:
            break
        if (path / ".git").exists():
            return path
    return None


def find_repository(folder: Path) -> Repository | None:
    """Return the repository of `folder`, an absolute path; None without one, or if it ignores the folder.

    Raise PpmError if git fails, or refuses to use it because it belongs to another user.
    """
    if find_checkout(folder) is None:
        return None
    _, _, prefix = run(folder, "rev-parse", "--is-inside-work-tree", "--show-prefix").partition("\n")
    is_ignored = ask(folder, "check-ignore", "--quiet", ".") is not None
    return None if is_ignored else Repository(folder=folder, prefix=prefix)


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Names of the files in a folder that git tracks, and of all others, ignored ones too. Relative, with `/`."""

    tracked: frozenset[str]
    others: frozenset[str]


def tracking(project: Path) -> Tracking | None:
    """Return what git tracks in the folder `project`; None without a repository, or if it tracks nothing there.

    Raise PpmError if git fails.
    """
    if find_checkout(project.resolve()) is None:
        return None
    tracked = names(run(project, "ls-files", "-z", "--recurse-submodules"))
    if not tracked:
        return None
    excluded = [part for name in _NEVER_PACKED for part in ("--exclude", name)]
    others = names(run(project, "ls-files", "-z", "--others", *excluded))
    return Tracking(tracked=frozenset(tracked), others=frozenset(others))


def commit_time(folder: Path) -> str:
    """Return the time of the last commit that changed `folder`, in seconds since 1970; "" without one.

    Raise PpmError if git fails.
    """
    if find_checkout(folder.resolve()) is None or _is_empty(folder):
        return ""
    return run(folder, "log", "-1", "--no-show-signature", "--format=%ct", "--", ".")


def _is_empty(folder: Path) -> bool:
    """Return whether the repository has no commit yet."""
    return ask(folder, "rev-parse", "--verify", "--quiet", "HEAD") is None
