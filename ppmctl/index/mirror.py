"""Joins an index with its bucket: reads what other nodes changed, commits changes, and fetches files.

The bucket has the truth. A change is decided on the local folder and committed by the replacement of the project's
head; then the local folder is brought in line with the head. No reader sees a change before its commit.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path

from ppmctl import files
from ppmctl.distributions.environment_revision import environment_of
from ppmctl.errors import PpmError
from ppmctl.index import fetched, local_copy, pages
from ppmctl.index.claims import SharedClaims
from ppmctl.index.fetched import Fetcher
from ppmctl.index.layout import METADATA, PROVENANCE, ROOT_MARK, Volume
from ppmctl.index.project_folder import Record
from ppmctl.index.staging import IncomingArea
from ppmctl.storage import bucket_layout, configured, keys
from ppmctl.storage import head as heads
from ppmctl.storage.bucket import Missing, NotChanged, Unavailable
from ppmctl.storage.head import Head, HeadChanged, Version
from ppmctl.storage.names import SharedNames

log = logging.getLogger(__name__)

_ATTEMPTS = 50  # of a change, while other nodes change the same project
_MISSING_AT_ONCE = 16  # names without a project, one request each; there are rarely any


@dataclass(frozen=True, kw_only=True)
class Followers:
    """What is told of changes: `changed` the project, `listed` that the list of projects is out of date."""

    changed: Callable[[str], None]
    listed: Callable[[], None]


@dataclass(kw_only=True)
class NewFile:
    """A file that is being published: where it is on this disk, and its side files by suffix.

    `sent` is the head that was known when it was sent to the bucket, None before that.
    """

    filename: str
    record: Record
    path: Path
    side_files: dict[str, Path]
    sent: Head | None = None


class Mirror:
    """The bucket behind one index, for any number of threads. Every method that asks it may raise Unavailable."""

    def __init__(self, volume: Volume, area: IncomingArea, followers: Followers) -> None:
        self.bucket = configured.opened(volume.bucket)
        self._volume = volume
        self._followers = followers
        self._names = SharedNames(self.bucket, volume.names)
        self._fetcher = Fetcher(volume, self.bucket, area)
        self.claims = SharedClaims(volume, self.bucket)
        self._has_joined = False

    def join(self) -> None:
        """Check once that the bucket can be used, and that this volume is the cache of no other one."""
        if self._has_joined:
            return
        root = self._volume.root
        known = configured.known_bucket_id(root)
        if not known:
            bucket_layout.require_conditional_writes(self.bucket)
        found = bucket_layout.read(self.bucket) if known else bucket_layout.join(self.bucket)
        identity = found.id if found else ""
        if configured.bucket_id(root, identity) != identity:
            hint = "Correct the setting storage. If the bucket was made again: start with an empty volume."
            raise PpmError(f"{root} is the cache of another bucket than {self.bucket.address}.", hint=hint)
        self._has_joined = True

    def keep_files(self) -> None:
        """From now on remove no file to make room on a full disk: what needs room fails."""
        self._fetcher.makes_room = False

    # reading

    def pull(self, project: str) -> bool:
        """Bring a project's folder in line with the bucket; return whether it changed.

        A mark without a newer head is of an update that was killed.
        """
        known = None if self._volume.mark(project).exists() else self.applied_tag(project)
        found = self._newer(project, known)
        if found is None:
            return False
        with files.lock(self._volume.lock(project)):
            return self._apply(project, found, known)

    def names(self) -> frozenset[str]:
        """Return the names of all projects; among them may be one whose first upload failed.

        A name that had no project when a reader asked for it may have one now: some of these are looked at again.
        """
        before = self._names.known()
        names = self._names.read_all()
        is_changed = names != before
        for project in self._names.missing(_MISSING_AT_ONCE):
            if self.bucket.modified(keys.head(project)) is not None:
                self._names.note(project, exists=True)
                pages.mark(self._volume, ROOT_MARK)  # after the note: who writes the list reads it
                is_changed = True
        if is_changed:
            self._followers.listed()
        return names

    def fetch(self, project: str, filename: str) -> Path:
        """Return the path of a file, or of its metadata or provenance, after fetching what is not on the disk.

        FileNotFoundError if there is none, also if another node removed it: then the pages here are updated.
        """
        try:
            return self._fetcher.fetch(project, filename)
        except FileNotFoundError:
            self.pull(project)
            raise

    def forget(self, project: str) -> None:
        """Have the next pull compare the project's whole folder with the bucket."""
        self._volume.head(project).unlink(missing_ok=True)

    def forget_all(self) -> None:
        """Do the same for all projects."""
        shutil.rmtree(self._volume.heads, ignore_errors=True)

    def applied_tag(self, project: str) -> str | None:
        """Return the tag of the head that the project's folder was brought in line with; None without one."""
        try:
            with self._volume.head(project).open("rb") as file:
                return file.readline().strip().decode() or None
        except FileNotFoundError:
            return None

    # changing: the caller holds the project's lock

    def change(self, project: str, decide: Callable[[Head], Head | None], new: NewFile | None = None) -> bool:
        """Commit what `decide` makes of a project's head, and return True; False if it returned None: no change.

        When `decide` is called the local folder is in line with the head that it gets. It is called again if another
        node was faster, and before a refusal or None is final. The files of `new` are sent before the commit.
        """
        self.join()
        is_fresh = False
        if self._is_out_of_line(project):
            is_fresh = self.update(project)
        for _ in range(_ATTEMPTS):
            before = self.applied(project)
            decided = _decided(decide, before.head if before else Head(), is_final=is_fresh)
            if decided is None:
                if is_fresh:
                    return False
                is_fresh = self.update(project)
                continue
            if new is not None:
                self.send(project, new, before)
            if before is None and not self._names.add(project) and not is_fresh:
                is_fresh = self.update(project)  # another node has made the project
                continue
            try:
                after = heads.commit(self.bucket, project, decided, after=before)
            except HeadChanged as exc:
                if exc.now is None:
                    raise _lost(project) from exc
                is_fresh = True
                self._apply(project, exc.now, before.tag if before else None)
                continue
            self._follow(project, after, new)
            self._delete_files(project, decided.removed.keys(), before.head if before else Head())
            return True
        raise Unavailable(f"{project} is changed by other nodes all the time.", hint="Try again.")

    def update(self, project: str) -> bool:
        """Bring the local folder in line with the bucket, as `pull` does; return True."""
        known = self.applied_tag(project)
        found = self._newer(project, known)
        if found is not None:
            self._apply(project, found, known)
        return True

    # helpers

    def _newer(self, project: str, known: str | None) -> Version | None:
        """Return a project's head; None if its tag is `known`, or if it does not exist."""
        self.join()
        if not known and not self._volume.project(project).exists() and not self._names.has(project):
            return None
        try:
            found = heads.read(self.bucket, project, unless=known)
        except NotChanged:
            return None
        if not known and found is None:
            self._names.note(project, exists=False)
        return found

    def _is_out_of_line(self, project: str) -> bool:
        """Return whether the local folder may differ from the head that was noted, or none was."""
        if self._volume.mark(project).exists():  # a change was interrupted
            self.forget(project)
            return True
        return self._volume.project(project).exists() and not self.applied_tag(project)

    def _follow(self, project: str, after: Version, new: NewFile | None) -> None:
        """Bring the local folder in line with a head that this node committed. A failure does not undo the commit."""
        try:
            self._apply(project, after, None, new)
        except (OSError, PpmError) as exc:
            self.forget(project)
            log.error("%s was changed in the bucket, and not yet on this node: %s", project, exc)

    def _apply(self, project: str, found: Version, known: str | None, new: NewFile | None = None) -> bool:
        """Bring the local folder in line with a head, which was read when it was in line with the one of tag `known`.

        The caller holds the project's lock. Return False if another thread did it meanwhile. If it fails, on a full
        disk for example, what the head lets nobody have any more is removed, and the next comparison does the rest.
        """
        for has_more_room in (False, True):
            try:
                return self._write(project, found, known, new)
            except (OSError, PpmError) as exc:
                self.forget(project)  # first: it has the next comparison write what is removed too much
                local_copy.withhold(self._volume, project, found.head)
                if has_more_room or not (isinstance(exc, OSError) and self._fetcher.make_room(exc, 0)):
                    raise
        raise AssertionError("the second attempt returns or raises")

    def _write(self, project: str, found: Version, known: str | None, new: NewFile | None) -> bool:
        """Do what `_apply` does, unless something fails."""
        if self._volume.mark(project).exists():
            self.forget(project)
        before = self.applied(project)
        if before is not None and before.head.serial >= found.head.serial:
            if before.tag != known:
                return False
            before = None  # the bucket has an earlier head again, which somebody restored
        pages.mark(self._volume, project)
        if before is None:
            pages.mark(self._volume, ROOT_MARK)
            self._names.note(project, exists=True)
        local_copy.drop_replaced(self._volume, project, found.head, before=before.head if before else None)
        if new is not None:
            self._keep(project, new)
        if environment_of(project) is not None:  # their forms are made of the wheels
            self._fetch_revisions(project, found.head)
        local_copy.apply(self._volume, project, found.head, before=before.head if before else None)
        self._volume.heads.mkdir(parents=True, exist_ok=True)
        path, noted = self._volume.head(project), found.tag.encode() + b"\n" + found.content
        with files.replacement(path, noted, mtime=found.head.second) as temporary:  # `pages` reads its time
            os.replace(temporary, path)
        pages.unmark(self._volume, project)
        self._followers.changed(project)
        if before is None:
            self._followers.listed()
        return True

    def _fetch_revisions(self, project: str, head: Head) -> None:
        for filename, entry in head.files.items():
            try:
                self._fetcher.fetch_new(project, filename, Record.from_values(entry.record))
            except FileNotFoundError as exc:  # another node has just removed it: there is a newer head
                raise Missing(f"The bucket does not have {filename}.", hint="Try again.") from exc

    def _delete_files(self, project: str, removed: Set[str], before: Head) -> None:
        """Delete what a change removed from the bucket. If that fails, the cleaning of the storage finds it."""
        try:
            for filename in removed & before.files.keys():
                record = before.files[filename].record
                self.bucket.delete(*fetched.keys_by_suffix(project, filename, record).values())
        except Unavailable as exc:
            log.warning("Removed files of %s are still in the bucket: %s", project, exc.message)

    def applied(self, project: str) -> Version | None:
        """Return the head that the local folder is in line with; None if none is noted."""
        path = self._volume.head(project)
        try:
            tag, _, content = path.read_bytes().partition(b"\n")
            return Version(head=Head.from_bytes(content, name=str(path)), tag=tag.decode(), content=content)
        except (FileNotFoundError, heads.BrokenHead):
            return None

    def send(self, project: str, new: NewFile, known: Version | None) -> None:
        """Write a file and its side files to the bucket, where no head names them yet. No lock is needed.

        They are sent again if the bucket was cleaned between the first time and the head `known`: they may be gone.
        """
        head = known.head if known else Head()
        if new.sent is not None and not heads.was_cleaned(new.sent, head):
            return
        self.join()
        for suffix, key in fetched.keys_by_suffix(project, new.filename, new.record.values()).items():
            self.bucket.upload(key, new.side_files[suffix] if suffix else new.path)
        new.sent = head

    def _keep(self, project: str, new: NewFile) -> None:
        """Keep a published file on the disk too: its first reader here does not wait for the bucket."""
        with contextlib.suppress(OSError):  # a full disk: it can be fetched later
            for suffix in (METADATA, PROVENANCE):
                if suffix in new.side_files:
                    self._fetcher.place(project, new.filename + suffix, new.side_files[suffix], new.record)
            self._fetcher.place(project, new.filename, new.path, new.record)


def _lost(project: str) -> Unavailable:
    hint = "On a node that has the project: ppmctl index rebuild"
    return Unavailable(f"The bucket has lost the head of {project}: {keys.head(project)}", hint=hint)


def _decided(decide: Callable[[Head], Head | None], head: Head, *, is_final: bool) -> Head | None:
    """Return what `decide` makes of a head; None instead of a refusal that is not final."""
    try:
        return decide(head)
    except PpmError:
        if is_final:
            raise
        return None
