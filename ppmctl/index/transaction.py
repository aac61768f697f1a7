"""Publish a file in steps: move its side files, link it into its project's folder (the commit), sync the folder.

Side files are a file's record, core metadata, attestations and provenance. If a step fails, what was made is removed;
after a crash `repair` does that.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ppmctl import files
from ppmctl.distributions import attestations as attested
from ppmctl.distributions.distribution import Dist, Filename
from ppmctl.index import environment_files, pages, project_folder, quarantine
from ppmctl.index.layout import ATTESTATIONS, METADATA, PROVENANCE, RECORD, ROOT_MARK, YANKED, Volume
from ppmctl.index.project_folder import Record
from ppmctl.index.staging import IncomingArea, IncomingFile


@contextlib.contextmanager
def prepared(
    area: IncomingArea, received: IncomingFile, dist: Dist, record: Record, attestations: str | None
) -> Iterator[dict[str, Path]]:
    """Write the side files to `incoming/`, make them and `received` durable, and yield their paths by suffix.

    At the end those that `commit` did not move are removed.
    """
    contents = {RECORD: record.to_json()}
    if dist.name.kind == "wheel":
        contents[METADATA] = dist.metadata
    if attestations is not None:
        contents[ATTESTATIONS] = attestations.encode()
        provenance = attested.provenance(attestations, dist.name, record.sha256)
        contents |= {PROVENANCE: provenance} if provenance is not None else {}
    written: dict[str, Path] = {}
    try:
        with contextlib.ExitStack() as opened:
            descriptors = []
            for suffix, content in contents.items():
                written[suffix] = area.new_path()
                descriptor = os.open(written[suffix], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
                opened.callback(os.close, descriptor)
                files.write_all(descriptor, content)
                files.start_writing(descriptor)
                descriptors.append(descriptor)
            # the kernel already writes all of them, so the first fsync does most of the work of the others
            received.sync()
            for descriptor in descriptors:
                os.fsync(descriptor)
        yield written
    finally:
        for path in written.values():
            path.unlink(missing_ok=True)


def with_attestations(record: Record, name: Filename, attestations: str) -> Record:
    """Return the record as the bucket has it: with the hash of the attestations."""
    provenance = attested.provenance(attestations, name, record.sha256)
    digest = hashlib.sha256(attestations.encode()).hexdigest()
    return replace(record, attestations=digest, provenance=provenance is not None)


def commit(volume: Volume, name: Filename, source: Path, side_files: dict[str, Path]) -> bool:
    """Move the side files and then the file to their places; return whether the project is new. `sync` follows.

    The caller holds the project's lock and has marked its pages as out of date. Raise FileExistsError if a file with
    this name appeared since the caller's check, OSError if the disk is full; then nothing is left.
    """
    target = volume.file(name.project, name.filename)
    is_new_project = not target.parent.exists()
    try:
        if is_new_project:
            pages.mark(volume, ROOT_MARK)
            target.parent.mkdir()
        for suffix in (METADATA, RECORD, ATTESTATIONS, PROVENANCE):
            if suffix in side_files:
                side_files[suffix].replace(beside(target, suffix))
            else:
                beside(target, suffix).unlink(missing_ok=True)
        os.link(source, target)
    except OSError as exc:
        # if another file has this name, the side files belong to it
        if not (isinstance(exc, FileExistsError) and target.is_file()):
            drop_leftovers(volume, name.project, name.filename)
        raise
    return is_new_project


def sync(volume: Volume, project: str, *, is_new: bool) -> None:
    """Make the names of published files durable, and that of their project if it `is_new`."""
    if is_new:
        files.sync_folder(volume.packages)
    files.sync_folder(volume.project(project))


def repair(volume: Volume, project: str) -> None:
    """Put a project's folder and pages in order after a crash. The caller holds the project's lock.

    Files are moved into quarantine or out of it, side files without a distribution are removed, removals that were
    begun are completed, an empty folder is deleted. What is there then is durable: a client that sends its file again
    is told that it is published.
    """
    quarantine.place(volume, project)
    content = project_folder.read(volume, project)
    if content is not None:
        folder = volume.project(project)
        if content.removed:
            pages.write_project(volume, content)  # as in a removal: no page may list a file that is not there
        for filename in {project_folder.distribution_of(name) for name in content.names}:
            if filename in content.removed:
                unlink(volume, project, filename)
            elif filename not in content.names:
                drop_leftovers(volume, project, filename)
        files.drop_temporaries(folder)
        files.drop_temporaries(volume.pages(project))
        environment_files.drop_temporaries(volume, project)
        with contextlib.suppress(OSError):
            folder.rmdir()
        files.sync_folder(volume.packages)
        if folder.exists():
            files.sync_folder(folder)
    pages.refresh(volume, project)


def beside(path: Path, suffix: str) -> Path:
    """Return the path of a side file of the distribution at `path`."""
    return path.with_name(path.name + suffix)


def unlink(volume: Volume, project: str, filename: str) -> None:
    """Remove a distribution that has a tombstone, also from quarantine, and its side files."""
    project_folder.locate(volume, project, filename).unlink(missing_ok=True)
    drop_leftovers(volume, project, filename)


def drop_leftovers(volume: Volume, project: str, filename: str) -> None:
    """Remove the side files of a missing distribution, but not its tombstone; and an empty folder."""
    for suffix in (RECORD, METADATA, ATTESTATIONS, PROVENANCE, YANKED):
        project_folder.locate(volume, project, filename + suffix).unlink(missing_ok=True)
    quarantine.drop_empty_folder(volume, project)
    with contextlib.suppress(OSError):
        volume.project(project).rmdir()
