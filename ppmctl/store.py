"""What changes a volume: put, yank, status, remove. One order, under the project's lock.

tombstone check → mark pending → side files → link the file into place (the commit) → pages → unmark.
A crash at any point leaves no file, or a whole one with its record; `mend` brings the pages after it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import IO

from packaging.version import InvalidVersion, Version

from ppmctl import files, folder, incoming, index
from ppmctl.dists import Dist, Filename
from ppmctl.errors import PpmError, Refused
from ppmctl.folder import CLOSED, STATUSES, Folder, Record, Status
from ppmctl.incoming import IncomingArea, IncomingFile
from ppmctl.volume import ATTESTATIONS, METADATA, RECORD, ROOT_MARK, TOMBSTONE, YANKED, Volume


@dataclass(frozen=True, kw_only=True)
class Mended:
    """What a start-up put right."""

    projects: tuple[str, ...]
    swept: int


class NotHere(PpmError):
    """There is no such project, release or file in the index."""


class Store:
    """The distributions of one index on its volume. Any number of threads and processes may use it at once."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        self.area = IncomingArea(volume)
        # set when the list of projects is old; a server's thread waits for it, everybody else calls write_root
        self.root_is_old = Event()

    # reading

    def has_project(self, project: str) -> bool:
        """Whether the project is here or was: then its name is never sent elsewhere."""
        return self.volume.project(project).is_dir()

    def read(self, project: str) -> Folder:
        """A project's files and status; NotHere where it never was."""
        content = folder.read(self.volume, project)
        if content is None:
            raise NotHere(
                f"There is no project {project!r} in this index.",
                hint="The folders of ROOT/packages name the projects.",
            )
        return content

    def projects(self) -> list[str]:
        return sorted(index.projects(self.volume))

    def has_file(self, project: str, filename: str) -> bool:
        return self.volume.file(project, filename).is_file()

    def holds(self, name: Filename, sha256: str) -> bool:
        """Whether this very file is published, with this content."""
        try:
            recorded = folder.read_record(self.volume, name.project, name.filename).sha256 == sha256
        except (FileNotFoundError, folder.BrokenRecord):
            return False
        return recorded and self.has_file(name.project, name.filename)

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
    ) -> Record:
        """Publish `received` as `dist`; when this returns it is durable and on the project's pages.

        `by` is who, for the record; `upload_time` is for files that were published elsewhere before, and
        now if left out. Without `show` the pages stay as they are, and marked, until `refresh`.

        Refused: 409 where the name is taken (the page then shows the file that has it) or was removed, 403
        where the project takes no uploads. OSError where the disk is full; nothing is left then.
        """
        name = dist.name
        record = Record(
            version=str(name.version),
            size=received.size,
            sha256=received.sha256,
            upload_time=upload_time or folder.now(),
            uploaded_by=by,
            requires_python=dist.requires_python,
            core_metadata=metadata_hash(dist),
        )
        with self._prepared(received, dist, record, attestations) as side_files, self.locked(name.project):
            self._refuse_put(name, received.sha256)
            index.mark(self.volume, name.project)
            new = self._commit(name, received.path, side_files)
            if show:
                self._show(name)
                index.unmark(self.volume, name.project)
        if new:
            self.root_is_old.set()
        return record

    def yank(self, project: str, version_or_filename: str, reason: str = "") -> list[str]:
        """Yank a release or one of its files (PEP 592); the filenames. NotHere where there is none."""
        return self._each_file(
            project,
            version_or_filename,
            lambda path: files.write_atomic(_beside(path, YANKED), _line(reason), sync=True),
        )

    def unyank(self, project: str, version_or_filename: str) -> list[str]:
        """Take a yank back; the filenames. NotHere where there is no such release or file."""
        return self._each_file(
            project, version_or_filename, lambda path: _beside(path, YANKED).unlink(missing_ok=True)
        )

    def remove(self, project: str, version_or_filename: str) -> list[str]:
        """Remove a release or one of its files for good; its names can't be used again. The filenames."""
        with self._changing(project) as content:
            chosen = _choose(content, version_or_filename)
            paths = [self.volume.file(project, filename) for filename in chosen]
            for path in paths:
                files.write_atomic(_beside(path, TOMBSTONE), _line(f"removed {folder.now()}"), sync=True)
            index.refresh(self.volume, project)  # a tombstone takes the link off the page before the file goes
            for path in paths:
                path.unlink(missing_ok=True)
                _drop_leftovers(path)
        return chosen

    def set_status(self, project: str, state: str, reason: str = "") -> Status:
        """Set a project's status (PEP 792). NotHere where it never was."""
        if state not in STATUSES:
            raise PpmError(f"{state!r} is not a status.", hint=f"One of: {', '.join(STATUSES)} (PEP 792).")
        status = Status(state=state, reason=" ".join(reason.split()))
        with self._changing(project):
            written = json.dumps({"state": status.state, "reason": status.reason}).encode() + b"\n"
            files.write_atomic(self.volume.status(project), written, sync=True)
        return status

    def mend(self) -> Mended:
        """Put right what a crash left: the marked projects, and folders in `incoming/` that nobody holds."""
        marked = index.marked(self.volume)
        for project in marked:
            if not project.startswith("."):
                self._mend_project(project)
        if index.root_is_marked(self.volume) or not (self.volume.simple / index.JSON_PAGE).exists():
            index.write_root(self.volume)
        return Mended(
            projects=tuple(name for name in marked if not name.startswith(".")),
            swept=incoming.sweep(self.volume),
        )

    def refresh(self, project: str) -> None:
        """Write a project's pages again if they are missing or old."""
        with self.locked(project):
            index.refresh(self.volume, project)
            index.unmark(self.volume, project)

    def write_root(self) -> None:
        """Write the list of projects if it is old."""
        self.root_is_old.clear()
        index.write_root(self.volume)

    def locked(self, project: str) -> contextlib.AbstractContextManager[None]:
        """Hold the project against every other change of it."""
        return files.lock(self.volume.lock(project))

    # how

    @contextlib.contextmanager
    def _changing(self, project: str) -> Iterator[Folder]:
        with self.locked(project):
            content = self.read(project)
            index.mark(self.volume, project)
            yield content
            files.sync_folder(self.volume.project(project))
            index.refresh(self.volume, project)
            index.unmark(self.volume, project)

    @contextlib.contextmanager
    def _prepared(
        self, received: IncomingFile, dist: Dist, record: Record, attestations: str | None
    ) -> Iterator[dict[str, Path]]:
        """The side files, durable in `incoming/` as `received` is; what is left of them at the end goes."""
        contents = {RECORD: record.to_json()}
        if dist.name.kind == "wheel":
            contents[METADATA] = dist.metadata
        if attestations is not None:
            contents[ATTESTATIONS] = attestations.encode()
        written: dict[str, Path] = {}
        try:
            with contextlib.ExitStack() as opened:
                descriptors = []
                for suffix, content in contents.items():
                    written[suffix] = self.area.new_path()
                    file = opened.enter_context(_new_file(written[suffix]))
                    file.write(content)
                    file.flush()
                    files.start_writing(file.fileno())
                    descriptors.append(file.fileno())
                # all are on their way: the first fsync does most of the others' work
                received.sync()
                for descriptor in descriptors:
                    os.fsync(descriptor)
            yield written
        finally:
            for path in written.values():
                path.unlink(missing_ok=True)

    def _refuse_put(self, name: Filename, sha256: str) -> None:
        if _beside(self._path(name), TOMBSTONE).exists():
            raise Refused(
                409,
                f"{name.filename} was removed from this index and its name can't be used again",
                hint="Publish a new version.",
            )
        status = folder.read_status(self.volume, name.project)
        if status.state in CLOSED:
            because = f": {status.reason}" if status.reason else ""
            raise Refused(403, f"The project {name.project} is {status.state} and takes no uploads{because}")
        if self.has_file(name.project, name.filename):
            self._refuse_taken(name, sha256)

    def _refuse_taken(self, name: Filename, sha256: str) -> None:
        if self.volume.mark(name.project).exists():  # its uploader died between the commit and the page
            index.refresh(self.volume, name.project)
        if self.holds(name, sha256):
            raise Refused(409, f"{name.filename} is already in this index, with the same content")
        raise Refused(
            409,
            f"{name.filename} is already in this index with other content; a published file never changes,"
            " publish a new version",
        )

    def _path(self, name: Filename) -> Path:
        return self.volume.file(name.project, name.filename)

    def _commit(self, name: Filename, source: Path, side_files: dict[str, Path]) -> bool:
        """Put the side files and then the file into place; whether the project is new."""
        target = self._path(name)
        new = not target.parent.exists()
        try:
            if new:
                index.mark(self.volume, ROOT_MARK)
                target.parent.mkdir()
            for suffix in (METADATA, RECORD, ATTESTATIONS):
                if suffix in side_files:
                    side_files[suffix].replace(_beside(target, suffix))
                else:
                    _beside(target, suffix).unlink(missing_ok=True)
            os.link(source, target)
        except FileExistsError:  # the lock was not held by everybody: a file system without flock
            self._refuse_taken(name, "")
        except OSError:
            self._take_back(name)
            raise
        if new:
            files.sync_folder(self.volume.packages)
        files.sync_folder(target.parent)
        return new

    def _show(self, name: Filename) -> None:
        """Write the pages; where the disk is full for them, take the file back, which no page has shown."""
        try:
            index.refresh(self.volume, name.project)
        except OSError:
            self._path(name).unlink()
            self._take_back(name)
            raise

    def _take_back(self, name: Filename) -> None:
        """Leave nothing of a put that failed. The pages are as they were, or the mark stays for `mend`."""
        _drop_leftovers(self._path(name))
        with contextlib.suppress(OSError):
            index.refresh(self.volume, name.project)
            index.unmark(self.volume, name.project)

    def _each_file(self, project: str, version_or_filename: str, change: Callable[[Path], None]) -> list[str]:
        with self._changing(project) as content:
            chosen = _choose(content, version_or_filename)
            for filename in chosen:
                change(self.volume.file(project, filename))
        return chosen

    def _mend_project(self, project: str) -> None:
        with self.locked(project):
            content = folder.read(self.volume, project)
            if content is not None:
                self._drop_orphans(content)
                index.refresh(self.volume, project)
                index.mark(self.volume, ROOT_MARK)
                self.root_is_old.set()
            index.unmark(self.volume, project)

    def _drop_orphans(self, content: Folder) -> None:
        """Remove the side files whose file never came, or was on its way out; and a folder with nothing in it."""
        for filename in {folder.distribution_of(name) for name in content.names}:
            path = self.volume.file(content.project, filename)
            if filename in content.removed:
                path.unlink(missing_ok=True)
            if not path.exists():
                _drop_leftovers(path)


def _choose(content: Folder, version_or_filename: str) -> list[str]:
    version: Version | None = None
    with contextlib.suppress(InvalidVersion):
        version = Version(version_or_filename)
    chosen = [
        file.filename
        for file in content.files
        if file.filename == version_or_filename or (version is not None and Version(file.record.version) == version)
    ]
    if not chosen:
        raise NotHere(
            f"{content.project} has no release or file {version_or_filename!r}.",
            hint="See its page in the index for what it has.",
        )
    return chosen


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _drop_leftovers(path: Path) -> None:
    """Remove the side files of a file that is not there, but its tombstone; and its folder if that is empty."""
    for suffix in (RECORD, METADATA, ATTESTATIONS, YANKED):
        _beside(path, suffix).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.parent.rmdir()


def _line(text: str) -> bytes:
    return " ".join(text.split()).encode() + b"\n"


def metadata_hash(dist: Dist) -> str | None:
    """The sha256 of a wheel's metadata file; None for an sdist, which has none (PEP 658)."""
    return hashlib.sha256(dist.metadata).hexdigest() if dist.name.kind == "wheel" else None


def sha256_of(path: Path) -> str:
    """The hexadecimal sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _new_file(path: Path) -> IO[bytes]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    return os.fdopen(descriptor, "wb")
