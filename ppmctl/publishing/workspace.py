"""Turn the paths of a publish into checked files: build source trees, take files as they are."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ppmctl import events, regular_file
from ppmctl.errors import PpmError, UsageError
from ppmctl.publishing import build, contents, existing_dist, git, source_copy
from ppmctl.publishing.check import LocalFile, check

# The folder for built files, where they stay if they could not be uploaded; by default a temporary one.
VARIABLE = "PPMCTL_BUILDS"


@dataclass(kw_only=True)
class Workspace:
    """A folder for built files, and how they are built. It is removed at the end, unless `keep` is set.

    `clean`: build a copy of a source tree. `skip_build`: take the files in its dist/. `allowed`: globs of members
    that are not checked. `prepare`: change the copy before it is built.
    """

    folder: Path
    clean: bool = False
    skip_build: bool = False
    allowed: Sequence[str] = ()
    prepare: Callable[[Path], AbstractContextManager[None]] | None = None
    built: list[Path] = field(default_factory=list)
    keep: bool = False

    def collect(self, paths: Iterable[Path]) -> tuple[LocalFile, ...]:
        """Build and check `paths`; a file that is named twice counts once.

        Raise UsageError for a path that is neither a source tree nor a file, or for two different files of one name;
        PpmError for a failed build, or if something must not be published; InvalidDistribution.
        """
        trees = [(path, build.is_source_tree(path)) for path in paths]  # all of them first: a build can take long
        files: dict[str, LocalFile] = {}
        refused: list[tuple[str, str]] = []
        backend = ""
        for path, is_tree in trees:
            with ExitStack() as stack:
                source = self._source(path, stack) if is_tree else None
                made = (path,) if source is None else self._make(source, shown=path)
                tracking = git.tracking(source) if source is not None else None
            backend = backend or (_backend(path) if is_tree else "")
            for file in map(check, made):
                packed = contents.members(file.path)
                findings = contents.examine(
                    file.dist.name, packed, tracking=tracking, allowed=self.allowed, is_own=is_tree
                )
                refused += [(file.filename, reason) for reason in findings.refused]
                file = replace(file, warnings=(*file.warnings, *findings.warnings))
                other = files.setdefault(file.filename, file)
                if other.sha256 != file.sha256:
                    raise UsageError(
                        f"{other.path} and {file.path} have the same name and different content.",
                        hint="Give only one of them.",
                    )
        if refused:
            raise contents.refusal(refused, backend=backend)
        return tuple(files.values())

    def _source(self, path: Path, stack: ExitStack) -> Path:
        """Return the folder that the source tree at `path` is built in; a copy exists until `stack` is closed."""
        if self.skip_build or not (self.clean or self.prepare):
            return path
        copies = stack.enter_context(tempfile.TemporaryDirectory(prefix="ppmctl-copy-"))
        copy = source_copy.copy(path, Path(copies))
        if self.prepare:
            stack.enter_context(self.prepare(copy))
        return copy

    def _make(self, source: Path, *, shown: Path) -> tuple[Path, ...]:
        if self.skip_build:
            return existing_dist.find(source)
        into = self.folder / str(len(self.built))
        into.mkdir()
        events.note(f"Building {shown.resolve()} in {into}")
        built = build.build(source, into, shown=shown)
        self.built += built
        return built


@contextmanager
def workspace(**options: Any) -> Iterator[Workspace]:
    """Yield a Workspace with these options; raise PpmError if its folder can't be created."""
    parent = os.environ.get(VARIABLE) or None
    try:
        work = Workspace(folder=Path(tempfile.mkdtemp(prefix="ppmctl-publish-", dir=parent)), **options)
    except OSError as exc:
        raise PpmError(
            f"A folder for the build can't be created: {exc.strerror}: {parent or tempfile.gettempdir()}.",
            hint=f"Set {VARIABLE if parent else 'TMPDIR'} to a folder that you can write to.",
        ) from exc
    try:
        yield work
    finally:
        if work.keep and work.built:
            # A second build could differ in its time stamps, and would then be in conflict with these files.
            built = " ".join(shlex.quote(str(path)) for path in work.built)
            events.note(f"The built files are kept. To publish them: ppmctl publish {built}")
        else:
            shutil.rmtree(work.folder, ignore_errors=True)


def _backend(project: Path) -> str:
    """Return the name of the build backend, "" if it can't be read."""
    try:
        data = tomllib.loads(regular_file.read_text(project / "pyproject.toml"))
        return str(data.get("build-system", {}).get("build-backend", "setuptools"))
    except (OSError, ValueError, AttributeError):
        return ""
