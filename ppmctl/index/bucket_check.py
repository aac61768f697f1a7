"""Compare a bucket with the heads of its projects, and with what this node has of them; change nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ppmctl import events
from ppmctl.errors import PpmError, some
from ppmctl.index import fetched, project_folder
from ppmctl.index.difference import LOST, REBUILD, Difference
from ppmctl.index.layout import ATTESTATIONS, METADATA, Volume
from ppmctl.index.mirror import Mirror
from ppmctl.index.project_folder import Folder
from ppmctl.index.store import Store
from ppmctl.storage import head as heads
from ppmctl.storage import keys
from ppmctl.storage.bucket import Bucket, Listed
from ppmctl.storage.head import Head, Version

# an upload writes its files before the head that names them; none takes so long, even if clocks differ
STRAY_AFTER = timedelta(days=1)
NO_HEAD = "has files, and the bucket has no head of the project"
RESTORE_HEAD = "restore the bucket's earlier version of it"
NO_HEAD_REPAIR = (
    f"an upload failed, or the head was lost: {RESTORE_HEAD}, or on a node that has the project: {REBUILD}"
)
HASHES = {"": "sha256", METADATA: "core-metadata", ATTESTATIONS: "attestations"}  # by suffix, in a record
_AT_ONCE = 8  # projects
_ATTEMPTS = 3  # at a project that changes while it is compared


def check(store: Store, mirror: Mirror, *, hashes: bool) -> Iterator[Difference]:
    """Yield all differences; without `hashes` no file is read from the bucket, only sizes are compared."""
    names, bucket = mirror.names(), mirror.bucket
    projects = all_projects(bucket)
    with events.progress("Bucket", len(projects), unit="projects") as step, ThreadPoolExecutor(_AT_ONCE) as threads:

        def differences(project: str) -> list[Difference]:
            for _attempt in range(_ATTEMPTS):
                version, found = _project(store, mirror, project, is_named=project in names, hashes=hashes)
                if not found or version == _read(bucket, project):
                    break
            return found

        for found in threads.map(differences, projects):
            yield from found
            step(1)


def all_projects(bucket: Bucket) -> list[str]:
    """Return the names of all projects that have a head or a file in the bucket, with a listing of everything."""
    files = {key.split("/")[1] for key in bucket.keys(keys.PACKAGES)}
    return sorted(files | {keys.project_of_head(key) for key in bucket.keys(keys.HEADS)})


def strays(bucket: Bucket, project: str, head: Head) -> list[Listed]:
    """Return the project's objects that its head does not name, and that no upload may still be about to name."""
    named = {key for _suffix, _filename, key in named_objects(project, head)}
    old = datetime.now(UTC) - STRAY_AFTER
    return [each for each in bucket.listing(keys.packages(project)) if each.key not in named and each.modified < old]


def lost_head(bucket: Bucket, project: str, noted: Head) -> Difference:
    """Return that the bucket lost a head, and what repairs it: `index rebuild` here, if the bucket has all that this
    node noted, and no more.

    Another node may have published what is there besides, and removed what is not there.
    """
    named = {key for _suffix, _filename, key in named_objects(project, noted)}
    present = set(bucket.keys(keys.packages(project)))
    repair = REBUILD
    if present - named:
        others = some(sorted(present - named))
        repair = f"another node has published {others}, or an upload failed: {RESTORE_HEAD}, or there: {REBUILD}"
    elif named - present:
        repair = (
            f"the bucket lacks {some(sorted(named - present))} too: {RESTORE_HEAD}, or if no node has removed that,"
            f" copy it to the bucket from the folder packages/{project} of a node, and there: {REBUILD}"
        )
    return Difference(where=keys.head(project), what="is missing in the bucket", repair=repair)


def named_objects(project: str, head: Head) -> Iterator[tuple[str, str, str]]:
    """Yield suffix, filename and key of each object that a head names."""
    for filename, entry in head.files.items():
        for suffix, key in fetched.keys_by_suffix(project, filename, entry.record).items():
            yield suffix, filename, key


def has_good_copy(volume: Volume, project: str, name: str, sha256: str) -> Path | None:
    """Return the path of a file or side file on the volume if it has this hash."""
    path = project_folder.locate(volume, project, name)
    try:
        with path.open("rb") as file:
            return path if hashlib.file_digest(file, "sha256").hexdigest() == sha256 else None
    except FileNotFoundError:
        return None


def _read(bucket: Bucket, project: str) -> Version | None:
    try:
        return heads.read(bucket, project)
    except heads.BrokenHead:
        return None


def _project(
    store: Store, mirror: Mirror, project: str, *, is_named: bool, hashes: bool
) -> tuple[Version | None, list[Difference]]:
    bucket = mirror.bucket
    try:
        version = heads.read(bucket, project)
    except heads.BrokenHead as exc:
        return None, [Difference(where=keys.head(project), what=exc.message, repair=RESTORE_HEAD)]
    found = []
    if version is not None:
        if not is_named:
            found.append(Difference(where=keys.names(keys.shard(project)), what=f"does not have {project}"))
        found += _objects(store.volume, bucket, project, version.head, hashes=hashes)
        found += _folder(store, mirror, project, version)
    elif noted := mirror.applied(project):
        found.append(lost_head(bucket, project, noted.head))
    left = strays(bucket, project, version.head if version else Head())
    if version is None and (is_named or found):
        if left and not found:
            found.append(Difference(where=keys.packages(project), what=NO_HEAD, repair=NO_HEAD_REPAIR))
        return version, found
    found += [Difference(where=stray.key, what="belongs to no file that was published") for stray in left]
    return version, found


def _objects(volume: Volume, bucket: Bucket, project: str, head: Head, *, hashes: bool) -> Iterator[Difference]:
    present = {each.key: each.size for each in bucket.listing(keys.packages(project))}
    for suffix, filename, key in named_objects(project, head):
        record = head.files[filename].record
        sha256 = record[HASHES[suffix]]
        if key not in present:
            what = "is missing in the bucket"
        elif suffix == "" and present[key] != record["size"]:
            what = f"has {present[key]} bytes in the bucket, not the {record['size']} of its record"
        elif hashes and not has_hash(bucket, key, sha256):
            what = "does not have the sha256 of its record in the bucket"
        else:
            continue
        is_here = has_good_copy(volume, project, filename + suffix, sha256) is not None
        yield Difference(where=key, what=what, repair=REBUILD if is_here else LOST)


def has_hash(bucket: Bucket, key: str, sha256: str) -> bool:
    """Return whether an object has this hash; False if it does not exist."""
    digest = hashlib.sha256()
    try:
        for chunk in bucket.stream(key):
            digest.update(chunk)
    except FileNotFoundError:
        return False
    return digest.hexdigest() == sha256


def _folder(store: Store, mirror: Mirror, project: str, version: Version) -> Iterator[Difference]:
    """Yield what a folder lacks of the head that it was brought in line with; a later head follows with a read."""
    with store.locked(project):
        if mirror.applied_tag(project) != version.tag:
            return
        try:
            content = project_folder.read(store.volume, project)
        except PpmError:
            return  # the check of the volume reports it
    if content is None or not _is_as(content, version.head):
        yield Difference(where=f"packages/{project}", what="is not as the project's head in the bucket says")


def _is_as(content: Folder, head: Head) -> bool:
    here = {file.filename: (file.record.values(), file.yanked) for file in content.files}
    there = {name: (dict(entry.record), entry.yanked) for name, entry in head.files.items()}
    status = (content.status.state, content.status.reason) == (head.state, head.reason)
    return status and here == there and set(content.removed) == head.removed.keys()
