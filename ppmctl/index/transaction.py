"""Publishes a file: its side files, then the link into its project's folder, then the pages; or reverts all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ppmctl import files
from ppmctl.distributions.distribution import Dist, Filename
from ppmctl.index import environment_files, pages, project_folder
from ppmctl.index.layout import ATTESTATIONS, METADATA, RECORD, ROOT_MARK, YANKED, Volume
from ppmctl.index.project_folder import Record
from ppmctl.index.staging import IncomingArea, IncomingFile


@contextlib.contextmanager
def prepared(
    area: IncomingArea, received: IncomingFile, dist: Dist, record: Record, attestations: str | None
) -> Iterator[dict[str, Path]]:
    """Write the side files to `incoming/`, and make them and `received` durable; remove what is left at the end."""
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
                written[suffix] = area.new_path()
                file = opened.enter_context(_new_file(written[suffix]))
                file.write(content)
                file.flush()
                files.start_writing(file.fileno())
                descriptors.append(file.fileno())
            # the writing of all has started: the first fsync does most of the work of the others
            received.sync()
            for descriptor in descriptors:
                os.fsync(descriptor)
        yield written
    finally:
        for path in written.values():
            path.unlink(missing_ok=True)


def commit(volume: Volume, name: Filename, source: Path, side_files: dict[str, Path]) -> bool:
    """Move the side files and then the file to their places, durably; return whether the project is new.

    The caller holds the project's lock and has marked it. FileExistsError if the name is taken after all; OSError if
    the disk is full, and then nothing is left.
    """
    target = volume.file(name.project, name.filename)
    new = not target.parent.exists()
    try:
        if new:
            pages.mark(volume, ROOT_MARK)
            target.parent.mkdir()
        for suffix in (METADATA, RECORD, ATTESTATIONS):
            if suffix in side_files:
                side_files[suffix].replace(beside(target, suffix))
            else:
                beside(target, suffix).unlink(missing_ok=True)
        os.link(source, target)
    except OSError as exc:
        # a file that has the name owns the side files
        if not (isinstance(exc, FileExistsError) and target.is_file()):
            _take_back(volume, name)
        raise
    if new:
        files.sync_folder(volume.packages)
    files.sync_folder(target.parent)
    return new


def show(volume: Volume, name: Filename) -> None:
    """Write the pages; on a full disk remove the file, which no page lists yet."""
    try:
        pages.refresh(volume, name.project)
    except OSError:
        volume.file(name.project, name.filename).unlink()
        _take_back(volume, name)
        raise


def repair(volume: Volume, project: str) -> None:
    """Repair what a crash left of a project, and its pages. The caller holds its lock.

    Side files without a file are removed, removals are finished, and an empty folder is deleted.
    """
    content = project_folder.read(volume, project)
    if content is not None:
        folder = volume.project(project)
        for filename in {project_folder.distribution_of(name) for name in content.names}:
            path = folder / filename
            if filename in content.removed:
                path.unlink(missing_ok=True)
            if filename in content.removed or filename not in content.names:
                drop_leftovers(path)
        files.drop_temporaries(folder)
        files.drop_temporaries(volume.pages(project))
        environment_files.drop_temporaries(volume, project)
        with contextlib.suppress(OSError):
            folder.rmdir()
    pages.refresh(volume, project)


def _take_back(volume: Volume, name: Filename) -> None:
    """Remove what a failed put left. The pages are as before, or the mark stays for `repair`."""
    drop_leftovers(volume.file(name.project, name.filename))
    with contextlib.suppress(OSError):
        pages.refresh(volume, name.project)
        pages.unmark(volume, name.project)


def beside(path: Path, suffix: str) -> Path:
    """Return the path of a side file of the distribution at `path`."""
    return path.with_name(path.name + suffix)


def drop_leftovers(path: Path) -> None:
    """Remove the side files of a missing file except its tombstone, and the folder if it is then empty."""
    for suffix in (RECORD, METADATA, ATTESTATIONS, YANKED):
        beside(path, suffix).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.parent.rmdir()


def _new_file(path: Path) -> IO[bytes]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    return os.fdopen(descriptor, "wb")
