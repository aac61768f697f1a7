"""A project's folder → a copy of it to build from, without what earlier builds and tools left there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath

from ppmctl import events
from ppmctl.errors import PpmError, some
from ppmctl.files import whose
from ppmctl.publishing import git

# What is no part of a project wherever it stands; that of tools which mark theirs is known by the mark.
_LEFT = ("__pycache__", ".tox", ".nox", ".eggs")
_LEFT_SUFFIX = ".egg-info"
_MARKS = ("CACHEDIR.TAG", "pyvenv.cfg")
# These are, when they stand beside the project's pyproject.toml. Packages of such names are not unknown.
_LEFT_ON_TOP = ("build", "dist")


def copy(source: Path, into: Path) -> Path:
    """Copy the project at `source`, with the git checkout that it is in, into `into`; return the project's folder.

    Times are kept. Left out is what others' builds left: caches, virtual environments, build/, dist/, *.egg-info;
    unless git tracks something in it. Nothing is written at `source`, nor in its repository. The copy is this
    process's own, so git has no doubt about it, whoever owns the original. PpmError names files that can't be read.
    """
    source = source.resolve()
    root = git.checkout(source) or source
    target = into / (root.name or "project")
    target.mkdir()
    tracked = _tracked(target) if _copy_repository(root, target) else frozenset()
    _copy_tree(root, target, _leftovers(root, source, tracked))
    return target / source.relative_to(root)


def _copy_repository(root: Path, target: Path) -> bool:
    """Give the copy the repository that `root` has, if it has one."""
    own = root / ".git"
    if own.is_dir():
        (target / ".git").mkdir()
        _copy_tree(own, target / ".git", lambda _folder, _names: set())
        return True
    if not own.is_file():
        return False
    # of a worktree or a submodule: the repository is elsewhere
    named = own.read_text(encoding="utf-8", errors="replace").partition("gitdir:")[2].strip()
    repository = root / named
    if named and repository.is_dir():
        # what is the copy's own is copied, its index above all, which git writes also when it is only asked
        (target / ".git").mkdir()
        _copy_tree(repository, target / ".git", lambda _folder, _names: {"gitdir"})
        common = repository / "commondir"
        if common.is_file():
            path = (repository / common.read_text(encoding="utf-8").strip()).resolve()
            (target / ".git" / "commondir").write_text(f"{path}\n", encoding="utf-8")
        else:
            config = str(target / ".git" / "config")
            git.ask(target.parent, "config", "--file", config, "--unset", "core.worktree")
        return True
    if Path(named).is_absolute():
        main = named.partition("/.git/")[0] + "/.git" if "/.git/" in named else named
        hint = f"In a container, mount it too, read-only, at the same path: -v {main}:{main}:ro"
    else:
        hint = "In a container, mount the repository that this is a part of, and name this folder in it."
    events.note(
        f"Warning: {root} is a worktree or a submodule of a git repository that is not here, {named}:"
        f" this build has no git. Where the version or the list of files comes from git it fails. {hint}"
    )
    return False


def _leftovers(root: Path, project: Path, tracked: Collection[str]) -> Callable[[str, list[str]], set[str]]:
    """What copytree is to leave out; `tracked` are the folders that git tracks something in, relative to `root`."""

    def is_left(folder: Path, name: str) -> bool:
        path = folder / name
        if path.is_symlink() or not path.is_dir():
            # what is neither (a socket, a pipe) has no content to copy
            return path.exists() and not (path.is_symlink() or path.is_file())
        if path.relative_to(root).as_posix() in tracked:
            return False
        return (
            name in _LEFT
            or name.endswith(_LEFT_SUFFIX)
            or (folder == project and name in _LEFT_ON_TOP)
            or any(os.path.lexists(path / mark) for mark in _MARKS)
        )

    def ignore(folder: str, names: list[str]) -> set[str]:
        here = Path(folder)
        own = {".git"} if here == root else set()  # that has its own place already
        return own | {name for name in names if is_left(here, name)}

    return ignore


def _copy_tree(source: Path, target: Path, ignore: Callable[[str, list[str]], set[str]]) -> None:
    try:
        shutil.copytree(source, target, symlinks=True, ignore=ignore, dirs_exist_ok=True)
    except shutil.Error as exc:
        failed = [(Path(path), str(why)) for path, _, why in exc.args[0]]
    except OSError as exc:
        failed = [(Path(exc.filename or source), str(exc))]
    else:
        # a folder that is read-only there is built in here, and removed
        for folder, _, _ in os.walk(target):
            Path(folder).chmod(Path(folder).stat().st_mode | 0o700)
        return
    first, why = failed[0]
    named = some(str(path) for path, _ in failed)
    raise PpmError(f"{source} can't be copied to be built: {named}: {why}.", hint=whose(first))


def _tracked(top: Path) -> frozenset[str]:
    """The folders that have a file below them that git tracks, relative to the top of the checkout."""
    names = filter(None, (git.ask(top, "ls-files", "-z") or "").split("\0"))
    return frozenset(parent.as_posix() for name in names for parent in PurePosixPath(name).parents)
