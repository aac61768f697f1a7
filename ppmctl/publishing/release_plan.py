"""Decide what a release changes in the project: version, files, commit and tag; or refuse the release."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterable, Iterator
from datetime import date
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ppmctl import regular_file
from ppmctl.errors import PpmError, UsageError, some
from ppmctl.publishing import changelog, versions
from ppmctl.publishing.git import Commit, Repository
from ppmctl.publishing.project_version import Project
from ppmctl.publishing.release_state import Changes, Edit, ReleaseOptions

# Files that builds, and a release that was killed, leave behind. They do not count as changes, even if not ignored.
_LEFTOVERS = re.compile(
    r"(build|dist)(/|$)|(.*/)?([^/]+\.egg-info|__pycache__|\.venv|\.tox|\.nox)(/|$)|(.*/)?\.[^/]+\.[0-9a-f]{12}\.tmp"
)
# Files that may also have the version, by suffix, and up to which size they are searched.
_SEARCHED = frozenset({".py", ".cfg", ".cff", ".toml", ".json", ".yml", ".yaml"})
_SEARCHED_BYTES = 1 << 20


def decide(
    project: Project, options: ReleaseOptions, repository: Repository | None, published: Version | None, day: date
) -> Changes:
    """Return what a release changes; raise UsageError and PpmError as `release_flow.plan` does."""
    if repository is not None:
        require_clean(repository)
    elif options.tag:
        raise UsageError(
            f"{project.folder} is not in a git repository, so there is nothing to tag.",
            hint="Leave out --tag, or create one: git init && git add . && git commit",
        )
    last = repository.last_commit() if repository is not None else Commit()
    old, is_released = _current(project, options, repository, last)
    new = versions.bump(old, options.bump) if options.bump else old
    _require_progress(project, options, old, new, published, is_released=is_released)
    tag = _tag(repository, project.name, new) if repository and options.tag else ""
    edits = tuple(edit for edit in _edits(project, options, new, day, tag) if edit.old != edit.new)
    if repository is not None:
        tag = _require_git(repository, edits, tag)
    return Changes(
        asked=options,
        name=project.name,
        old=old,
        new=new,
        head=last.id,
        message=_message(repository, project.name, new),
        tag=tag,
        is_early=project.place is None,
        edits=edits,
    )


def require_clean(repository: Repository, besides: Collection[Path] = ()) -> None:
    """Raise PpmError for uncommitted changes in the project, except in `besides` and in what builds leave behind."""
    names = (os.path.relpath(path, repository.folder) for path in repository.changed() if path not in besides)
    changed = [name for name in names if not _LEFTOVERS.match(name)]
    if changed:
        raise PpmError(
            f"{repository.folder} has changes that are not committed: {some(changed)}.",
            hint="A release contains what is committed. Commit them, or stash them: git stash --include-untracked",
        )


def _message(repository: Repository | None, name: str, version: Version) -> str:
    # in a repository of several projects it names the project
    return f"Release {name} {version}" if repository and repository.prefix else f"Release {version}"


def _current(
    project: Project, options: ReleaseOptions, repository: Repository | None, last: Commit
) -> tuple[Version, bool]:
    """Return the current version, and whether nothing was committed after its release."""
    if project.place is not None:
        old = project.place.version
        return old, repository is not None and last.subject == _message(repository, project.name, old)
    if repository is None or not (options.bump and options.tag):
        complete = ReleaseOptions(bump=options.bump or "patch", changelog=options.changelog, tag=True)
        raise UsageError(
            f"{project.name or project.folder} has its version from git's tags ({project.tool}), so a new version"
            " is a new tag.",
            hint=f"Raise and tag it in one command: ppmctl publish {complete}",
        )
    tag = repository.last_tag()
    if not tag:
        _require_tags(repository)
        return Version("0.0.0"), False
    named = _split(tag, project.name)
    if named is None:
        raise PpmError(f"The last tag, {tag}, has no version to raise.", hint="Name the version: --bump 1.0.0")
    return named[1], repository.tag_commit(tag) == last.id


def _require_progress(
    project: Project,
    options: ReleaseOptions,
    old: Version,
    new: Version,
    published: Version | None,
    *,
    is_released: bool,
) -> None:
    if new < old:
        raise PpmError(
            f"{new} is below {old}, the version that {project.name or project.folder} has.",
            hint=f"Raise it: --bump patch makes it {versions.bump(old, 'patch')}.",
        )
    # The same content may be released again as the release of a pre-release, or the pre-release of a dev release.
    is_next = old.is_prerelease and (old.is_devrelease, bool(old.pre)) != (new.is_devrelease, bool(new.pre))
    if options.bump in versions.STEPS and is_released and not is_next:
        raise PpmError(
            f"Nothing was committed since {old} was released.",
            hint=f"To upload its missing files: ppmctl publish. To release the same content again: --bump {new}",
        )
    if published is None or (new == old and is_released):
        return
    if (options.bump and new <= published) or (options.changelog and new == published):
        raise PpmError(
            f"{project.name} {new} is not above {published}, which is in the index.",
            hint=f"Raise it further: --bump {versions.bump(published, 'patch')}",
        )


def _edits(project: Project, options: ReleaseOptions, new: Version, day: date, tag: str) -> Iterator[Edit]:
    place = project.place
    if place is not None and place.version != new:
        lock = versions.find_in_lock(project.folder / "uv.lock", str(canonicalize_name(project.name)))
        for changed in filter(None, (place, lock)):
            yield Edit(path=changed.path.resolve(), old=changed.content, new=changed.edited(new))
    if options.changelog:
        path = changelog.find(project.folder)
        old = regular_file.read(path)
        yield Edit(path=path.resolve(), old=old, new=changelog.released(old, new, day, name=path.name, tag=tag))


def _tag(repository: Repository, name: str, version: Version) -> str:
    """Return the tag of a version, in the form of the project's newest tag; v1.2.0 without one."""
    prefixes = [parts[0] for tag in repository.tags() if (parts := _split(tag, name)) is not None]
    if repository.prefix:  # one of several projects: prefer tags with a project's name
        prefixes = [prefix for prefix in prefixes if len(prefix) > 1] or prefixes
    if not prefixes:
        _require_tags(repository)
    return f"{prefixes[0] if prefixes else 'v'}{version}"


def _require_tags(repository: Repository) -> None:
    """Raise PpmError if the repository may have no tags only because it is a shallow clone."""
    if repository.is_shallow:
        raise PpmError(
            f"{repository.folder} is a shallow clone without tags, so the last release is unknown.",
            hint="git fetch --unshallow --tags (in CI: check out with the whole history)",
        )


def _split(tag: str, name: str) -> tuple[str, Version] | None:
    """Return a tag's prefix and version: v1.2.0, 1.2.0, release-1.2.0, demo-v1.2.0, demo/1.2.0."""
    names = "|".join(re.escape(one) for one in {name, canonicalize_name(name), name.replace("-", "_")} if one)
    match = re.fullmatch(rf"((?:(?:release|rel|version{'|' if names else ''}{names})[-_/@]?)?v?)(\d.*)", tag, re.I)
    try:
        return (match[1], Version(match[2])) if match else None
    except InvalidVersion:
        return None


def _require_git(repository: Repository, edits: Iterable[Edit], tag: str) -> str:
    """Return the tag to make, "" if it exists; raise PpmError for what git would refuse after the upload."""
    paths = [edit.path for edit in edits]
    tagged = repository.tag_commit(tag) if tag else ""
    if tagged and (paths or tagged != repository.head):
        raise PpmError(
            f"The tag {tag} already exists, at commit {tagged[:12]}.",
            hint=f"Raise the version further; or, if the tag is wrong: git tag -d {tag}",
        )
    if untracked := repository.untracked(paths):
        names = [os.path.relpath(path, repository.folder) for path in untracked]
        raise PpmError(
            f"git does not track {some(names)}, which the release changes.",
            hint=f"Add it and commit: git add --force {shlex.join(names)}",
        )
    if paths and repository.changed(paths):  # a changelog that is a link to a file outside of the project
        raise PpmError(f"{paths[-1]} has changes that are not committed.", hint="Commit them, and run this again.")
    if paths and not repository.branch:
        raise PpmError(
            "No branch is checked out (HEAD is detached), so the commit of the release would be lost.",
            hint="git switch main, or create a branch here: git switch --create release",
        )
    tag = "" if tagged else tag
    if (paths or tag) and (why := repository.identity_error()):
        raise PpmError(
            f"git does not know who commits: {why}",
            hint='git config --global user.name "Your Name" && git config --global user.email you@example.org',
        )
    return tag


def with_old_version(changes: Changes, project: Project, repository: Repository | None) -> Iterator[str]:
    """Yield the names of files that have the old version too, which the release does not change."""
    if changes.old == changes.new or repository is None:
        return
    text = project.place.text if project.place else str(changes.old)
    named = re.compile(
        rf"^\W*(?:__version__|version|release)\b\W{{0,5}}\s*[:=]\s*[\"']?v?{re.escape(text)}(?![\w.])".encode(),
        re.I | re.M,
    )
    edited = {edit.path for edit in changes.edits}
    for path in repository.files():
        if path.suffix not in _SEARCHED or path in edited or path.is_symlink() or not path.is_file():
            continue
        if path.stat().st_size <= _SEARCHED_BYTES and named.search(regular_file.read(path)):
            yield path.relative_to(project.folder).as_posix()
