"""Copy a project's folder to build from, without what earlier builds and tools left there."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath

from ppmctl import events
from ppmctl.errors import PpmError, some
from ppmctl.files import access_hint
from ppmctl.publishing import git

# Folders that do not belong to a project: by name, by suffix, or by a file that tools put into theirs.
_LEFTOVERS = ("__pycache__", ".tox", ".nox", ".eggs")
_LEFTOVER_SUFFIX = ".egg-info"
_MARKS = ("CACHEDIR.TAG", "pyvenv.cfg")
# These only beside the project's pyproject.toml: a package may have such a name.
_LEFTOVERS_AT_TOP = ("build", "dist")

_Ignore = Callable[[str, list[str]], set[str]]


def copy(source: Path, into: Path) -> Path:
    """Copy the project at `source`, with its git checkout, into the folder `into`; return the project's folder there.

    Files keep their times. Caches, virtual environments, build/, dist/ and *.egg-info are left out, unless git tracks
    a file in them. Nothing is written at `source` or in its repository. The copy belongs to this user, so git trusts
    it. Raise PpmError with the names of files that can't be read.
    """
    source = source.resolve()
    root = git.find_checkout(source) or source
    target = into / (root.name or "project")
    tracked = _tracked_folders(target) if _copy_repository(root, target / ".git") else frozenset()
    _copy_tree(root, target, _leftovers(root, source, tracked))
    return target / source.relative_to(root)


def _copy_repository(root: Path, target: Path) -> bool:
    """Copy the repository of `root` to `target`; return whether there is one."""
    own = root / ".git"
    if own.is_dir():
        _copy_tree(own, target, lambda _folder, _names: set())
        return True
    if not own.is_file():
        return False
    # a worktree or a submodule, access_hint repository is in another folder
    gitdir = own.read_text(encoding="utf-8", errors="replace").partition("gitdir:")[2].strip()
    repository = root / gitdir
    if gitdir and repository.is_dir():
        # Its own part is copied: git writes to the index in it even when it only reads.
        _copy_tree(repository, target, lambda _folder, _names: {"gitdir"})
        common = repository / "commondir"
        if common.is_file():
            path = (repository / common.read_text(encoding="utf-8").strip()).resolve()
            (target / "commondir").write_text(f"{path}\n", encoding="utf-8")
        else:
            config = str(target / "config")
            with contextlib.suppress(PpmError):  # it has no such setting, or there is no git: nobody reads it then
                git.run(target.parent.parent, "config", "--file", config, "--unset", "core.worktree")
        return True
    if Path(gitdir).is_absolute():
        main = gitdir.partition("/.git/")[0] + "/.git" if "/.git/" in gitdir else gitdir
        hint = f"In a container, mount it too, read-only, at the same path: -v {main}:{main}:ro"
    else:
        hint = "In a container, mount the repository that this is a part of, and name this folder in it."
    events.note(
        f"Warning: {root} is a worktree or a submodule of the git repository {gitdir}, which does not exist here."
        f" This build has no git, and fails if it takes the version or the list of files from git. {hint}"
    )
    return False


def _leftovers(root: Path, project: Path, tracked: Collection[str]) -> _Ignore:
    """Return what copytree ignores; `tracked` are the folders with files that git tracks, relative to `root`."""

    def is_left(folder: Path, name: str) -> bool:
        path = folder / name
        if path.is_symlink() or not path.is_dir():
            # a socket or a pipe has no content to copy
            return path.exists() and not (path.is_symlink() or path.is_file())
        if path.relative_to(root).as_posix() in tracked:
            return False
        return (
            name in _LEFTOVERS
            or name.endswith(_LEFTOVER_SUFFIX)
            or (folder == project and name in _LEFTOVERS_AT_TOP)
            or any(os.path.lexists(path / mark) for mark in _MARKS)
        )

    def ignore(folder: str, names: list[str]) -> set[str]:
        own = {".git"} if Path(folder) == root else set()  # which is copied already
        return own | {name for name in names if is_left(Path(folder), name)}

    return ignore


def _copy_tree(source: Path, target: Path, ignore: _Ignore) -> None:
    try:
        shutil.copytree(source, target, symlinks=True, ignore=ignore, dirs_exist_ok=True)
    except shutil.Error as exc:
        failed = [(Path(path), str(why)) for path, _, why in exc.args[0]]
    except OSError as exc:
        failed = [(Path(exc.filename or source), str(exc))]
    else:
        # a copied folder may be read-only, but is built in and removed
        for folder, _, _ in os.walk(target):
            Path(folder).chmod(Path(folder).stat().st_mode | 0o700)
        return
    first, why = failed[0]
    names = some(str(path) for path, _ in failed)
    raise PpmError(f"{source} can't be copied to be built: {names}: {why}.", hint=access_hint(first))


def _tracked_folders(top: Path) -> frozenset[str]:
    """Return the folders below which git tracks a file, relative to the top of the checkout."""
    try:
        tracked = git.names(git.run(top, "ls-files", "-z"))
    except PpmError:  # the workspace, which asks git more about this copy, reports it
        return frozenset()
    return frozenset(parent.as_posix() for name in tracked for parent in PurePosixPath(name).parents)
