"""Look up what an index has, for changes and answers that depend on it."""

from __future__ import annotations

import contextlib

from packaging.version import InvalidVersion, Version

from ppmctl.distributions.distribution import Filename, parse_version
from ppmctl.errors import PpmError
from ppmctl.index import project_folder
from ppmctl.index.layout import RECORD, Volume
from ppmctl.index.project_folder import Folder

_SHOWN = 200  # characters of a release in a message


class NotHere(PpmError):
    """The index does not have this project, release or file."""

    status = 404


def missing(project: str) -> NotHere:
    """Return the error that a project does not exist."""
    hint = "List all projects: ppmctl package list --root ROOT"
    return NotHere(f"There is no project {project!r} in this index.", hint=hint)


def read(volume: Volume, project: str) -> Folder:
    """Return a project's files and status. NotHere if it never existed."""
    content = project_folder.read(volume, project)
    if content is None:
        raise missing(project)
    return content


def has_file(volume: Volume, project: str, filename: str) -> bool:
    """Return whether this file is served: while its project is quarantined, no file is."""
    if volume.is_cache:
        is_quarantined = project_folder.read_status(volume, project).is_quarantined
        return not is_quarantined and volume.side_file(project, filename, RECORD).exists()
    return volume.file(project, filename).is_file()


def holds(volume: Volume, name: Filename, sha256: str) -> bool:
    """Return whether this file is published with this content."""
    try:
        record = project_folder.read_record(volume, name.project, name.filename)
    except (FileNotFoundError, project_folder.BrokenRecord):
        return False
    path = project_folder.locate(volume, name.project, name.filename)
    return record.sha256 == sha256 and (volume.is_cache or path.is_file())


def choose(content: Folder, version_or_filename: str, *, only_yanked: bool = False) -> list[str]:
    """Return the files of a release, or the file of this name; perhaps `only_yanked` ones. NotHere without any."""
    version: Version | None = None
    with contextlib.suppress(InvalidVersion):
        version = parse_version(version_or_filename)
    chosen = [
        file.filename
        for file in content.files
        if file.filename == version_or_filename or (version is not None and Version(file.record.version) == version)
        if file.yanked is not None or not only_yanked
    ]
    if not chosen:
        hint = f"List its files: ppmctl package show {content.project} --root ROOT"
        raise NotHere(f"{content.project} has no release or file {version_or_filename[:_SHOWN]!r}.", hint=hint)
    return chosen
