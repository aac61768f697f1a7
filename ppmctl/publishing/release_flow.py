"""What a release does besides the upload: version and changelog before it, commit and tag after it.

If the version comes from a git tag, commit and tag come before the build. `plan` decides and changes nothing.
`Release` acts: apply → (build) → store_built → (upload) → finish; the steps in brackets are `publish`'s. `undo` if it
fails before anything was sent. Each step can be repeated, also by the next run of the same command.
"""

from __future__ import annotations

import difflib
import os
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path

from packaging.version import Version

from ppmctl.errors import PpmError, UsageError
from ppmctl.publishing import git, release_plan, versions
from ppmctl.publishing.git import Commit, Repository
from ppmctl.publishing.project_version import Project
from ppmctl.publishing.release_state import Changes, Edit, ReleaseOptions, StateFolder


@dataclass(kw_only=True)
class Release:
    """A release of `project`: `changes` is what it does in the project and in git.

    A run that resumes an unfinished release (`is_resumed`) uploads its files, `built`, and builds only what is
    no longer stored.
    """

    project: Project
    changes: Changes
    repository: Repository | None = field(repr=False)
    folder: StateFolder = field(repr=False)
    built: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()
    is_resumed: bool = False
    is_uploaded: bool = False  # at least one file is in the index

    def summary(self) -> tuple[str, ...]:
        """Return what will be done, as lines for the user."""
        changes = self.changes
        names = [os.path.relpath(edit.path, self.project.folder) for edit in changes.edits]
        steps = [f"commit {changes.message!r}"] if names and self.repository else []
        steps += [f"tag {changes.tag}"] if changes.tag else []
        when = "Before the build" if changes.is_early else "After the upload"
        lines = (
            f"{changes.name} {changes.new}"
            if changes.old == changes.new
            else f"{changes.name}: {changes.old} → {changes.new}",
            self.is_resumed and "Resuming the release that an earlier run started.",
            names and f"{'Changed files' if self.is_resumed else 'Files that will change'}: {', '.join(names)}",
            steps and f"{when}: {' and '.join(steps)}",
        )
        return tuple(line for line in lines if line)

    def diff(self) -> str:
        """Return the edits in the form of `diff -u`; "" without any, or if they are written already."""
        lines: list[str] = []
        for edit in self.changes.edits:
            name = Path(os.path.relpath(edit.path, self.project.folder)).as_posix()
            before, after = (text.decode("utf-8", "replace").splitlines() for text in (edit.current, edit.new))
            lines += difflib.unified_diff(before, after, f"a/{name}", f"b/{name}", lineterm="")
        return "\n".join(lines)

    def apply(self) -> None:
        """Save the changes, write the edits, and commit and tag if that comes before the build.

        Raise PpmError if that fails; then nothing is changed.
        """
        try:
            self.folder.write(self.changes)
            for edit in self.changes.edits:
                self._write(edit)
            if self.changes.is_early:
                self._commit_and_tag()
        except BaseException as exc:
            self.undo()
            if isinstance(exc, OSError):
                raise PpmError(f"{exc.filename} can't be written: {exc.strerror}. Nothing was changed.") from exc
            raise

    def _write(self, edit: Edit) -> None:
        edit.sweep()
        current = edit.current
        if current == edit.old:
            edit.write(edit.new)
        elif current != edit.new and not self.is_uploaded:  # an uploaded release is finished with the user's change
            raise PpmError(f"{edit.path} was changed in the meantime. Nothing was done.")

    def store_built(self, files: Sequence[Path]) -> None:
        """Store the built files, right before the first upload, so that another run can send the same bytes."""
        self.changes = self.folder.keep(self.changes, files)

    def undo(self) -> None:
        """Undo all changes; do nothing if a file is in the index, because then the release has to be finished."""
        if self.is_uploaded:
            return
        changes, repository = self.changes, self.repository
        if changes.is_early and repository is not None:
            last = repository.last_commit()
            if changes.tag and repository.tag_commit(changes.tag) == last.id:
                repository.delete_tag(changes.tag)
            if (last.subject, last.parent) == (changes.message, changes.head):
                repository.reset_to(changes.head)
        for edit in changes.edits:
            if edit.current == edit.new:
                edit.write(edit.old)
        self.folder.delete()

    def finish(self) -> str:
        """Commit the edits and make the tag, after the upload; return the command that pushes them, or ""
        if there is nothing to push.

        Raise PpmError if git or a hook refuses; the next run of the same command then continues here.
        """
        self.is_uploaded = True
        try:
            self._commit_and_tag()
        except PpmError as exc:
            raise PpmError(
                f"{self.changes.name} {self.changes.new} is published, but its commit or tag could not be made:"
                f" {exc.message}",
                hint="Fix that, and run the same command again: it uploads nothing twice, and commits and tags.",
            ) from exc
        self.folder.delete()
        changes, repository = self.changes, self.repository
        remote = repository.remote() if repository is not None and (changes.edits or changes.tag) else ""
        if repository is None or not remote:
            return ""
        branch = repository.branch if changes.edits else ""
        return f"git push {shlex.join(word for word in (remote, branch, changes.tag) if word)}"

    def _commit_and_tag(self) -> None:
        if self.repository is None:
            return
        self.repository.commit([edit.path for edit in self.changes.edits], self.changes.message)
        if self.changes.tag and not self.repository.tag_commit(self.changes.tag):
            self.repository.tag(self.changes.tag, self.changes.message)

    @contextmanager
    def applied_to(self, copy: Path) -> Iterator[None]:
        """Apply the changes to `copy`, a copy of the project's folder, so that a dry run can build there.

        If commit and tag come before the build, the copy gets them too. Raise UsageError then in a git worktree: its
        tags are those of the repository.
        """
        is_early = self.changes.is_early
        top = git.find_checkout(copy)
        if is_early and top is not None and (top / ".git" / "commondir").exists():
            raise UsageError(
                "A dry run needs the tag, and in a git worktree the repository itself would get it.",
                hint="Try it in the repository's main checkout, or in a clone.",
            )
        project = self.project.folder
        edits = tuple(replace(edit, path=copy / os.path.relpath(edit.path, project)) for edit in self.changes.edits)
        changes, repository = replace(self.changes, edits=edits), git.find_repository(copy) if is_early else None
        with tempfile.TemporaryDirectory(prefix="ppmctl-release-") as name:
            folder = StateFolder(folder=Path(name))
            Release(project=self.project, changes=changes, repository=repository, folder=folder).apply()
            yield


def plan(project: Project, options: ReleaseOptions, published: Version | None, day: date | None = None) -> Release:
    """Return what a release of `project` changes, or the unfinished release to resume; nothing is written yet.

    `published` is the highest version in the index; `day` goes into the changelog, by default today. Raise UsageError
    for options that do not fit the project; PpmError for uncommitted changes, a version that is not above the
    published one, an empty changelog, a tag that exists, or if git would refuse the commit.
    """
    repository = git.find_repository(project.folder)
    folder = StateFolder.of(project.folder, repository)
    started = folder.read()
    if started is not None:
        release = Release(project=project, changes=started, repository=repository, folder=folder, is_resumed=True)
        release.is_uploaded = published is not None and published >= started.new
        if _can_resume(release, options):
            return release
    changes = release_plan.decide(project, options, repository, published, day or datetime.now().astimezone().date())
    others = tuple(release_plan.with_old_version(changes, project, repository))
    warnings = (
        (f"These files still have version {changes.old}, and the release does not change them: {', '.join(others)}",)
        if others
        else ()
    )
    return Release(project=project, changes=changes, repository=repository, folder=folder, warnings=warnings)


def _can_resume(release: Release, options: ReleaseOptions) -> bool:
    """Return whether to resume `release`, and set its `built`; raise PpmError if the user has to decide.

    False if nothing was done yet, or the user committed or undid it.
    """
    changes, repository, is_uploaded = release.changes, release.repository, release.is_uploaded
    edited = {edit.path for edit in changes.edits}
    last = repository.last_commit() if repository is not None else Commit(id=changes.head)
    has_newer_commits = changes.head not in (last.id, last.parent)
    if repository is not None and has_newer_commits and not edited & set(repository.changed()):
        return False  # the user committed or undid it, and there are newer commits
    is_tagged = changes.is_early and repository is not None and changes.tag and repository.tag_commit(changes.tag)
    if not is_uploaded and not is_tagged and all(edit.current == edit.old for edit in changes.edits):
        return False
    cancel = ""
    if repository is not None and not is_uploaded and not changes.is_early:
        names = [os.path.relpath(edit.path, repository.folder) for edit in changes.edits]
        cancel = f". To cancel it: git restore {shlex.join(names)}"
    new = versions.bump(changes.old, options.bump) if options.bump else changes.old
    if (new, options.changelog, options.tag) != (changes.new, changes.asked.changelog, changes.asked.tag):
        raise PpmError(
            f"A release of {changes.name} {changes.new} has begun and is not finished.",
            hint=f"Resume it: ppmctl publish {changes.asked}{cancel}",
        )
    changed = [edit.path.name for edit in changes.edits if edit.current not in (edit.old, edit.new)]
    if changed and not is_uploaded:
        raise PpmError(
            f"{', '.join(changed)}: changed after the release of {changes.name} {changes.new} had begun.",
            hint=f"Undo that change and run the same command again{cancel}",
        )
    if repository is not None:
        release_plan.require_clean(repository, besides=edited)
    # After newer commits the stored files are not what a build would make now. What is uploaded can't be replaced.
    release.built = () if has_newer_commits and not is_uploaded else release.folder.built(changes)
    return True
