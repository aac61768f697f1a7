"""What a person names to be published → checked files: source trees are built, files are taken as they are."""

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

from ppmctl import events
from ppmctl.errors import PpmError, UsageError
from ppmctl.publishing import build, contents, existing_dist, git, source_copy
from ppmctl.publishing.check import LocalFile, check

# The folder that what is built is laid in, and stays in where it could not be uploaded; else a temporary one.
VARIABLE = "PPMCTL_BUILDS"


@dataclass(kw_only=True)
class Workspace:
    """A folder for what is built, and how it is built. It goes at the end unless `keep` was set.

    With `clean` a source tree is built in a copy of it (`source_copy.copy`), with `skip_build` what its dist/ has of
    its version is taken. `allowed` are globs of members that may be packed whatever they are. `prepare` changes a
    copy, which it is handed, before it is built.
    """

    folder: Path
    clean: bool = False
    skip_build: bool = False
    allowed: Sequence[str] = ()
    prepare: Callable[[Path], AbstractContextManager[None]] | None = None
    built: list[Path] = field(default_factory=list)
    keep: bool = False

    def collect(self, paths: Iterable[Path]) -> tuple[LocalFile, ...]:
        """Build and check what `paths` name. Of two files with one name and the same content one stays.

        UsageError for a path that is neither a source tree nor a file, or two different files of one name;
        PpmError where a build fails, or what must not be published is packed; InvalidDistribution.
        """
        trees = [(path, build.is_source_tree(path)) for path in paths]  # all of them first: a build can take long
        files: dict[str, LocalFile] = {}
        refused: list[tuple[str, str]] = []
        backend = ""
        for path, is_tree in trees:
            with ExitStack() as stack:
                project = self._prepared(path, stack) if is_tree else None
                made = (path,) if project is None else self._made(project, shown=path)
                tracking = git.tracking(project) if project is not None else None
            backend = backend or (_backend(path) if is_tree else "")
            for file in map(check, made):
                findings = contents.examine(
                    file.dist.name,
                    contents.members(file.path),
                    tracking=tracking,
                    allowed=self.allowed,
                    is_own=is_tree,
                )
                refused += [(file.filename, what) for what in findings.refused]
                file = replace(file, warnings=(*file.warnings, *findings.warnings))
                other = files.setdefault(file.filename, file)
                if other.sha256 != file.sha256:
                    raise UsageError(
                        f"{other.path} and {file.path} have one name and different content.",
                        hint="Give only one of them.",
                    )
        if refused:
            raise contents.refusal(refused, backend=backend)
        return tuple(files.values())

    def _prepared(self, path: Path, stack: ExitStack) -> Path:
        """Return the folder that the source tree at `path` is built in, until `stack` is closed."""
        if self.skip_build or not (self.clean or self.prepare):
            return path
        copies = stack.enter_context(tempfile.TemporaryDirectory(prefix="ppmctl-copy-"))
        copy = source_copy.copy(path, Path(copies))
        if self.prepare:
            stack.enter_context(self.prepare(copy))
        return copy

    def _made(self, source: Path, *, shown: Path) -> tuple[Path, ...]:
        if self.skip_build:
            return existing_dist.find(source)
        into = self.folder / str(len(self.built))
        into.mkdir()
        events.note(f"Building {shown.resolve()} in {into}")
        built = build.build(source, into, shown=shown)
        self.built += built
        return built


@contextmanager
def workspace(**how: Any) -> Iterator[Workspace]:
    """Yield a Workspace that is made `how`; PpmError where there is no place for it."""
    within = os.environ.get(VARIABLE) or None
    try:
        work = Workspace(folder=Path(tempfile.mkdtemp(prefix="ppmctl-publish-", dir=within)), **how)
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


def _backend(project: Path) -> str:
    """Return the name of the build backend, "" where that can't be read."""
    try:
        written = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        return str(written.get("build-system", {}).get("build-backend", "setuptools"))
    except (OSError, ValueError, AttributeError):
        return ""
