"""Fetch files of a bucket to the volume, where they stay for later readers."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any

from ppmctl import files
from ppmctl.distributions import attestations, distribution
from ppmctl.errors import PpmError
from ppmctl.index import eviction, project_folder
from ppmctl.index.layout import ATTESTATIONS, METADATA, PROVENANCE, Volume
from ppmctl.index.project_folder import Record
from ppmctl.index.staging import IncomingArea
from ppmctl.storage import keys
from ppmctl.storage.bucket import Bucket


def keys_by_suffix(project: str, filename: str, record: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys of a file ("") and of its side files in the bucket, by suffix."""
    sha256, attested = record["sha256"], record.get("attestations")
    found = {"": keys.file(project, sha256, filename)}
    if record.get("core-metadata"):
        found[METADATA] = keys.metadata(project, sha256, filename)
    if attested:
        found[ATTESTATIONS] = keys.attestations(project, sha256, filename, attested)
    return found


class Fetcher:
    """Fetches each file once, whatever the number of threads that wait for it."""

    def __init__(self, volume: Volume, bucket: Bucket, area: IncomingArea) -> None:
        self._volume = volume
        self._bucket = bucket
        self._area = area
        self.makes_room = True  # on a full disk, by removing files that were read longest ago
        self._guard = Lock()
        self._running: dict[tuple[str, str], Lock] = {}

    def fetch(self, project: str, filename: str) -> Path:
        """Return the path of a file, or of one of its side files. FileNotFoundError if there is none (any more)."""
        path = project_folder.locate(self._volume, project, filename)
        if path.exists():
            return path
        with self._one_at_a_time(project, filename):
            path = project_folder.locate(self._volume, project, filename)
            if path.exists():
                return path
            owner = project_folder.distribution_of(filename)
            record = project_folder.read_record(self._volume, project, owner)
            with (
                self._downloaded(project, owner, filename.removeprefix(owner), record) as source,
                files.lock(self._volume.lock(project)),
            ):
                project_folder.read_record(self._volume, project, owner)  # it may have been removed meanwhile
                return self.place(project, filename, source, record)

    def fetch_new(self, project: str, filename: str, record: Record) -> None:
        """Fetch a file whose record is not on the volume yet. The caller holds the project's lock."""
        if not project_folder.locate(self._volume, project, filename).exists():
            with self._downloaded(project, filename, "", record) as source:
                self.place(project, filename, source, record)

    def place(self, project: str, filename: str, source: Path, record: Record) -> Path:
        """Give `source` its name in the project's folder. The caller holds the project's lock.

        It gets the time of its upload, of which web servers make an ETag: all nodes send the same one.
        """
        moment = datetime.fromisoformat(record.upload_time).timestamp()
        os.utime(source, (moment, moment))
        folder = self._volume.project(project)
        folder.mkdir(exist_ok=True)
        if project_folder.read_status(self._volume, project).is_quarantined:
            folder = self._volume.quarantined(project)
            for made in (self._volume.quarantine, folder):
                made.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(source, folder / filename)
        return folder / filename

    def make_room(self, exc: OSError, size: int) -> bool:
        """Return whether `exc` is of a full disk, and files were removed: then another attempt may succeed."""
        return self.makes_room and files.is_out_of_space(exc) and eviction.make_room(self._volume, size)

    @contextlib.contextmanager
    def _one_at_a_time(self, project: str, filename: str) -> Iterator[None]:
        with self._guard:
            lock = self._running.setdefault((project, filename), Lock())
        try:
            with lock:
                yield
        finally:
            with self._guard:
                self._running.pop((project, filename), None)

    @contextlib.contextmanager
    def _downloaded(self, project: str, filename: str, suffix: str, record: Record) -> Iterator[Path]:
        """Yield the path of a durable copy in `incoming/` with the recorded hash."""
        in_bucket = ATTESTATIONS if suffix == PROVENANCE else suffix
        key = keys_by_suffix(project, filename, record.values()).get(in_bucket)
        if key is None:
            raise FileNotFoundError(filename + suffix)
        expected = {"": record.sha256, METADATA: record.core_metadata, ATTESTATIONS: record.attestations}[in_bucket]
        path = self._area.new_path()
        try:
            try:
                digest = self._download(key, path)
            except OSError as exc:
                path.unlink(missing_ok=True)
                size = 0 if suffix else record.size  # side files are small
                if not self.make_room(exc, size):
                    raise
                digest = self._download(key, path)
            if digest != expected:
                hint = "Restore it from a backup: ppmctl index check lists all such files."
                raise PpmError(f"The bucket's object {key} does not have the sha256 of its record.", hint=hint)
            if suffix == PROVENANCE:
                path.write_bytes(_provenance(path.read_text(encoding="utf-8"), project, filename, record))
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _download(self, key: str, path: Path) -> str:
        """Write an object to the new file `path`, and return its sha256."""
        digest = hashlib.sha256()
        with path.open("xb") as file:
            os.fchmod(file.fileno(), 0o644)
            for chunk in self._bucket.stream(key):
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        return digest.hexdigest()


def _provenance(sent: str, project: str, filename: str, record: Record) -> bytes:
    name = distribution.parse_filename(filename, project=project)
    made = attestations.provenance(sent, name, record.sha256)
    if made is None:
        raise FileNotFoundError(filename + PROVENANCE)
    return made
