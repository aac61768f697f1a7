"""`ppmctl index rebuild` with a bucket: make what can be made again in it, and bring the volume in line with it."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Lock

from ppmctl import events
from ppmctl.errors import PpmError
from ppmctl.index import bucket_check
from ppmctl.index.difference import REBUILD
from ppmctl.index.layout import Volume
from ppmctl.index.mirror import Mirror
from ppmctl.storage import head as heads
from ppmctl.storage import keys
from ppmctl.storage.bucket import Exists, Listed
from ppmctl.storage.head import Head, HeadChanged, Version
from ppmctl.storage.names import SharedNames, copied

_AT_ONCE = 8  # projects


class BucketRepair:
    """Repairs names, files and the folders of the volume; collects the keys it wrote or removed, and the problems."""

    def __init__(self, volume: Volume, mirror: Mirror) -> None:
        self._volume = volume
        self._mirror = mirror
        self._bucket = mirror.bucket
        self._guard = Lock()
        self.written: list[str] = []
        self.removed: list[str] = []
        self.problems: list[str] = []

    def run(self) -> None:
        """Repair all projects of the bucket. Raise Unavailable if it can't be asked."""
        projects = bucket_check.all_projects(self._bucket)
        known = copied(self._volume.names)
        names = self._mirror.names()
        with events.progress("Bucket", len(projects), unit="projects") as step:

            def repaired(project: str) -> None:
                try:
                    self._project(project, is_named=project in names, was_named=project in known)
                except (PpmError, OSError) as exc:
                    self.problems.append(f"{project}: {exc}")
                step(1)

            with ThreadPoolExecutor(_AT_ONCE) as threads:
                list(threads.map(repaired, projects))

    def _project(self, project: str, *, is_named: bool, was_named: bool) -> None:
        version = heads.read(self._bucket, project)
        if version is None and (noted := self._mirror.applied(project)):
            lost = bucket_check.lost_head(self._bucket, project, noted.head)
            if lost.repair != REBUILD:
                self.problems.append(f"{lost.where} {lost.what}: {lost.repair}")
                return
            version = self._write_head(project, noted)
        strays = bucket_check.strays(self._bucket, project, version.head if version else Head())
        if version is not None:
            if not is_named:
                SharedNames(self._bucket, self._volume.names).add(project, again=True)
                self._note(self.written, keys.names(keys.shard(project)))
            self._mirror.forget(project)  # so that the whole folder is compared
            self._mirror.pull(project)
            self._objects(project, version.head)
        elif (is_named or was_named) and strays:  # perhaps published: a name is written before the first head
            what = f"{keys.packages(project)} {bucket_check.NO_HEAD}"
            self.problems.append(f"{what}: {bucket_check.NO_HEAD_REPAIR}")
            return
        self._remove(project, strays)

    def _remove(self, project: str, strays: list[Listed]) -> None:
        """Remove objects, and write them again if an upload has named them at the same moment.

        An upload that sent one of them before, and has not named it yet, finds the head changed and sends it again.
        """
        removed = []
        for stray in strays:
            now = self._bucket.modified(stray.key)
            # not uploaded again since the listing; some services tell the time of one object without milliseconds
            if now is not None and abs(now - stray.modified) < timedelta(seconds=1):
                self._bucket.delete(stray.key)
                removed.append(stray.key)
                self._note(self.removed, stray.key)
        while removed and (version := heads.read(self._bucket, project)) is not None:
            try:
                heads.commit(self._bucket, project, version.head, after=version, is_cleaning=True)
            except HeadChanged:
                continue
            self._objects(project, version.head, among=removed)
            return

    def _write_head(self, project: str, noted: Version) -> Version:
        """Write a head that the bucket lost, as this node applied it last, and return the one that the bucket has."""
        try:
            tag = self._bucket.create(keys.head(project), noted.content)
        except Exists:
            return heads.read(self._bucket, project) or noted
        self._note(self.written, keys.head(project))
        return Version(head=noted.head, tag=tag, content=noted.content)

    def _objects(self, project: str, head: Head, *, among: Collection[str] | None = None) -> None:
        """Write the objects again that are missing or damaged in the bucket, and whole on this volume.

        With `among` only these are looked at.
        """
        present = {each.key: each.size for each in self._bucket.listing(keys.packages(project))}
        for suffix, filename, key in bucket_check.named_objects(project, head):
            if among is not None and key not in among:
                continue
            record = head.files[filename].record
            is_whole = key in present and (suffix or present[key] == record["size"])
            sha256 = record[bucket_check.HASHES[suffix]]
            path = bucket_check.has_good_copy(self._volume, project, filename + suffix, sha256)
            if is_whole and (path is None or bucket_check.has_hash(self._bucket, key, sha256)):
                continue
            if path is None:
                self.problems.append(f"{key} is missing in the bucket, and this node does not have it.")
                continue
            self._bucket.upload(key, path)
            self._note(self.written, key)

    def _note(self, noted: list[str], key: str) -> None:
        with self._guard:
            noted.append(key)
