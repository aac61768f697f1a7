"""What a release changes beside the index, decided: version, files, commit, tag; or why there is none to make."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterable, Iterator
from datetime import date
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ppmctl.errors import PpmError, UsageError, some
from ppmctl.publishing import changelog, versions
from ppmctl.publishing.git import Repository
from ppmctl.publishing.project_version import Project
from ppmctl.publishing.release_state import Edit, State, Wanted

# What builds, and a release that was killed, leave: no part of the project, though git is not told to ignore it.
_LEFT = re.compile(
    r"(build|dist)(/|$)|(.*/)?([^/]+\.egg-info|__pycache__|\.venv|\.tox|\.nox)(/|$)|(.*/)?\.[^/]+\.[0-9a-f]{12}\.tmp"
)
# Where else a version is often written; what else has that number in it is not looked at.
_OTHERS = frozenset({".py", ".cfg", ".cff", ".toml", ".json", ".yml", ".yaml"})
_BIGGEST = 1 << 20  # bytes of a file that is looked at


def decide(
    project: Project, wanted: Wanted, repository: Repository | None, published: Version | None, day: date
) -> State:
    """Return what is to be changed. UsageError, PpmError as of `release_flow.plan`."""
    if repository is not None:
        require_clean(repository)
    elif wanted.tag:
        raise UsageError(
            f"{project.folder} is in no git repository, so there is nothing to tag.",
            hint="Leave out --tag, or begin one: git init && git add . && git commit",
        )
    old, is_released = _present(project, wanted, repository)
    new = versions.raised(old, wanted.bump) if wanted.bump else old
    _require_progress(project, wanted, old, new, published, is_released=is_released)
    tag = _tag(repository, project.name, new) if repository and wanted.tag else ""
    edits = tuple(edit for edit in _edits(project, wanted, new, day, tag) if edit.old != edit.new)
    if repository is not None:
        tag = _require_git(repository, edits, tag)
    return State(
        asked=wanted,
        name=project.name,
        old=old,
        new=new,
        head=repository.head if repository else "",
        message=_message(repository, project.name, new),
        tag=tag,
        is_early=project.place is None,
        edits=edits,
    )


def require_clean(repository: Repository, besides: Collection[Path] = ()) -> None:
    """PpmError where the project has changes that are not committed, `besides` these files and what builds leave."""
    names = (os.path.relpath(path, repository.folder) for path in repository.changed() if path not in besides)
    changed = [name for name in names if not _LEFT.match(name)]
    if changed:
        raise PpmError(
            f"{repository.folder} has changes that are not committed: {some(changed)}.",
            hint="A release is what is committed. Commit them, or put them aside: git stash --include-untracked",
        )


def _message(repository: Repository | None, name: str, version: Version) -> str:
    """In a repository of several projects it says of which one the release is."""
    return f"Release {name} {version}" if repository and repository.prefix else f"Release {version}"


def _present(project: Project, wanted: Wanted, repository: Repository | None) -> tuple[Version, bool]:
    """The version as it stands, and whether nothing was committed since it was released."""
    if project.place is not None:
        old = project.place.version
        return old, repository is not None and repository.subject == _message(repository, project.name, old)
    if repository is None or not (wanted.bump and wanted.tag):
        options = str(Wanted(bump=wanted.bump or "patch", changelog=wanted.changelog, tag=True))
        raise UsageError(
            f"{project.name or project.folder} has its version from git's tags ({project.tool}), so a new version"
            " is a new tag.",
            hint=f"Raise and tag it at once: ppmctl publish {options}",
        )
    last = repository.last_tag()
    if not last:
        _require_tags(repository)
        return Version("0.0.0"), False
    named = _split(last, project.name)
    if named is None:
        raise PpmError(f"The last tag, {last}, names no version to raise.", hint="Name the version: --bump 1.0.0")
    return named[1], repository.tagged(last) == repository.head


def _require_progress(
    project: Project, wanted: Wanted, old: Version, new: Version, published: Version | None, *, is_released: bool
) -> None:
    if new < old:
        raise PpmError(
            f"{new} is below {old}, the version that {project.name or project.folder} has.",
            hint=f"Raise it: --bump patch makes it {versions.raised(old, 'patch')}.",
        )
    # a pre-release becomes the release as it is, and a dev release the pre-release; one more of its kind does not
    is_next = old.is_prerelease and (old.is_devrelease, bool(old.pre)) != (new.is_devrelease, bool(new.pre))
    if wanted.bump in versions.STEPS and is_released and not is_next:
        raise PpmError(
            f"Nothing was committed since {old} was released.",
            hint=f"What is missing of it in the index: ppmctl publish. To release the same once more: --bump {new}",
        )
    if published is None or (new == old and is_released):
        return
    if (wanted.bump and new <= published) or (wanted.changelog and new == published):
        raise PpmError(
            f"{project.name} {new} is not above {published}, which is in the index.",
            hint=f"Raise it further: --bump {versions.raised(published, 'patch')}",
        )


def _edits(project: Project, wanted: Wanted, new: Version, day: date, tag: str) -> Iterator[Edit]:
    place = project.place
    if place is not None and place.version != new:
        yield Edit(path=place.path.resolve(), old=place.content, new=place.edited(new))
        lock = versions.in_lock(project.folder / "uv.lock", str(canonicalize_name(project.name)))
        if lock is not None:
            yield Edit(path=lock.path.resolve(), old=lock.content, new=lock.edited(new))
    if wanted.changelog:
        path = changelog.find(project.folder)
        old = path.read_bytes()
        yield Edit(path=path.resolve(), old=old, new=changelog.released(old, new, day, name=path.name, tag=tag))


def _tag(repository: Repository, name: str, version: Version) -> str:
    """The tag of a version, written as the newest one of the project is; v1.2.0 where there is none."""
    named = (_split(tag, name) for tag in repository.tags())
    habits = [found[0] for found in named if found is not None]
    if repository.prefix:  # one of several projects: its own tags, if it has any, bear its name
        habits = [habit for habit in habits if len(habit) > 1] or habits
    if not habits:
        _require_tags(repository)
    return f"{habits[0] if habits else 'v'}{version}"


def _require_tags(repository: Repository) -> None:
    """PpmError where it looks as if there were no tags because the clone lacks them."""
    if repository.is_shallow:
        raise PpmError(
            f"{repository.folder} is a shallow clone without tags, so the last release can't be seen.",
            hint="git fetch --unshallow --tags (in CI: check out with the whole history)",
        )


def _split(tag: str, name: str) -> tuple[str, Version] | None:
    """A tag's beginning and its version: v1.2.0, 1.2.0, release-1.2.0, demo-v1.2.0, demo/1.2.0."""
    names = "|".join(re.escape(one) for one in {name, canonicalize_name(name), name.replace("-", "_")} if one)
    found = re.fullmatch(rf"((?:(?:release|rel|version{'|' if names else ''}{names})[-_/@]?)?v?)(\d.*)", tag, re.I)
    try:
        return (found[1], Version(found[2])) if found else None
    except InvalidVersion:
        return None


def _require_git(repository: Repository, edits: Iterable[Edit], tag: str) -> str:
    """The tag that is left to be made. PpmError for what git would refuse after the upload, when it is too late."""
    paths = [edit.path for edit in edits]
    taken = repository.tagged(tag) if tag else ""
    if taken and (paths or taken != repository.head):
        raise PpmError(
            f"The tag {tag} is there already, at commit {taken[:12]}.",
            hint=f"Raise the version further; or, if the tag is wrong: git tag -d {tag}",
        )
    if untracked := repository.untracked(paths):
        names = [os.path.relpath(path, repository.folder) for path in untracked]
        raise PpmError(
            f"git does not track {some(names)}, which the release changes.",
            hint=f"Let it: git add --force {shlex.join(names)}, and commit that.",
        )
    if paths and repository.changed(paths):  # a changelog that is a link to a file above the project
        raise PpmError(
            f"{paths[-1]} has changes that are not committed.", hint="Commit them, and run the same again."
        )
    if paths and not repository.branch:
        raise PpmError(
            "No branch is checked out (HEAD is detached), so the commit of the release would be lost.",
            hint="git switch main, or begin one here: git switch --create release",
        )
    tag = "" if taken else tag
    if (paths or tag) and (why := repository.unidentified()):
        raise PpmError(
            f"git does not know who commits: {why}",
            hint='git config --global user.name "Your Name" && git config --global user.email you@example.org',
        )
    return tag


def left_behind(state: State, project: Project, repository: Repository | None) -> Iterator[str]:
    """The files that name the old version as the project's, for a warning: the release does not change them."""
    if state.old == state.new or repository is None:
        return
    text = project.place.text if project.place else str(state.old)
    named = re.compile(
        rf"^\W*(?:__version__|version|release)\b\W{{0,5}}\s*[:=]\s*[\"']?v?{re.escape(text)}(?![\w.])".encode(),
        re.I | re.M,
    )
    edited = {edit.path for edit in state.edits}
    for path in repository.files():
        if path.suffix not in _OTHERS or path in edited or path.is_symlink() or not path.is_file():
            continue
        if path.stat().st_size <= _BIGGEST and named.search(path.read_bytes()):
            yield path.relative_to(project.folder).as_posix()
