"""`ppmctl index rebuild`: write all derived files again, and the records of files that have none."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ppmctl import events, files
from ppmctl.distributions import attestations, distribution, inspection
from ppmctl.distributions.distribution import InvalidDistribution
from ppmctl.distributions.environment_revision import PREFIX
from ppmctl.distributions.names import is_normalised
from ppmctl.errors import PpmError
from ppmctl.index import pages, project_folder, quarantine
from ppmctl.index.bucket_repair import BucketRepair
from ppmctl.index.layout import ATTESTATIONS, METADATA, PROVENANCE, RECORD, Volume
from ppmctl.index.project_folder import REBUILD, Folder, Record, StoredFile
from ppmctl.index.search_index import SearchIndex
from ppmctl.index.store import Store, record_of


@dataclass(kw_only=True)
class Rebuilt:
    """The result of a rebuild: the number of projects, and of those whose pages were written; the files that got a
    record; the objects of a bucket that were written and removed; the problems that it can't repair."""

    projects: int = 0
    written: int = 0
    recorded: list[str] = field(default_factory=list)
    uploaded: list[str] = field(default_factory=list)
    cleaned: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def rebuild(store: Store, *, with_bucket: bool = True) -> Rebuilt:
    """Bring all pages in line with their folders, and make the search index again.

    Only pages that differ are written, and only files without a record are hashed. A server may run meanwhile: each
    project is locked while it is rebuilt. If there is a bucket, it is listed and repaired first, and the folders are
    brought in line with it, unless not `with_bucket`. Raise Unavailable if it can't be asked.
    """
    done = Rebuilt()
    if store.mirror is not None and with_bucket:
        store.mirror.join()
        repair = BucketRepair(store.volume, store.mirror)
        repair.run()
        done.uploaded, done.cleaned, done.problems = repair.written, repair.removed, repair.problems
    projects = _latest_first(store)
    with events.progress("Projects", len(projects)) as step:
        for project in projects:
            try:
                _project(store, project, done)
            except (PpmError, OSError) as exc:
                done.problems.append(f"{project}: {exc}")
            step(1)
    for stray, project in stray_pages(store.volume, set(projects)).items():
        _remove_stray(store, stray, project)
    store.write_root()
    try:
        SearchIndex(store).rebuild()
    except (PpmError, OSError) as exc:
        done.problems.append(f"The search index: {exc}")
    return done


def _latest_first(store: Store) -> list[str]:
    """Return all projects, the one that changed last first: its pages may be empty after a power failure."""
    return sorted(store.projects(), key=lambda name: files.changed_at(store.volume.project(name)), reverse=True)


def _project(store: Store, project: str, done: Rebuilt) -> None:
    with store.locked(project):
        store.settle(project)
        pages.mark(store.volume, project)
        quarantine.place(store.volume, project)
        content = project_folder.read(store.volume, project)
        if content is not None:
            if not store.volume.is_cache:  # its records are the bucket's, and files and metadata are fetched
                _complete(store.volume, content, done)
                content = project_folder.read(store.volume, project) or content
                _write_provenance(store.volume, content)
                content = project_folder.read(store.volume, project) or content
            done.written += pages.write_project(store.volume, content, thorough=True)
            done.projects += 1
        pages.unmark(store.volume, project)


def _complete(volume: Volume, content: Folder, done: Rebuilt) -> None:
    """Write the missing records and metadata files of a project."""
    records: dict[str, Record | None] = dict.fromkeys(content.unrecorded)
    for file in content.files:
        if file.record.core_metadata is not None and file.filename + METADATA not in content.names:
            records[file.filename] = file.record
    for filename, record in records.items():
        path = f"{content.project}/{filename}"
        try:
            _write_side_files(volume, content.project, filename, record)
            if record is None:
                done.recorded.append(path)
        except PpmError as exc:
            done.problems.append(f"{path}: {exc.message}")


def _write_provenance(volume: Volume, content: Folder) -> None:
    for file in content.files:
        distribution_path = project_folder.locate(volume, content.project, file.filename)
        path = distribution_path.with_name(file.filename + PROVENANCE)
        expected = provenance(volume, content.project, file)
        if expected is None:
            path.unlink(missing_ok=True)
        elif not files.holds(path, expected):
            files.write_atomic(path, expected, sync=True)


def provenance(volume: Volume, project: str, file: StoredFile) -> bytes | None:
    """Return the provenance object that a file has to have, by its attestations; None if it has to have none."""
    try:
        text = volume.side_file(project, file.filename, ATTESTATIONS).read_text(encoding="utf-8")
        name = distribution.parse_filename(file.filename, project=project)
    except (FileNotFoundError, UnicodeError, InvalidDistribution):
        return None
    return attestations.provenance(text, name, file.record.sha256)


def _write_side_files(volume: Volume, project: str, filename: str, record: Record | None) -> None:
    """Write a wheel's metadata file, and a record if `record` is None."""
    path = project_folder.locate(volume, project, filename)
    dist = inspection.inspect(path, filename, old=True)
    if record is None and dist.name.project != project:
        raise PpmError(f"it belongs in packages/{dist.name.project}/.")
    if record is not None and dist.metadata_hash != record.core_metadata:
        raise PpmError("its metadata does not match its record: the file was changed.")
    if dist.name.kind == "wheel":
        files.write_atomic(path.with_name(filename + METADATA), dist.metadata, sync=True)
    if record is None:
        entry = path.stat()
        when = project_folder.timestamp(datetime.fromtimestamp(entry.st_mtime, UTC))
        record = record_of(dist, size=entry.st_size, sha256=files.sha256_of(path), upload_time=when, by=REBUILD)
        files.write_atomic(volume.side_file(project, filename, RECORD), record.to_json(), sync=True)


def _remove_stray(store: Store, stray: Path, project: str) -> None:
    """Remove the pages of a project that does not exist, unless it was made meanwhile."""
    with store.locked(project) if is_normalised(project) else contextlib.nullcontext():
        if not _exists(store.volume, project):
            shutil.rmtree(stray, ignore_errors=True)


def _exists(volume: Volume, project: str) -> bool:
    return is_normalised(project) and volume.project(project).exists()


def stray_pages(volume: Volume, projects: set[str]) -> dict[Path, str]:
    """Return the folders of pages and of environments' files that belong to no project, with its name."""
    folders = {path: path.name for path in _folders(volume.simple)}
    folders |= {path: PREFIX + path.name for path in _folders(volume.environments)}
    return {
        path: folders[path]
        for path in sorted(folders)
        if folders[path] not in projects and not _exists(volume, folders[path])
    }


def _folders(top: Path) -> list[Path]:
    return [path for path in top.iterdir() if path.is_dir()] if top.is_dir() else []
