"""`ppmctl storage copy --to`: write the index of a volume into an empty bucket, also while it is served.

Until the end `ppm.json` says that the bucket is being filled, so no node uses it. A project's head is written after
its files were read back and compared, so a copy that was killed goes on with the projects that have another head.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

from ppmctl import events, files
from ppmctl.errors import PpmError, some
from ppmctl.index import cache_mark, fetched, project_folder
from ppmctl.index.bucket_check import HASHES, has_hash
from ppmctl.index.layout import ATTESTATIONS, RECORD, TOMBSTONE, Volume
from ppmctl.index.project_folder import Record, StoredFile
from ppmctl.index.store import Store
from ppmctl.migration import shared_files
from ppmctl.migration.copied import Copied
from ppmctl.server import exclusive, running
from ppmctl.storage import bucket_layout, configured, keys, names
from ppmctl.storage import head as heads
from ppmctl.storage.bucket import Bucket, checked_address
from ppmctl.storage.head import Entry, Head, Removed

_AT_ONCE = 8  # projects
_ATTEMPTS = 5  # at a project that changes while it is copied


def copy(volume: Volume, address: str) -> Copied:
    """Copy a volume's index to the bucket `address`; the copy is complete if no server of the volume runs.

    Then the volume is a cache of the bucket. Raise PpmError if the bucket has another index, or can't be used.
    """
    bucket = configured.opened(checked_address(address))
    done = Copied(address=bucket.address)
    noted = configured.noted(volume.root)
    if noted == bucket.address:  # an earlier copy was completed, but for its last step perhaps
        bucket_layout.end_copy(bucket)
        done.is_complete = True
        return done
    if noted:
        raise PpmError(
            f"{volume.root} is a cache of {noted}, so it may lack files.",
            hint=f"First copy that bucket to a new folder: ppmctl storage copy --root FOLDER --from {noted}",
        )
    volume.prepare()
    bucket_layout.begin_copy(bucket, configured.node(volume.root))
    store = Store(volume)
    try:
        _copy(_Copying(store, bucket, done), volume, done)
    finally:
        store.area.close()
    return done


def _copy(copying: _Copying, volume: Volume, done: Copied) -> None:
    copying.projects()
    server = running.newest(volume)
    if server is not None:
        done.server = server.described
    elif not done.problems:
        with exclusive.alone(volume):
            copying.projects(is_locked=True)
            if not done.problems:
                copying.finish()
                done.is_complete = True


class _Copying:
    def __init__(self, store: Store, bucket: Bucket, done: Copied) -> None:
        self._store = store
        self._volume = store.volume
        self._bucket = bucket
        self._guard = Lock()
        self._copied: dict[str, bytes] = {}  # project → the hash of the head that the bucket has
        self.done = done

    def projects(self, *, is_locked: bool = False) -> None:
        """Copy the projects that differ from the bucket's; `is_locked`: the caller holds the locks of all."""
        projects = self._store.projects()
        _write_names(self._bucket, projects)
        with events.progress("Projects", len(projects), unit="projects") as step:

            def copied(project: str) -> None:
                try:
                    self._project(project, is_locked=is_locked)
                except (PpmError, OSError) as exc:
                    self.done.problems.append(f"{project}: {exc}")
                step(1)

            with ThreadPoolExecutor(_AT_ONCE) as threads:
                list(threads.map(copied, projects))

    def finish(self) -> None:
        """Copy the rest, make the volume a cache, and let nodes use the bucket. The caller holds all locks."""
        shared_files.copy(self._volume, self._bucket)
        cache_mark.become_cache(self._volume, self._bucket.address)
        bucket_layout.end_copy(self._bucket)

    def _project(self, project: str, *, is_locked: bool) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            wanted = self._head(project, is_locked=is_locked)
            if wanted is None:
                return
            digest = hashlib.sha256(wanted.to_bytes()).digest()
            if is_locked:
                _write_records(self._volume, project, wanted)
            if self._copied.get(project) == digest:
                return
            try:
                self._bring(project, wanted)
            except FileNotFoundError:  # it was removed, or moved because its project is quarantined
                if attempt == _ATTEMPTS:
                    raise
            else:
                self._copied[project] = digest
                return

    def _head(self, project: str, *, is_locked: bool) -> Head | None:
        with contextlib.nullcontext() if is_locked else self._store.locked(project):
            self._store.settle(project)
            return head_of(self._volume, project)

    def _bring(self, project: str, wanted: Head) -> None:
        """Bring the bucket's head in line with the volume's, if it differs."""
        before = heads.read(self._bucket, project)
        known = before.head if before else Head()
        if before is not None and is_same(known, wanted):
            return
        self._files(project, wanted, known)
        heads.commit(self._bucket, project, wanted, after=before)
        for filename, entry in known.files.items():
            if filename not in wanted.files:  # it was removed since the last copy
                self._bucket.delete(*fetched.keys_by_suffix(project, filename, entry.record).values())
        with self._guard:
            self.done.projects += 1

    def _files(self, project: str, wanted: Head, before: Head) -> None:
        """Write the files that the bucket's head does not name yet, and compare what the bucket has of them."""
        known = {name: entry.record for name, entry in before.files.items()}
        new = {name: entry for name, entry in wanted.files.items() if known.get(name) != entry.record}
        present = {each.key: each.size for each in self._bucket.listing(keys.packages(project))} if new else {}
        for filename, entry in new.items():
            for key, path, sha256 in objects_of(self._volume, project, filename, entry.record):
                size = path.stat().st_size
                if files.sha256_of(path) != sha256:
                    raise PpmError(f"{path.name} was changed: it does not have the sha256 of its record.")
                if present.get(key) != size:
                    self._bucket.upload(key, path)
                if not has_hash(self._bucket, key, sha256):
                    self._bucket.delete(key)
                    raise PpmError(f"{path.name} is not the same in the bucket.")
                with self._guard:
                    self.done.files += 1
                    self.done.bytes += size


def head_of(volume: Volume, project: str) -> Head | None:
    """Return the head that a project's folder on a volume of its own has; None without a folder.

    Raise PpmError if a file has no record.
    """
    content = project_folder.read(volume, project)
    if content is None:
        return None
    if content.unrecorded:
        raise PpmError(f"{some(content.unrecorded)} has no record: ppmctl index rebuild")
    entries = {
        file.filename: Entry(record=_record(volume, project, file).values(), yanked=file.yanked)
        for file in content.files
    }
    removed = {
        filename: Removed(at=_removed_at(volume.side_file(project, filename, TOMBSTONE)), sha256="")
        for filename in content.removed
    }
    return Head(state=content.status.state, reason=content.status.reason, files=entries, removed=removed)


def is_same(one: Head, other: Head) -> bool:
    """Return whether two heads have the same content, whatever changes led to it."""
    return replace(one, serial=0, second=0, changes=()) == replace(other, serial=0, second=0, changes=())


def objects_of(
    volume: Volume, project: str, filename: str, record: Mapping[str, Any]
) -> Iterator[tuple[str, Path, str]]:
    """Yield the key, the path and the sha256 of each object that a file has in the bucket."""
    for suffix, key in fetched.keys_by_suffix(project, filename, record).items():
        yield key, project_folder.locate(volume, project, filename + suffix), record[HASHES[suffix]]


def _write_names(bucket: Bucket, projects: list[str]) -> None:
    """Write the names of all projects; no node changes them meanwhile."""
    for shard in keys.SHARDS:
        content = names.as_object(project for project in projects if keys.shard(project) == shard)
        found = bucket.read(keys.names(shard))
        if found is None or found.content != content:
            bucket.write(keys.names(shard), content)


def _record(volume: Volume, project: str, file: StoredFile) -> Record:
    """Return the record that a file has in a head."""
    try:
        digest = files.sha256_of(volume.side_file(project, file.filename, ATTESTATIONS))
    except FileNotFoundError:
        return file.record
    return replace(file.record, attestations=digest, provenance=file.has_provenance)


def _write_records(volume: Volume, project: str, wanted: Head) -> None:
    """Write the records that have more in a cache: there they alone say which attestations a file has."""
    for filename, entry in wanted.files.items():
        path, content = volume.side_file(project, filename, RECORD), project_folder.as_json(entry.record)
        if entry.record.get("attestations") and not files.holds(path, content):
            files.write_atomic(path, content, sync=True)


def _removed_at(path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace")
    return text.removeprefix("removed ").strip()
