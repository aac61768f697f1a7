"""A release around its upload: version and changelog before it, commit and tag after it, and going on after a break.

`plan` decides and changes nothing; `Raise` acts: apply → (build) → keep → (upload) → finish; or undo, where it failed
before the first byte was sent. Each can be repeated, also by the next run of the same command.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from packaging.version import Version

from ppmctl.errors import PpmError
from ppmctl.publishing import git, next_release, project_version, unfinished, versions
from ppmctl.publishing.git import Repository
from ppmctl.publishing.project_version import Project
from ppmctl.publishing.unfinished import Asked, Edit, Note, Notebook


@dataclass(kw_only=True)
class Raise:
    """What a release of `project` changes beside the index, and the doing of it.

    `built` are the files of a run that broke off: with them it goes on, and nothing is built. `warnings` are for
    people, before anything is done. `is_resumed` says that an earlier run has begun it.
    """

    project: Project
    note: Note
    repository: Repository | None = field(repr=False)
    notebook: Notebook = field(repr=False)
    built: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()
    is_resumed: bool = False
    is_uploaded: bool = False  # something of it is in the index

    @property
    def name(self) -> str:
        return self.note.name

    @property
    def old(self) -> Version:
        return self.note.old

    @property
    def new(self) -> Version:
        """The version that the built files have to have."""
        return self.note.new

    @property
    def edits(self) -> tuple[Edit, ...]:
        return self.note.edits

    @property
    def message(self) -> str:
        """That of the commit."""
        return self.note.message

    @property
    def tag(self) -> str:
        """ "" where none is made."""
        return self.note.tag

    def said(self) -> tuple[str, ...]:
        """What will be done, for people, a line each."""
        names = [edit.shown(self.project.folder) for edit in self.edits]
        lines = [f"{self.name}: {self.old} → {self.new}" if self.old != self.new else f"{self.name} {self.new}"]
        if self.is_resumed:
            lines.append("An earlier run has begun this release; it is gone on with.")
        if names:
            lines.append(f"Changed: {', '.join(names)}")
        after = ([f"commit {self.message!r}"] if names and self.repository else []) + (
            [f"tag {self.tag}"] if self.tag else []
        )
        if after:
            lines.append(f"{'Before the build' if self.note.is_early else 'After the upload'}: {' and '.join(after)}")
        return tuple(lines)

    def apply(self) -> None:
        """Write the edits, before the build. PpmError where it can't be done; then everything is as it was."""
        try:
            self.notebook.write(self.note)
            for edit in self.edits:
                self._write(edit)
            if self.note.is_early:
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

    def keep(self, files: Iterable[Path]) -> None:
        """Remember what was built, right before the first upload, so that another run can go on with these bytes."""
        self.note = self.notebook.keep(self.note, files)

    def undo(self) -> None:
        """Put everything back; without effect once something of it is in the index, where nothing is taken back."""
        if self.is_uploaded:
            return
        if self.note.is_early and self.repository is not None:
            if self.tag and self.repository.tagged(self.tag) == self.repository.head:
                self.repository.untag(self.tag)
            if (self.repository.subject, self.repository.parent) == (self.message, self.note.head):
                self.repository.uncommit(self.note.head)
        for edit in self.edits:
            if edit.current == edit.new:
                edit.write(edit.old)
        self.notebook.forget()

    def finish(self) -> str:
        """Commit the edits and make the tag, after the upload; the command that pushes them, "" if there is none.

        PpmError where git, or a hook, refuses: the same command then goes on here.
        """
        self.is_uploaded = True
        try:
            self._commit_and_tag()
        except PpmError as exc:
            raise PpmError(
                f"{self.name} {self.new} is published, but not committed and tagged: {exc.message}",
                hint="Mend that, and run the same again: it uploads nothing twice and goes on with the commit.",
            ) from exc
        self.notebook.forget()
        return self._push()

    def _commit_and_tag(self) -> None:
        if self.repository is None:
            return
        self.repository.commit([edit.path for edit in self.edits], self.message)
        if self.tag and not self.repository.tagged(self.tag):
            self.repository.tag(self.tag, self.message)

    def _push(self) -> str:
        remote = self.repository.remote() if self.repository else ""
        if self.repository is None or not remote or not (self.edits or self.tag):
            return ""
        branch = self.repository.branch if self.edits else ""
        return f"git push {shlex.join(word for word in (remote, branch, self.tag) if word)}"


def plan(
    project: Path, *, bump: str | None, changelog: bool, tag: bool, published: Version | None, day: date | None = None
) -> Raise:
    """What a release of `project` changes; nothing is written yet.

    `bump` is what `versions.raised` takes; `published` the highest version in the index; `day` goes into the
    changelog, today unless given. A release that broke off is gone on with. UsageError where what is asked makes no
    sense here; PpmError for a tree that is not as committed, a version that is not above the published one, an empty
    changelog, a tag that is taken, or where git could not commit.
    """
    asked = Asked(bump=bump, changelog=changelog, tag=tag)
    found = project_version.read(project.resolve())
    repository = git.repository(found.folder)
    notebook = Notebook(folder=_folder(found.folder, repository))
    begun = notebook.read()
    if begun is not None:
        resumed = _resumed(found, asked, begun, repository, notebook, published)
        if resumed is not None:
            return resumed
    note = next_release.decide(found, asked, repository, published, day or datetime.now().astimezone().date())
    others = tuple(next_release.left_behind(note, found, repository))
    warnings = (f"Still {note.old}, and not changed by this: {', '.join(others)}",) if others else ()
    return Raise(project=found, note=note, repository=repository, notebook=notebook, warnings=warnings)


def project_name(project: Path) -> str:
    """The name of the project in a folder, as it writes it, to ask an index for. PpmError where it can't be read."""
    return project_version.read(project.resolve()).name


def _folder(project: Path, repository: Repository | None) -> Path:
    if repository is None:
        return unfinished.in_state(project)
    own = repository.prefix.rstrip("/").replace("/", "+")
    return repository.private(f"ppmctl-release{'-' if own else ''}{own}")


def _resumed(
    project: Project,
    asked: Asked,
    begun: Note,
    repository: Repository | None,
    notebook: Notebook,
    published: Version | None,
) -> Raise | None:
    """The release that was begun; None where nothing is left of it to go on with."""
    own = {edit.path for edit in begun.edits}
    is_uploaded = published is not None and published >= begun.new
    is_moved = repository is not None and begun.head not in (repository.head, repository.parent)
    if repository is not None and is_moved and not own & set(repository.changed()):
        return None  # it was committed, or put back, by hand, and there are commits after that
    if not is_uploaded and not _is_applied(begun, repository):
        return None
    given = versions.raised(begun.old, asked.bump) if asked.bump else begun.old
    if (given, asked.changelog, asked.tag) != (begun.new, begun.asked.changelog, begun.asked.tag):
        raise PpmError(
            f"A release of {begun.name} {begun.new} has begun and is not finished.",
            hint=f"Go on with it: ppmctl publish {begun.asked}{_give_up(begun, repository, is_uploaded)}",
        )
    strange = [edit.path.name for edit in begun.edits if edit.current not in (edit.old, edit.new)]
    if strange and not is_uploaded:
        raise PpmError(
            f"{', '.join(strange)}: changed since the release of {begun.name} {begun.new} has begun.",
            hint=f"Undo that change and run the same again{_give_up(begun, repository, is_uploaded)}",
        )
    if repository is not None:
        next_release.require_clean(repository, besides=own)
    return Raise(
        project=project,
        note=begun,
        repository=repository,
        notebook=notebook,
        built=() if is_moved and not is_uploaded else notebook.built(begun),
        is_resumed=True,
        is_uploaded=is_uploaded,
    )


def _is_applied(begun: Note, repository: Repository | None) -> bool:
    if begun.is_early and repository is not None and begun.tag and repository.tagged(begun.tag):
        return True
    return any(edit.current != edit.old for edit in begun.edits)


def _give_up(begun: Note, repository: Repository | None, is_uploaded: bool) -> str:
    if is_uploaded or repository is None or begun.is_early:
        return "."
    names = shlex.join(edit.shown(repository.folder) for edit in begun.edits)
    return f". To give it up: git restore {names}"
