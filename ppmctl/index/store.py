"""Changes the content of an index under the project's lock: put, yank, status, remove.

tombstone check → mark pending → side files → link the file into place (the commit) → pages → unmark.
A crash at any point leaves no file, or a whole one with its record; `repair` then updates the pages. The steps
between the marks are in `transaction`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from threading import Event

from packaging.version import InvalidVersion, Version

from ppmctl import files
from ppmctl.distributions import release_file
from ppmctl.distributions.distribution import Dist, Filename, parse_version
from ppmctl.errors import PpmError, Refused
from ppmctl.index import claims, pages, project_folder, transaction
from ppmctl.index.changes import Changes
from ppmctl.index.claims import Claim
from ppmctl.index.layout import ROOT_MARK, TOMBSTONE, YANKED, Volume
from ppmctl.index.project_folder import CLOSED, STATUSES, Folder, Record, Status
from ppmctl.index.staging import IncomingArea, IncomingFile

_SHOWN = 200  # characters of a release in a message


class NotHere(PpmError):
    """The index does not have this project, release or file."""

    status = 404


class Store:
    """The distributions of one index on its volume, for any number of threads and processes at once."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        self.area = IncomingArea(volume)
        # set when the list of projects is out of date: a thread of a server waits for it, commands call write_root
        self.root_is_old = Event()
        self.changes = Changes()

    # reading

    def has_project(self, project: str) -> bool:
        """Return whether the project exists or existed: then its name is never redirected to another index."""
        return self.volume.project(project).is_dir()

    def read(self, project: str) -> Folder:
        """Return a project's files and status. NotHere if it never existed."""
        content = project_folder.read(self.volume, project)
        if content is None:
            raise self._not_here(project)
        return content

    def _not_here(self, project: str) -> NotHere:
        hint = "List all projects: ppmctl package list --root ROOT"
        return NotHere(f"There is no project {project!r} in this index.", hint=hint)

    def projects(self) -> list[str]:
        return sorted(pages.projects(self.volume))

    def has_file(self, project: str, filename: str) -> bool:
        """Return whether this file is served: while its project is quarantined, no file is."""
        return self.volume.file(project, filename).is_file()

    def holds(self, name: Filename, sha256: str) -> bool:
        """Return whether this file is published with this content."""
        try:
            record = project_folder.read_record(self.volume, name.project, name.filename)
        except (FileNotFoundError, project_folder.BrokenRecord):
            return False
        path = project_folder.locate(self.volume, name.project, name.filename)
        return record.sha256 == sha256 and path.is_file()

    # changing

    def put(
        self,
        received: IncomingFile,
        dist: Dist,
        *,
        by: str,
        attestations: str | None = None,
        upload_time: str | None = None,
        show: bool = True,
    ) -> Record | None:
        """Publish `received` as `dist`; when this returns, it is durable and on the project's pages.

        Return its record, with `by` and `upload_time` (by default now); None if it was there with the same content.
        Without `show` the pages stay unchanged, and marked, until `refresh`. Refused: 409 for other content (the
        page then lists the first) or a removed file, 403 for a closed project. OSError on a full disk: no rest stays.
        """
        name = dist.name
        when = upload_time or project_folder.now()
        record = record_of(dist, size=received.size, sha256=received.sha256, upload_time=when, by=by)
        with (
            transaction.prepared(self.area, received, dist, record, attestations) as side_files,
            self._writing(name.project),
        ):
            if show:
                self.settle(name.project)
            if self._has_already(name, received.sha256):
                return None
            pages.mark(self.volume, name.project)
            new = True
            try:
                new = transaction.commit(self.volume, name, received.path, side_files)
                if show:
                    transaction.write_pages(self.volume, name)
                    pages.unmark(self.volume, name.project)
            except FileExistsError as exc:
                if not self.has_file(name.project, name.filename):
                    path = f"packages/{name.project}/{name.filename}"
                    raise Refused(409, f"{path} exists but is not a regular file; ask an administrator") from exc
                # a file system without flock: the record may be this upload's now, so it can't tell whose file it is
                raise Refused(409, f"{name.filename} was published by another upload at the same moment") from exc
            finally:
                if new:  # even after a failure: the list may have been written meanwhile
                    self.root_is_old.set()
        return record

    def confirm(self, name: Filename, sha256: str) -> bool:
        """Return whether this file is published with this content; its page then lists it. Refused as for `put`."""
        if not self.holds(name, sha256):
            return False
        with self._writing(name.project):
            self.settle(name.project)
            return self._has_already(name, sha256)

    def yank(self, project: str, version_or_filename: str, reason: str = "") -> list[str]:
        """Yank a release or one of its files (PEP 592); return the filenames. NotHere if it does not exist."""
        return self._each_file(
            project,
            version_or_filename,
            lambda path: files.write_atomic(transaction.beside(path, YANKED), _line(reason), sync=True),
        )

    def unyank(self, project: str, version_or_filename: str) -> list[str]:
        """Revert a yank; return the filenames. NotHere if the release or file does not exist."""
        return self._each_file(
            project, version_or_filename, lambda path: transaction.beside(path, YANKED).unlink(missing_ok=True)
        )

    def remove(self, project: str, version_or_filename: str) -> list[str]:
        """Remove a release or one of its files for good; return the filenames, which can't be used again."""
        with self._changing(project) as content:
            chosen = choose(content, version_or_filename)
            for filename in chosen:
                line = _line(f"removed {project_folder.now()}")
                files.write_atomic(self.volume.side_file(project, filename, TOMBSTONE), line, sync=True)
            pages.refresh(self.volume, project)  # the link leaves the page before the file is removed
            for filename in chosen:
                transaction.unlink(self.volume, project, filename)
        return chosen

    def set_status(
        self, project: str, state: str, reason: str = "", *, among: Collection[str] | None = None
    ) -> Status:
        """Set a project's status (PEP 792); NotHere if it never existed.

        Refused, 403, if the old or the new status is not `among` these.
        """
        if state not in STATUSES:
            raise PpmError(f"{state!r} is not a status.", hint=f"One of: {', '.join(STATUSES)} (PEP 792).")
        status = Status(state=state, reason=" ".join(reason.split()))
        with self._writing(project):
            with contextlib.suppress(project_folder.BrokenRecord):  # a damaged status, which this call replaces
                self.settle(project)  # first: the folder may be what a killed first upload left
            if not self.has_project(project):
                raise self._not_here(project)
            if among is not None:
                for each in (project_folder.read_status(self.volume, project).state, state):
                    if each not in among:
                        raise Refused(403, f"Only an admin may set or unset the status {each} of {project}")
            # without reading it first: this also repairs a damaged status
            pages.mark(self.volume, project)
            content = json.dumps({"state": status.state, "reason": status.reason}).encode() + b"\n"
            files.write_atomic(self.volume.status(project), content, sync=True)
            self.settle(project)
        return status

    def claim_of(self, project: str) -> Claim | None:
        """Return the claim of a name, or None without one."""
        return claims.read(self.volume, project)

    def claim(self, project: str, *, by: str) -> Claim:
        """Let any publisher upload the first file of a name; return the first claim of it."""
        with self.locked(project):
            return claims.add(self.volume, project, by=by)

    def unclaim(self, project: str) -> None:
        """Undo `claim`; a project that has files already is not affected."""
        with self.locked(project):
            claims.remove(self.volume, project)

    def refresh(self, project: str) -> None:
        """Write a project's pages again if they are missing or out of date, and repair what a crash left of it."""
        with self._writing(project):
            self.settle(project)
            pages.refresh(self.volume, project)

    def settle(self, project: str) -> None:
        """Repair a marked project, whose last writer died. The caller holds its lock.

        Every change does this first: it removes the mark, so no later start-up would repair the project.
        """
        if self.volume.mark(project).exists():
            transaction.repair(self.volume, project)
            pages.mark(self.volume, ROOT_MARK)
            self.root_is_old.set()
            pages.unmark(self.volume, project)

    def write_root(self) -> None:
        """Write the list of projects if it is out of date."""
        self.root_is_old.clear()
        pages.write_root(self.volume)

    def locked(self, project: str) -> contextlib.AbstractContextManager[None]:
        """Hold the project's lock against all other changes of it."""
        return files.lock(self.volume.lock(project))

    # helpers

    @contextlib.contextmanager
    def _changing(self, project: str) -> Iterator[Folder]:
        with self._writing(project):
            self.settle(project)
            content = self.read(project)
            pages.mark(self.volume, project)
            try:
                yield content
            finally:
                files.sync_folder(self.volume.project(project))
                pages.refresh(self.volume, project)
                pages.unmark(self.volume, project)

    @contextlib.contextmanager
    def _writing(self, project: str) -> Iterator[None]:
        """Hold the project's lock for a change, even one that fails. The search index follows later."""
        with self.locked(project):
            try:
                yield
            finally:
                self.changes.add(project)

    def _has_already(self, name: Filename, sha256: str) -> bool:
        """Return whether a file that is to be published is there, with this content. Raise Refused if it can't be."""
        if self.volume.side_file(name.project, name.filename, TOMBSTONE).exists():
            message = f"{name.filename} was removed from this index and its name can't be used again"
            raise Refused(409, message, hint="Publish a new version.")
        status = project_folder.read_status(self.volume, name.project)
        if status.state in CLOSED:
            because = f": {status.reason}" if status.reason else ""
            raise Refused(403, f"The project {name.project} is {status.state} and takes no uploads{because}")
        if self.has_file(name.project, name.filename):
            if not self.holds(name, sha256):
                advice = "a published file never changes, publish a new version"
                raise Refused(409, f"{name.filename} is already in this index with other content; {advice}")
            return True
        self._refuse_other_name(name)
        return False

    def _refuse_other_name(self, name: Filename) -> None:
        """Refuse another name of a file that the index has, and what could be installed instead of a removed one."""
        new = name.filename
        for used in sorted(project_folder.visible_names(self.volume.project(name.project)) or ()):
            old = project_folder.distribution_of(used)
            if used == old and old != new and release_file.is_same(new, old, project=name.project):
                what = f"{new} is another name of {old}, which is in this index"
                raise Refused(409, f"{what}: a published file never changes, publish a new version")
            if used == old + TOMBSTONE and release_file.may_replace(new, old, project=name.project):
                what = f"{new} would replace {old}, which was removed from this index"
                raise Refused(409, f"{what}: a removed file never comes back, publish a new version")

    def _each_file(self, project: str, version_or_filename: str, change: Callable[[Path], None]) -> list[str]:
        with self._changing(project) as content:
            for filename in (chosen := choose(content, version_or_filename)):
                change(self.volume.file(project, filename))
        return chosen


def choose(content: Folder, version_or_filename: str) -> list[str]:
    """Return the files of a release, or the file of this name. Raise NotHere without any."""
    version: Version | None = None
    with contextlib.suppress(InvalidVersion):
        version = parse_version(version_or_filename)
    chosen = [
        file.filename
        for file in content.files
        if file.filename == version_or_filename or (version is not None and Version(file.record.version) == version)
    ]
    if not chosen:
        hint = f"List its files: ppmctl package show {content.project} --root ROOT"
        raise NotHere(f"{content.project} has no release or file {version_or_filename[:_SHOWN]!r}.", hint=hint)
    return chosen


def _line(text: str) -> bytes:
    return " ".join(text.split()).encode() + b"\n"


def record_of(dist: Dist, *, size: int, sha256: str, upload_time: str, by: str) -> Record:
    """Return the record of a file with the distribution `dist`."""
    return Record(
        version=str(dist.name.version),
        size=size,
        sha256=sha256,
        upload_time=upload_time,
        uploaded_by=by,
        requires_python=dist.requires_python,
        core_metadata=dist.metadata_hash,
        summary=dist.summary[: project_folder.MAX_SUMMARY],
    )
