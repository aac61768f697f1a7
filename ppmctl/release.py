"""What a person names to be published → checked files: source trees are built, files are taken as they are."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ppmctl import build, output, tree
from ppmctl.check import LocalFile, check
from ppmctl.errors import PpmError, UsageError

# The folder that what is built is laid in, and stays in where it could not be uploaded; else a temporary one.
VARIABLE = "PPMCTL_BUILDS"


@dataclass(kw_only=True)
class Workspace:
    """A folder for what is built. It goes at the end unless `keep` was said."""

    folder: Path
    built: list[Path] = field(default_factory=list)
    keep: bool = False


@contextmanager
def workspace() -> Iterator[Workspace]:
    within = os.environ.get(VARIABLE) or None
    try:
        work = Workspace(folder=Path(tempfile.mkdtemp(prefix="ppmctl-publish-", dir=within)))
    except OSError as exc:
        raise PpmError(
            f"There is no place for what is built: {exc.strerror}: {within or tempfile.gettempdir()}.",
            hint=f"{VARIABLE}, or else TMPDIR, names a folder that can be written to.",
        ) from exc
    try:
        yield work
    finally:
        if work.keep and work.built:
            # Built once more, the files may differ in a time stamp, and would be in conflict with these.
            built = " ".join(shlex.quote(str(path)) for path in work.built)
            output.say(f"What was built is kept. To go on with the same files: ppmctl publish {built}")
        else:
            shutil.rmtree(work.folder, ignore_errors=True)


def collect(paths: Iterable[Path], work: Workspace, *, clean: bool = False) -> tuple[LocalFile, ...]:
    """Build and check what `paths` name. Of two files with one name and the same content one stays.

    With `clean` a source tree is built in a copy of it (`tree.copy`).

    UsageError for a path that is neither a source tree nor a file, or two different files of one name;
    PpmError where a build fails; InvalidDistribution.
    """
    files: dict[str, LocalFile] = {}
    for path in _expand(paths, work, clean=clean):
        file = check(path)
        other = files.setdefault(file.filename, file)
        if other.sha256 != file.sha256:
            raise UsageError(
                f"{other.path} and {file.path} have one name and different content.", hint="Give only one of them."
            )
    return tuple(files.values())


def _expand(paths: Iterable[Path], work: Workspace, *, clean: bool) -> Iterator[Path]:
    paths = tuple(paths)
    for path in paths:  # all of them first: a build can take long
        if not _is_file(path):
            build.require_source_tree(path)
    for path in paths:
        if _is_file(path):
            yield path
            continue
        into = work.folder / str(len(work.built))
        into.mkdir()
        output.say(f"Building {path.resolve()} in {into}")
        with contextlib.ExitStack() as stack:
            if clean:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ppmctl-copy-"))
                copied = tree.copy(path, Path(folder))
                built = build.build(copied.project, into, environ=copied.environ, shown=path)
            else:
                built = build.build(path, into)
        work.built += built
        yield from built


def _is_file(path: Path) -> bool:
    """Whether it is a file that can be seen; who may not look is told so by `build.require_source_tree`."""
    try:
        return path.is_file()
    except PermissionError:
        return False
