"""`ppmctl index check`: finds every difference between the files of a volume, and changes nothing."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ppmctl import events, files
from ppmctl.distributions import distribution
from ppmctl.distributions.distribution import InvalidDistribution
from ppmctl.distributions.environment_revision import environment_of
from ppmctl.distributions.names import is_normalised
from ppmctl.errors import PpmError
from ppmctl.index import bucket_check, environment_files, pages, project_folder, quarantine
from ppmctl.index.difference import LOST, REBUILD, Difference
from ppmctl.index.layout import METADATA, PROVENANCE, RECORD, TOMBSTONE, Volume
from ppmctl.index.project_folder import Folder, Record, StoredFile
from ppmctl.index.rebuild import provenance, stray_pages
from ppmctl.index.search_index import SearchIndex
from ppmctl.index.store import Store

_DIFFERS = "does not match the project's folder"
_FETCHED_AGAIN = "delete it: it is fetched again"
_FOLLOWS_WITHIN = 3.0  # seconds


def check(store: Store, *, hashes: bool, searches: bool = True) -> Iterator[Difference]:
    """Yield all differences from the folders; without `hashes` files are not read, only their sizes compared.

    Without `searches` the search index may still have to follow.
    """
    if store.mirror is not None:
        store.mirror.join()
        yield from bucket_check.check(store, store.mirror, hashes=hashes)
    projects = store.projects()
    yield from _strays(store.volume)
    for path in _entries(store.volume.quarantine):
        if not store.has_project(path.name):
            what = "belongs to a project that does not exist"
            yield Difference(where=_below(store.volume, path), what=what, repair="move it away")
    with events.progress("Projects", len(projects)) as step:
        for project in projects:
            with store.locked(project):
                differences = list(_project(store.volume, project))
            yield from differences
            if hashes:  # without the lock: it takes long, and published files do not change
                yield from _contents(store, project)
            step(1)
    for stray in stray_pages(store.volume, set(projects)):
        yield Difference(where=_below(store.volume, stray), what="are pages of a project that does not exist")
    for name in _root_differences(store):
        yield Difference(where=f"index/simple/{name}", what="does not list the projects of this index")
    if searches:
        yield from _search_differences(store)


def _project(volume: Volume, project: str) -> Iterator[Difference]:
    try:
        content = project_folder.read(volume, project)
    except PpmError as exc:
        yield Difference(where=f"packages/{project}", what=exc.message, repair=exc.hint)
        return
    if content is None:
        return
    for path in quarantine.misplaced(volume, project):
        what = f"is in the wrong folder: the project's status is {content.status.state}"
        yield Difference(where=_below(volume, path), what=what)
    for file in content.files:
        yield from _file(volume, content, file)
    yield from _names(volume, content)
    if volume.mark(project).exists():
        yield Difference(where=f"index/pending/{project}", what="marks pages that may be old")
    for name in pages.differences(volume.pages(project), pages.render_project(content)):
        yield Difference(where=f"index/simple/{project}/{name}", what=_DIFFERS)
    for name in environment_files.differences(volume, content):
        yield Difference(where=f"index/env/{environment_of(project)}/{name}", what=_DIFFERS)


def _file(volume: Volume, content: Folder, file: StoredFile) -> Iterator[Difference]:
    path = project_folder.locate(volume, content.project, file.filename)
    where, record = _below(volume, path), file.record
    try:
        name = distribution.parse_filename(file.filename, project=content.project)
        if name.project != content.project or str(name.version) != record.version:
            what = "is in another project's folder, or has another file's record"
            yield Difference(where=where, what=what, repair=LOST)
    except InvalidDistribution as exc:
        yield Difference(where=where, what=exc.message, repair="move it away")
    if volume.is_cache:
        yield from _cached(path, where, record)
        return
    size = path.stat().st_size
    if size != record.size:
        yield Difference(where=where, what=f"has {size} bytes, not the {record.size} of its record", repair=LOST)
    if not files.holds(path.with_name(path.name + PROVENANCE), provenance(volume, content.project, file)):
        yield Difference(where=where + PROVENANCE, what="is not made of the attestations beside it")
    if record.core_metadata is None:
        return
    try:
        metadata = project_folder.locate(volume, content.project, file.filename + METADATA)
        if files.sha256_of(metadata) != record.core_metadata:
            repair = f"delete it and run: {REBUILD}"
            yield Difference(where=where + METADATA, what="is not the metadata that was published", repair=repair)
    except FileNotFoundError:
        yield Difference(where=where + METADATA, what="is missing")


def _cached(path: Path, where: str, record: Record) -> Iterator[Difference]:
    """Yield what is wrong with the copy of a file and its metadata in the cache of a bucket, if they are there."""
    if path.exists() and (size := path.stat().st_size) != record.size:
        yield Difference(
            where=where, what=f"has {size} bytes, not the {record.size} of its record", repair=_FETCHED_AGAIN
        )
    metadata = path.with_name(path.name + METADATA)
    if metadata.exists() and files.sha256_of(metadata) != record.core_metadata:
        yield Difference(where=where + METADATA, what="is not the metadata that was published", repair=_FETCHED_AGAIN)


def _contents(store: Store, project: str) -> Iterator[Difference]:
    """Yield the files whose sha256 is not that of their record; skip files that are removed meanwhile."""
    try:
        content = project_folder.read(store.volume, project)
    except PpmError:
        return  # `_project` has reported it
    for file in content.files if content is not None else ():
        path = project_folder.locate(store.volume, project, file.filename)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size == file.record.size and files.sha256_of(path) != file.record.sha256:
                what = "does not have the sha256 of its record"
                repair = _FETCHED_AGAIN if store.volume.is_cache else LOST
                yield Difference(where=_below(store.volume, path), what=what, repair=repair)


def _names(volume: Volume, content: Folder) -> Iterator[Difference]:
    for filename in content.unrecorded:
        path = project_folder.locate(volume, content.project, filename)
        try:
            distribution.parse_filename(filename, project=content.project)
            has_record = volume.side_file(content.project, filename, RECORD).exists()
            what = "has a record that can't be read" if has_record else "has no record, so no page lists it"
            yield Difference(where=_below(volume, path), what=what)
        except InvalidDistribution:
            yield Difference(where=_below(volume, path), what="is not a distribution", repair="move it away")
    for name in sorted(content.names):
        owner = project_folder.distribution_of(name)
        if name.endswith(TOMBSTONE):
            if owner in content.names:
                where = _below(volume, project_folder.locate(volume, content.project, owner))
                yield Difference(where=where, what="was removed, but still exists", repair="delete it")
        elif owner != name and owner not in content.names:
            where = _below(volume, project_folder.locate(volume, content.project, name))
            yield Difference(where=where, what="belongs to a file that does not exist", repair="delete it")


def _root_differences(store: Store) -> list[str]:
    """Return the differing files of the list of projects, after a server had time to write them."""
    deadline = time.monotonic() + _FOLLOWS_WITHIN
    while True:
        names = pages.differences(store.volume.simple, pages.render_root(store.projects()))
        if not names or time.monotonic() > deadline or not pages.root_is_marked(store.volume):
            return names
        time.sleep(0.1)


def _search_differences(store: Store) -> Iterator[Difference]:
    """Yield what is wrong with the search index, after a server had time to update it."""
    names, deadline = _badly_indexed(store), time.monotonic() + _FOLLOWS_WITHIN
    while names != [] and time.monotonic() < deadline:
        time.sleep(0.1)
        names = _badly_indexed(store, names)
    where = _below(store.volume, store.volume.search)
    if names is None:
        yield Difference(where=where, what="is missing or damaged")
    for name in names or ():
        yield Difference(where=where, what=f"does not have {name} as its folder is now")


def _badly_indexed(store: Store, among: list[str] | None = None) -> list[str] | None:
    """Return the projects that the search index does not have as they are; None if it has to be made again."""
    try:
        return SearchIndex(store).differing(among)
    except PpmError:
        return None if store.projects() else []


def _strays(volume: Volume) -> Iterator[Difference]:
    """Yield what is in packages/ and is no project's folder."""
    with os.scandir(volume.packages) as entries:
        is_folder = {entry.name: entry.is_dir() for entry in entries if not entry.name.startswith(".")}
    for name in sorted(is_folder):
        where = f"packages/{name}"
        if not is_folder[name]:
            what = "is not in a project's folder, so no page lists it"
            yield Difference(where=where, what=what, repair="move it away and run: ppmctl index adopt")
        elif not is_normalised(name):
            yield Difference(where=where, what="is not the normalised name of a project", repair="move it away")


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _below(volume: Volume, path: Path) -> str:
    return str(path.relative_to(volume.root))
