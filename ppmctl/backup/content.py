"""Compare the files of a backup with the records beside them, and say what a volume has that a restore replaces."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from ppmctl import events, files
from ppmctl.errors import PpmError
from ppmctl.index import pages, project_folder
from ppmctl.index.layout import Volume


@dataclass(kw_only=True)
class Content:
    """What a volume has: numbers, what is wrong, and the `damaged` files, which do not match their records."""

    projects: int = 0
    files: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)


def compare(volume: Volume) -> Content:
    """Read all files of a volume that has no pages yet, and compare size and sha256 with their records."""
    found = Content()
    names = sorted(pages.projects(volume))
    with events.progress("Checking", len(names), unit="projects") as step:
        for project in names:
            found.projects += 1
            found.problems += _differences(volume, project, found)
            step(1)
    return found


def _differences(volume: Volume, project: str, found: Content) -> Iterator[str]:
    try:
        content = project_folder.read(volume, project)
    except PpmError as exc:
        yield f"{project}: {exc.message}"
        return
    for file in content.files if content is not None else ():
        found.files += 1
        path = project_folder.locate(volume, project, file.filename)
        size = path.stat().st_size
        found.bytes += size
        if size != file.record.size or files.sha256_of(path) != file.record.sha256:
            found.damaged.add(file.filename)
            yield f"{project}/{file.filename} does not have the size and sha256 of its record"


def require_all_files(volume: Volume) -> None:
    """Raise PpmError for the cache of a bucket: a backup of it would lack files."""
    if volume.is_cache:
        raise PpmError(
            f"{volume.root} is a cache of {volume.bucket}, so a backup of it would lack files.",
            hint="Copy the bucket to a volume of its own, and back that up:"
            f" ppmctl storage copy --root FOLDER --from {volume.bucket}",
        )


def require_truth(volume: Volume) -> None:
    """Raise PpmError for the cache of a bucket: what is restored to it would not get into the bucket."""
    if volume.is_cache:
        raise PpmError(
            f"{volume.root} is a cache of {volume.bucket}, and a restore to it would not change the bucket.",
            hint="Restore to a new folder. Publish from there what the bucket lacks, or copy all of it to an empty"
            " prefix: ppmctl storage copy --root FOLDER --to ADDRESS",
        )


def has_projects(volume: Volume) -> bool:
    """Return whether a volume has a project, a quarantined file or a claim, which a restore would replace."""
    return any(_is_filled(folder) for folder in (volume.packages, volume.quarantine, volume.claims))


def has_credentials(volume: Volume) -> bool:
    """Return whether a volume has a credential."""
    return any(
        path.exists() and path.stat().st_size > 0 for path in (volume.htpasswd, volume.access, volume.disabled)
    )


def has_users(volume: Volume) -> bool:
    """Return whether a volume has a credential besides the first one that a new index makes for itself."""
    if not has_credentials(volume):
        return False
    lines = volume.htpasswd.read_bytes().splitlines() if volume.htpasswd.exists() else []
    return len(lines) != 1 or not volume.first_credential.exists()


def _is_filled(folder: os.PathLike[str]) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(not entry.name.startswith(".") for entry in entries)
    except FileNotFoundError:
        return False
