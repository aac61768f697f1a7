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

from ppmctl import files
from ppmctl.distributions.distribution import Dist, Filename
from ppmctl.errors import PpmError
from ppmctl.index import change_rules, claims, lookup, pages, project_folder, together, transaction
from ppmctl.index.cache import Cache
from ppmctl.index.changes import Changes
from ppmctl.index.claims import Claim
from ppmctl.index.head_changes import HeadChanges
from ppmctl.index.layout import ROOT_MARK, TOMBSTONE, YANKED, Volume
from ppmctl.index.mirror import Followers, Mirror, NewFile
from ppmctl.index.project_folder import STATUSES, Folder, Record, Status
from ppmctl.index.staging import IncomingArea, IncomingFile
from ppmctl.index.together import Waiting
from ppmctl.storage.bucket import Unavailable


class Store:
    """The distributions of one index on its volume, for any number of threads and processes at once."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        self.area = IncomingArea(volume)
        # set when the list of projects is out of date: a thread of a server waits for it, commands call write_root
        self.root_is_old = Event()
        self.changes = Changes()
        self._queue = together.Queue(self._publish)
        self.mirror: Mirror | None = None
        self._heads: HeadChanges | None = None
        if volume.is_cache:
            followers = Followers(changed=self.changes.add, listed=self.root_is_old.set)
            self.mirror = Mirror(volume, self.area, followers)
            self._heads = HeadChanges(volume, self.mirror)
        self.cache = Cache(volume, self.mirror)

    # reading

    def pull(self, project: str) -> None:
        """Bring a project in line with what other nodes changed in the bucket; without a bucket do nothing.

        What follows then knows all changes that were acknowledged before. Raise Unavailable (`storage.bucket`).
        """
        if self.mirror is not None:
            self.mirror.pull(project)

    def pull_names(self) -> None:
        """Do the same with the list of projects."""
        if self.mirror is not None:
            self.mirror.names()

    def has_project(self, project: str) -> bool:
        """Return whether the project exists or existed: then its name is never redirected to another index."""
        return self.volume.project(project).is_dir()

    def read(self, project: str) -> Folder:
        """Return a project's files and status. NotHere if it never existed."""
        return lookup.read(self.volume, project)

    def projects(self) -> list[str]:
        return sorted(pages.projects(self.volume))

    def has_file(self, project: str, filename: str) -> bool:
        """Return whether this file is served: while its project is quarantined, no file is."""
        return lookup.has_file(self.volume, project, filename)

    def holds(self, name: Filename, sha256: str) -> bool:
        """Return whether this file is published with this content."""
        return lookup.holds(self.volume, name, sha256)

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
        require: Callable[[], None] | None = None,
    ) -> Record | None:
        """Publish `received` as `dist`; when this returns, it is durable and on the project's pages.

        Return its record, with `by` and `upload_time` (by default now); None if it was there with the same content.
        Nothing changes the project between `require`, which may raise Refused, and the publication of a new file.
        Without `show` the pages stay unchanged, and marked, until `refresh`. Refused: 409 for other content (the
        page then lists the first) or a removed file, 403 for a closed project. OSError on a full disk: no rest stays.
        """
        name = dist.name
        when = upload_time or project_folder.now()
        record = record_of(dist, size=received.size, sha256=received.sha256, upload_time=when, by=by)
        if self._heads is not None:
            return self._put_into_bucket(self._heads, received, dist, record, attestations, require)
        with transaction.prepared(self.area, received, dist, record, attestations) as side_files:
            file = Waiting(
                name=name,
                path=received.path,
                sha256=received.sha256,
                side_files=side_files,
                show=show,
                require=require,
            )
            return record if self._queue.put(file) else None

    def confirm(self, name: Filename, sha256: str) -> bool:
        """Return whether this file is published with this content; its page then lists it. Refused as for `put`."""
        if not self.holds(name, sha256):
            return False
        with self._writing(name.project):
            if self.mirror is not None:
                self.mirror.update(name.project)
            else:
                self.settle(name.project)
                pages.refresh(self.volume, name.project)  # after a power failure it may be empty, without a mark
            return change_rules.is_published(self.volume, name, sha256)

    def yank(self, project: str, version_or_filename: str, reason: str = "") -> list[str]:
        """Yank a release or one of its files (PEP 592); return the filenames. NotHere if it does not exist."""
        if self._heads is not None:
            with self._writing(project):
                return self._heads.yank(project, version_or_filename, " ".join(reason.split()))
        return self._each_file(
            project,
            version_or_filename,
            lambda path: files.write_atomic(transaction.beside(path, YANKED), _line(reason), sync=True),
        )

    def unyank(self, project: str, version_or_filename: str) -> list[str]:
        """Revert a yank; return the filenames. NotHere if the release or file does not exist."""
        if self._heads is not None:
            with self._writing(project):
                return self._heads.yank(project, version_or_filename, None)
        return self._each_file(
            project, version_or_filename, lambda path: transaction.beside(path, YANKED).unlink(missing_ok=True)
        )

    def remove(self, project: str, version_or_filename: str, *, only_yanked: bool = False) -> list[str]:
        """Remove a release or one of its files for good; return the filenames, which can't be used again.

        With `only_yanked`, files that are not yanked stay. NotHere if there is nothing to remove.
        """
        if self._heads is not None:
            with self._writing(project):
                return self._heads.remove(project, version_or_filename, only_yanked=only_yanked)
        with self._changing(project) as content:
            chosen = lookup.choose(content, version_or_filename, only_yanked=only_yanked)
            for filename in chosen:
                line = _line(f"removed {project_folder.now()}")
                files.write_atomic(self.volume.side_file(project, filename, TOMBSTONE), line, sync=True)
            pages.refresh(self.volume, project)  # the link leaves the page before the file is removed
            for filename in chosen:
                transaction.unlink(self.volume, project, filename)
        return chosen

    def set_status(
        self,
        project: str,
        state: str,
        reason: str = "",
        *,
        among: Collection[str] | None = None,
        require: Callable[[], None] | None = None,
    ) -> Status:
        """Set a project's status (PEP 792); NotHere if it never existed.

        Refused, 403, if the old or the new status is not `among` these. `require` is as in `put`.
        """
        if state not in STATUSES:
            raise PpmError(f"{state!r} is not a status.", hint=f"One of: {', '.join(STATUSES)} (PEP 792).")
        status = Status(state=state, reason=" ".join(reason.split()))
        with self._writing(project):
            if self._heads is not None:
                self._heads.set_status(project, status, among=among, require=require)
                return status
            with contextlib.suppress(project_folder.BrokenRecord):  # a damaged status, which this call replaces
                self.settle(project)  # first: the folder may be what a killed first upload left
            if not self.has_project(project):
                raise lookup.missing(project)
            change_rules.require_among(project, among, self.volume, state)
            if require is not None:
                require()
            # without reading it first: this also repairs a damaged status
            pages.mark(self.volume, project)
            content = json.dumps({"state": status.state, "reason": status.reason}).encode() + b"\n"
            files.write_atomic(self.volume.status(project), content, sync=True)
            self.settle(project)
        return status

    def claim_of(self, project: str) -> Claim | None:
        """Return the claim of a name, or None without one. Raise Unavailable if the bucket can't be asked."""
        if self.mirror is not None:
            return self.mirror.claims.read(project)
        return claims.read(self.volume, project)

    def last_claim_of(self, project: str) -> Claim | None:
        """Return the same for a page; if the bucket is away, the claim that was last read here."""
        try:
            return self.claim_of(project)
        except Unavailable:
            return claims.read(self.volume, project)

    def claim(self, project: str, *, by: str) -> Claim:
        """Let any publisher upload the first file of a name; return the first claim of it."""
        with self.locked(project):
            if self.mirror is not None:
                return self.mirror.claims.add(project, by=by)
            return claims.add(self.volume, project, by=by)

    def unclaim(self, project: str) -> None:
        """Undo `claim`; a project that has files already is not affected."""
        with self.locked(project):
            if self.mirror is not None:
                self.mirror.claims.remove(project)
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
            if self.mirror is not None:
                self.mirror.forget(project)
            pages.mark(self.volume, ROOT_MARK)
            self.root_is_old.set()
            pages.unmark(self.volume, project)

    def write_root(self) -> None:
        """Write the list of projects if it is out of date."""
        self.root_is_old.clear()
        pages.write_root(self.volume)

    def locked(self, project: str) -> contextlib.AbstractContextManager[None]:
        """Hold the project's lock against all other changes of it. Raise PpmError as `Volume.locked` does."""
        return self.volume.locked(self.volume.lock(project))

    # helpers

    def _put_into_bucket(
        self,
        heads: HeadChanges,
        received: IncomingFile,
        dist: Dist,
        record: Record,
        attestations: str | None,
        require: Callable[[], None] | None,
    ) -> Record | None:
        name = dist.name
        if attestations is not None:
            record = transaction.with_attestations(record, name, attestations)
        with transaction.prepared(self.area, received, dist, record, attestations) as side_files:
            new = NewFile(filename=name.filename, record=record, path=received.path, side_files=side_files)
            with self.cache.sending():  # a large file takes long: other changes and readers do not wait for it
                heads.send(name, new)
            with self._writing(name.project):
                return record if heads.put(name, new, require) else None

    def _publish(self, project: str) -> None:
        """Publish the files of a project that wait."""
        with self._writing(project):
            waiting = self._queue.take(project)
            if any(file.show for file in waiting):
                self.settle(project)
            if together.publish(self.volume, project, waiting):
                self.root_is_old.set()

    @contextlib.contextmanager
    def _changing(self, project: str) -> Iterator[Folder]:
        with self._writing(project):
            self.settle(project)
            content = self.read(project)
            pages.mark(self.volume, project)
            try:
                yield content
            except lookup.NotHere:  # nothing was changed
                pages.refresh(self.volume, project)
                pages.unmark(self.volume, project)
                raise
            except BaseException:
                self.settle(project)  # completes a removal that was begun; if that fails too, the mark stays
                raise
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

    def _each_file(self, project: str, version_or_filename: str, change: Callable[[Path], None]) -> list[str]:
        with self._changing(project) as content:
            for filename in (chosen := lookup.choose(content, version_or_filename)):
                change(self.volume.file(project, filename))
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
