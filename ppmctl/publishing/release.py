"""What a person names to be published → checked files: source trees are built, files are taken as they are."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ppmctl import events
from ppmctl.errors import PpmError, UsageError
from ppmctl.publishing import build, contents, finished, tracked, tree
from ppmctl.publishing.check import LocalFile, check

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
            events.note(f"What was built is kept. To go on with the same files: ppmctl publish {built}")
        else:
            shutil.rmtree(work.folder, ignore_errors=True)


def collect(
    paths: Iterable[Path],
    work: Workspace,
    *,
    clean: bool = False,
    skip_build: bool = False,
    allowed: Sequence[str] = (),
    rehearse: Callable[[Path], AbstractContextManager[None]] | None = None,
) -> tuple[LocalFile, ...]:
    """Build and check what `paths` name. Of two files with one name and the same content one stays.

    With `clean` a source tree is built in a copy of it (`tree.copy`), with `skip_build` what its dist/ has of its
    version is taken. `allowed` are globs of members that may be packed whatever they are. `rehearse` prepares a copy,
    which it is handed, for the build.

    UsageError for a path that is neither a source tree nor a file, or two different files of one name;
    PpmError where a build fails, or what must not be published is packed; InvalidDistribution.
    """
    files: dict[str, LocalFile] = {}
    refused: list[tuple[str, str]] = []
    backend = ""
    for found in _expand(tuple(paths), work, clean=clean, skip_build=skip_build, rehearse=rehearse):
        file = check(found.path)
        findings = contents.examine(
            file.dist.name,
            contents.members(file.path),
            tracking=found.tracking,
            allowed=allowed,
            is_own=found.is_own,
        )
        refused += [(file.filename, what) for what in findings.refused]
        backend = backend or found.backend
        file = replace(file, warnings=(*file.warnings, *findings.warnings))
        other = files.setdefault(file.filename, file)
        if other.sha256 != file.sha256:
            raise UsageError(
                f"{other.path} and {file.path} have one name and different content.", hint="Give only one of them."
            )
    if refused:
        raise contents.refusal(refused, backend=backend)
    return tuple(files.values())


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A distribution that is to be checked; what git and pyproject.toml say of the tree that it is from.

    `is_own` is False for a file that was named: it may be anybody's.
    """

    path: Path
    tracking: contents.Tracking | None = None
    backend: str = ""
    is_own: bool = True


def _expand(
    paths: tuple[Path, ...],
    work: Workspace,
    *,
    clean: bool,
    skip_build: bool,
    rehearse: Callable[[Path], AbstractContextManager[None]] | None,
) -> Iterator[_Found]:
    for path in paths:  # all of them first: a build can take long
        if not _is_file(path):
            build.require_source_tree(path)
    for path in paths:
        if _is_file(path):
            yield _Found(path=path, is_own=False)
            continue
        with contextlib.ExitStack() as stack:
            if skip_build:
                folder, made = path, finished.find(path)
            else:
                folder, environ = path, dict[str, str]()
                if clean or rehearse:
                    copies = stack.enter_context(tempfile.TemporaryDirectory(prefix="ppmctl-copy-"))
                    copied = tree.copy(path, Path(copies))
                    folder, environ = copied.project, dict(copied.environ)
                    if rehearse:
                        stack.enter_context(rehearse(folder))
                made = _built(folder, work, environ, shown=path)
            tracking, backend = tracked.read(folder), _backend(folder)
            for file in made:
                yield _Found(path=file, tracking=tracking, backend=backend)


def _built(source: Path, work: Workspace, environ: Mapping[str, str], *, shown: Path) -> tuple[Path, ...]:
    into = work.folder / str(len(work.built))
    into.mkdir()
    events.note(f"Building {shown.resolve()} in {into}")
    built = build.build(source, into, environ=environ, shown=shown)
    work.built += built
    return built


def _backend(project: Path) -> str:
    """The name of the build backend, "" where that can't be read."""
    try:
        written = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        return str(written.get("build-system", {}).get("build-backend", "setuptools"))
    except (OSError, ValueError, AttributeError):
        return ""


def _is_file(path: Path) -> bool:
    """Whether it is a file that can be seen; who may not look is told so by `build.require_source_tree`."""
    try:
        return path.is_file()
    except PermissionError:
        return False
