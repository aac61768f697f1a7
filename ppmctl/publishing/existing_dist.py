"""What an earlier build left in a project's dist/, of the version that the project has now."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ppmctl import events
from ppmctl.distributions.distribution import Filename, InvalidDistribution, normalise, parse_filename
from ppmctl.errors import PpmError, UsageError, some
from ppmctl.publishing import contents, project_version

FOLDER = "dist"


def find(project: Path) -> tuple[Path, ...]:
    """The distributions in the project's dist/ that are of its current version, wheels and sdists.

    UsageError where there are none, or it can't be told which are meant; PpmError where they were built before files
    of the project were changed.
    """
    folder = project.resolve() / FOLDER
    own, version = "", None
    with contextlib.suppress(PpmError):  # what is not written plainly is told by the files' names
        written = project_version.read(project.resolve())
        own, version = normalise(written.name), written.place.version if written.place is not None else None
    found: dict[Path, Filename] = {}
    for path in sorted(folder.glob("*")):
        with contextlib.suppress(InvalidDistribution):  # a build leaves other files too, such as .gitignore
            name = parse_filename(path.name)
            if own in ("", name.project):
                found[path] = name
    if not found:
        raise UsageError(
            f"There is nothing in {folder} to publish.", hint="Build it first, or leave out --skip-build, which does."
        )
    versions = sorted({name.version for name in found.values()})
    listed = ", ".join(map(str, versions))
    if version is None and len({(name.project, name.version) for name in found.values()}) > 1:
        raise UsageError(
            f"The version is not written in pyproject.toml, and {folder} has {listed}: which is meant can't be told.",
            hint=f"Name the files: ppmctl publish {FOLDER}/FILE …",
        )
    version = version or versions[0]
    taken = {path: name for path, name in found.items() if name.version == version}
    if not taken:
        raise UsageError(
            f"{folder} has nothing of version {version}, which the project has now; it has {listed}.",
            hint="Build it first, or leave out --skip-build, which does.",
        )
    for path, name in taken.items():
        if changed := contents.stale(name, contents.members(path), project):
            raise PpmError(
                f"{path} was built before the project was changed: {some(changed)}.",
                hint=f"Leave out --skip-build. To publish the files as they are: ppmctl publish {FOLDER}/*",
            )
    events.note(f"Taken from {folder}: {', '.join(sorted(name.filename for name in taken.values()))}")
    return tuple(sorted(taken))
