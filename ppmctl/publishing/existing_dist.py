"""Find the files that an earlier build put into a project's dist/, for the project's current version."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ppmctl import events
from ppmctl.distributions.distribution import Filename, InvalidDistribution, normalise, parse_filename
from ppmctl.errors import PpmError, UsageError, some
from ppmctl.publishing import contents, project_version

FOLDER = "dist"
_BUILD = "Build it first, or leave out --skip-build."


def find(project: Path) -> tuple[Path, ...]:
    """Return the wheels and sdists of the project's current version in its dist/, sorted.

    Raise UsageError if there are none or the version is not clear, PpmError if the project was changed after the
    build.
    """
    folder = project.resolve() / FOLDER
    own, version = "", None
    with contextlib.suppress(PpmError):  # a version that can't be read is taken from the filenames
        read = project_version.read(project.resolve())
        own, version = normalise(read.name), read.place.version if read.place is not None else None
    dists: dict[Path, Filename] = {}
    for path in sorted(folder.glob("*")):
        with contextlib.suppress(InvalidDistribution):  # other files are ignored, such as .gitignore
            name = parse_filename(path.name)
            if own in ("", name.project):
                dists[path] = name
    if not dists:
        raise UsageError(f"There is nothing in {folder} to publish.", hint=_BUILD)
    versions = sorted({name.version for name in dists.values()})
    listed = ", ".join(map(str, versions))
    if version is None and len({(name.project, name.version) for name in dists.values()}) > 1:
        raise UsageError(
            f"The version is not written in pyproject.toml, and {folder} has {listed}: which to publish?",
            hint=f"Name the files: ppmctl publish {FOLDER}/FILE …",
        )
    version = version or versions[0]
    current = {path: name for path, name in dists.items() if name.version == version}
    if not current:
        raise UsageError(f"{folder} has no files of the current version {version}; it has {listed}.", hint=_BUILD)
    for path, name in current.items():
        if changed := contents.stale(name, contents.members(path), project):
            raise PpmError(
                f"{path} was built before the project was changed: {some(changed)}.",
                hint=f"Leave out --skip-build. To publish the files as they are: ppmctl publish {FOLDER}/*",
            )
    events.note(f"Taken from {folder}: {', '.join(sorted(path.name for path in current))}")
    return tuple(sorted(current))
