"""`ppmctl storage copy --from`: write the index of a bucket to a volume, which then has all files itself.

The volume is the bucket's cache until everything is there. So the command can be repeated: it fetches what is new.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from ppmctl import events, files
from ppmctl.errors import PpmError
from ppmctl.index import bucket_check, cache_mark, pages, project_folder
from ppmctl.index.layout import ATTESTATIONS, METADATA, PROVENANCE, Volume
from ppmctl.index.mirror import Mirror
from ppmctl.index.project_folder import Record, StoredFile
from ppmctl.index.store import Store
from ppmctl.migration import shared_files
from ppmctl.migration.copied import Copied
from ppmctl.server import exclusive, running
from ppmctl.storage import bucket_layout, configured

_AT_ONCE = 8  # projects


def copy(volume: Volume) -> Copied:
    """Copy the index of the bucket `volume.bucket` to the volume; the copy is complete if no server of it runs.

    Raise PpmError if the bucket has no index, or the volume has projects of its own.
    """
    done = Copied(address=volume.bucket)
    if bucket_layout.read(configured.opened(volume.bucket)) is None:
        raise PpmError(f"{volume.bucket} has no index.", hint="Is the prefix right? s3://BUCKET/PREFIX")
    volume.prepare()
    cache_mark.require_usable(volume)
    store = Store(volume)
    mirror = store.mirror
    if mirror is None:
        raise AssertionError(volume.bucket)
    try:
        mirror.join()
        mirror.keep_files()  # room for one file would be made of those that were copied before
        _Fetching(volume, mirror, done).projects()
        shared_files.fetch(volume, mirror.bucket)
        store.write_root()
    finally:
        store.area.close()
    server = running.newest(volume)
    done.server = server.described if server is not None else ""
    if server is None and not done.problems:
        with exclusive.alone(volume):
            done.problems += _missing(volume, mirror)
            if not done.problems:
                cache_mark.become_copy(volume, volume.bucket)
                done.is_complete = True
    return done


def _missing(volume: Volume, mirror: Mirror) -> Iterator[str]:
    """Yield what the volume lacks of the heads that it was brought in line with: somebody may have removed it."""
    for project in sorted(pages.local_projects(volume)):
        noted = mirror.applied(project)
        for filename, entry in noted.head.files.items() if noted else ():
            for suffix in ("", *_side_files(Record.from_values(entry.record))):
                if not project_folder.locate(volume, project, filename + suffix).exists():
                    yield f"{project}: {filename}{suffix} is not on the volume any more: copy again."


class _Fetching:
    def __init__(self, volume: Volume, mirror: Mirror, done: Copied) -> None:
        self._volume = volume
        self._mirror = mirror
        self._done = done
        self._guard = Lock()

    def projects(self) -> None:
        names = sorted(self._mirror.names())
        with events.progress("Projects", len(names), unit="projects") as step:

            def fetched(project: str) -> None:
                try:
                    self._project(project)
                except (PpmError, OSError) as exc:
                    self._done.problems.append(f"{project}: {_reason(exc)}")
                step(1)

            with ThreadPoolExecutor(_AT_ONCE) as threads:
                list(threads.map(fetched, names))

    def _project(self, project: str) -> None:
        self._mirror.forget(project)  # so that all of the folder is compared, also what was changed by hand
        changed = self._mirror.pull(project)
        content = project_folder.read(self._volume, project)
        sizes = [self._file(project, file) for file in (content.files if content else ())]
        with self._guard:
            new = [size for size in sizes if size is not None]
            self._done.projects += changed and bool(new)
            self._done.files += len(new)
            self._done.bytes += sum(new)

    def _file(self, project: str, file: StoredFile) -> int | None:
        """Fetch a file and what is beside it, unless the volume has it whole; return its size if it was fetched."""
        is_new, record = False, file.record.values()
        for suffix in ("", *_side_files(file.record)):
            sha256 = record.get(bucket_check.HASHES.get(suffix, ""))
            if sha256 and not bucket_check.has_good_copy(self._volume, project, file.filename + suffix, sha256):
                project_folder.locate(self._volume, project, file.filename + suffix).unlink(missing_ok=True)
                is_new |= not suffix
            try:
                self._mirror.fetch(project, file.filename + suffix)
            except FileNotFoundError:
                if self._is_listed(project, file):
                    raise PpmError(f"{file.filename}{suffix} is not in the bucket.") from None
        return file.record.size if is_new else None

    def _is_listed(self, project: str, file: StoredFile) -> bool:
        """Return whether a file is still there: another node may have removed it meanwhile."""
        content = project_folder.read(self._volume, project)
        return content is not None and any(each.filename == file.filename for each in content.files)


def _reason(exc: Exception) -> str:
    return files.disk_error(exc) or str(exc)


def _side_files(record: Record) -> Iterator[str]:
    if record.core_metadata:
        yield METADATA
    if record.attestations:
        yield ATTESTATIONS
    if record.provenance:
        yield PROVENANCE
