"""A release around its upload: version and changelog before it, commit and tag after it, and going on after a break.

`plan` decides and changes nothing; `Release` acts: apply → (build) → keep → (upload) → finish; or undo, where it
failed before the first byte was sent. Each can be repeated, also by the next run of the same command.
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
from ppmctl.publishing.git import Repository
from ppmctl.publishing.project_version import Project
from ppmctl.publishing.release_state import Edit, State, StateFolder, Wanted


@dataclass(kw_only=True)
class Release:
    """A release of `project`: `state` is what it changes beside the index.

    `built` are the files of a run that broke off: it continues with them, and nothing is built. `warnings` are for
    people, before anything is done. `is_resumed` says that an earlier run has begun it.
    """

    project: Project
    state: State
    repository: Repository | None = field(repr=False)
    folder: StateFolder = field(repr=False)
    built: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()
    is_resumed: bool = False
    is_uploaded: bool = False  # something of it is in the index

    def summary(self) -> tuple[str, ...]:
        """Return what will be done, for people, a line each."""
        state = self.state
        names = [os.path.relpath(edit.path, self.project.folder) for edit in state.edits]
        lines = [
            f"{state.name} {state.new}" if state.old == state.new else f"{state.name}: {state.old} → {state.new}"
        ]
        if self.is_resumed:
            lines.append("Resuming the release that an earlier run started.")
        if names:
            lines.append(f"Changed: {', '.join(names)}")
        after = [f"commit {state.message!r}"] if names and self.repository else []
        after += [f"tag {state.tag}"] if state.tag else []
        if after:
            lines.append(f"{'Before the build' if state.is_early else 'After the upload'}: {' and '.join(after)}")
        return tuple(lines)

    def diff(self) -> str:
        """Return the edits as `diff -u` shows them; "" where nothing is edited, or has been already."""
        lines: list[str] = []
        for edit in self.state.edits:
            name = Path(os.path.relpath(edit.path, self.project.folder)).as_posix()
            now, then = (text.decode("utf-8", "replace").splitlines() for text in (edit.current, edit.new))
            lines += difflib.unified_diff(now, then, f"a/{name}", f"b/{name}", lineterm="")
        return "\n".join(lines)

    def apply(self) -> None:
        """Write the edits, before the build. PpmError where it can't be done; then everything is as it was."""
        try:
            self.folder.write(self.state)
            for edit in self.state.edits:
                self._write(edit)
            if self.state.is_early:
                self._commit_and_tag()
        except OSError as exc:
            self.undo()
            raise PpmError(f"{exc.filename} can't be written: {exc.strerror}. Nothing was changed.") from exc
        except BaseException:
            self.undo()
            raise

    def _write(self, edit: Edit) -> None:
        edit.sweep()
        current = edit.current
        if current == edit.old:
            edit.write(edit.new)
        elif current != edit.new and not self.is_uploaded:
            raise PpmError(f"{edit.path} was changed meanwhile. Nothing was done.")

    def keep(self, files: Sequence[Path]) -> None:
        """Remember what was built, right before the first upload, so that another run can go on with these bytes."""
        self.state = self.folder.keep(self.state, files)

    def undo(self) -> None:
        """Put everything back; without effect once something of it is in the index, where nothing is taken back."""
        if self.is_uploaded:
            return
        if self.state.is_early and self.repository is not None:
            if self.state.tag and self.repository.tagged(self.state.tag) == self.repository.head:
                self.repository.untag(self.state.tag)
            if (self.repository.subject, self.repository.parent) == (self.state.message, self.state.head):
                self.repository.uncommit(self.state.head)
        for edit in self.state.edits:
            if edit.current == edit.new:
                edit.write(edit.old)
        self.folder.forget()

    def finish(self) -> str:
        """Commit the edits and make the tag, after the upload; the command that pushes them, "" if there is none.

        PpmError where git, or a hook, refuses: the same command then goes on here.
        """
        self.is_uploaded = True
        try:
            self._commit_and_tag()
        except PpmError as exc:
            raise PpmError(
                f"{self.state.name} {self.state.new} is published, but not committed and tagged: {exc.message}",
                hint="Repair that, and run the same again: it uploads nothing twice and goes on with the commit.",
            ) from exc
        self.folder.forget()
        return self._push()

    def _commit_and_tag(self) -> None:
        if self.repository is None:
            return
        self.repository.commit([edit.path for edit in self.state.edits], self.state.message)
        if self.state.tag and not self.repository.tagged(self.state.tag):
            self.repository.tag(self.state.tag, self.state.message)

    def _push(self) -> str:
        remote = self.repository.remote() if self.repository else ""
        if self.repository is None or not remote or not (self.state.edits or self.state.tag):
            return ""
        branch = self.repository.branch if self.state.edits else ""
        return f"git push {shlex.join(word for word in (remote, branch, self.state.tag) if word)}"

    @contextmanager
    def applied_to(self, copy: Path) -> Iterator[None]:
        """Have the changes in `copy`, a copy of the project's folder that is this process's own, to build there.

        Where its commit and tag come before the build they are made there. UsageError in a worktree, whose tags are
        those of the repository.
        """
        is_early = self.state.is_early
        top = git.checkout(copy)
        if is_early and top is not None and (top / ".git" / "commondir").exists():
            raise UsageError(
                "A dry run would have to make the tag, and in a worktree it would be made in the repository.",
                hint="Try it in the repository's main checkout, or in a clone.",
            )
        own = self.project.folder
        edits = [replace(edit, path=copy / os.path.relpath(edit.path, own)) for edit in self.state.edits]
        with tempfile.TemporaryDirectory(prefix="ppmctl-release-") as folder:
            Release(
                project=self.project,
                state=replace(self.state, edits=tuple(edits)),
                repository=git.repository(copy) if is_early else None,
                folder=StateFolder(folder=Path(folder)),
            ).apply()
            yield


def plan(project: Project, wanted: Wanted, published: Version | None, day: date | None = None) -> Release:
    """Return what a release of `project` changes; nothing is written yet.

    `published` is the highest version in the index; `day` goes into the changelog, today unless given. A release that
    broke off is resumed. UsageError where what is asked makes no sense here; PpmError for a tree that is not as
    committed, a version that is not above the published one, an empty changelog, a tag that is taken, or where git
    could not commit.
    """
    repository = git.repository(project.folder)
    folder = StateFolder.of(project.folder, repository)
    begun = folder.read()
    if begun is not None:
        release = Release(project=project, state=begun, repository=repository, folder=folder, is_resumed=True)
        release.is_uploaded = published is not None and published >= begun.new
        if _resume(release, wanted):
            return release
    state = release_plan.decide(project, wanted, repository, published, day or datetime.now().astimezone().date())
    others = tuple(release_plan.left_behind(state, project, repository))
    warnings = (f"Still {state.old}, and not changed by this: {', '.join(others)}",) if others else ()
    return Release(project=project, state=state, repository=repository, folder=folder, warnings=warnings)


def _resume(release: Release, wanted: Wanted) -> bool:
    """Return whether there is something left of `release` to resume; PpmError where it can't be, as things stand."""
    begun, repository, is_uploaded = release.state, release.repository, release.is_uploaded
    own = {edit.path for edit in begun.edits}
    is_moved = repository is not None and begun.head not in (repository.head, repository.parent)
    if repository is not None and is_moved and not own & set(repository.changed()):
        return False  # it was committed, or put back, by hand, and there are commits after that
    is_tagged = begun.is_early and repository is not None and begun.tag and repository.tagged(begun.tag)
    if not is_uploaded and not is_tagged and all(edit.current == edit.old for edit in begun.edits):
        return False
    give_up = "."
    if repository is not None and not is_uploaded and not begun.is_early:
        names = [os.path.relpath(edit.path, repository.folder) for edit in begun.edits]
        give_up = f". To give it up: git restore {shlex.join(names)}"
    new = versions.raised(begun.old, wanted.bump) if wanted.bump else begun.old
    if (new, wanted.changelog, wanted.tag) != (begun.new, begun.asked.changelog, begun.asked.tag):
        raise PpmError(
            f"A release of {begun.name} {begun.new} has begun and is not finished.",
            hint=f"Resume it: ppmctl publish {begun.asked}{give_up}",
        )
    strange = [edit.path.name for edit in begun.edits if edit.current not in (edit.old, edit.new)]
    if strange and not is_uploaded:
        raise PpmError(
            f"{', '.join(strange)}: changed since the release of {begun.name} {begun.new} has begun.",
            hint=f"Undo that change and run the same again{give_up}",
        )
    if repository is not None:
        release_plan.require_clean(repository, besides=own)
    release.built = () if is_moved and not is_uploaded else release.folder.built(begun)
    return True
