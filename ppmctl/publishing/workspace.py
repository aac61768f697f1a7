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
from typing import TYPE_CHECKING, Any, TypeVar

from ppmctl import events, regular_file
from ppmctl.errors import PpmError, UsageError, some
from ppmctl.publishing import build, contents
from ppmctl.publishing.check import LocalFile, check, require_uploadable

if TYPE_CHECKING:  # what only source trees need is imported for them
    from ppmctl.publishing import git

# The folder for built files, where they stay if they could not be uploaded; by default a temporary one.
VARIABLE = "PPMCTL_BUILDS"

# Names of what other tools put beside distributions.
_SIDE_FILES = (".asc", ".sig", ".sigstore", ".sigstore.json", ".attestation", ".provenance", ".intoto.jsonl")

_T = TypeVar("_T")


@dataclass(kw_only=True)
class _Collected:
    """Files that may be published, and why others can't be. `refused`: pairs of a filename and "member: reason"."""

    files: dict[str, LocalFile] = field(default_factory=dict)
    errors: list[PpmError] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    backend: str = ""

    def require_publishable(self) -> None:
        """Raise one error for all files that can't be published."""
        errors = [*self.errors, *([contents.refusal(self.refused, backend=self.backend)] if self.refused else [])]
        if errors:
            raise together(errors)


@dataclass(kw_only=True)
class Workspace:
    """A folder for built files, and how they are built. It is removed at the end, unless `keep` is set.

    `clean`: build a copy of a source tree. `skip_build`: take the files in its dist/. `allowed`: globs of members
    that are not checked. `host`: where the files are to be sent. `prepare`: change the copy before it is built.
    """

    folder: Path
    clean: bool = False
    skip_build: bool = False
    allowed: Sequence[str] = ()
    host: str = ""
    prepare: Callable[[Path], AbstractContextManager[None]] | None = None
    built: list[Path] = field(default_factory=list)
    keep: bool = False
    without_git: set[Path] = field(default_factory=set)

    def collect(self, paths: Iterable[Path]) -> tuple[LocalFile, ...]:
        """Check files, and build and check source trees; a file that is named twice counts once.

        Raise one error that names all paths or files that can't be published; PpmError for a failed build.
        """
        selection, collected = select(paths), _Collected()
        if selection.skipped:
            events.note(f"Skipped, as no wheel or sdist: {some(path.name for path in selection.skipped)}")
        for path in selection.files:
            self._add(collected, path)
        if selection.trees:
            collected.require_publishable()  # a build can take long
        for path in selection.trees:
            self._add_built(collected, path)
        collected.require_publishable()
        return tuple(collected.files.values())

    def _add_built(self, collected: _Collected, path: Path) -> None:
        """Build a source tree, check its files, and add them to `collected`."""
        from ppmctl.publishing import git

        with ExitStack() as stack:
            source = self._source(path, stack)
            made = self._make(source, shown=path)
            tracking = self._from_git(source, git.tracking)
            collected.backend = collected.backend or _backend(path)
            for each in made:
                self._add(collected, each, source=source, tracking=tracking)

    def _add(
        self, collected: _Collected, path: Path, *, source: Path | None = None, tracking: git.Tracking | None = None
    ) -> None:
        """Check a file, which was built from the source tree `source` or elsewhere, and add it to `collected`."""
        is_own = source is not None
        try:
            file = check(path, is_own=is_own)
            require_uploadable(file, self.host)
            if source is not None:
                from ppmctl.publishing import project_version

                project_version.require_written(source, file.dist.name)
            packed = contents.members(file.path)
            findings = contents.examine(
                file.dist.name, packed, tracking=tracking, allowed=self.allowed, is_own=is_own
            )
        except PpmError as exc:
            collected.errors.append(exc)
            return
        collected.refused += [(file.filename, reason) for reason in findings.refused]
        other = collected.files.setdefault(
            file.filename, replace(file, warnings=(*file.warnings, *findings.warnings))
        )
        if other.sha256 != file.sha256:
            error = f"{other.path} and {file.path} have the same name and different content."
            collected.errors.append(UsageError(error, hint="Give only one of them."))

    def _from_git(self, source: Path, read: Callable[[Path], _T | None]) -> _T | None:
        """Return what `read` reads from the git repository of `source`; None without one, or if git fails.

        The first failure is reported, and git is not asked about `source` again.
        """
        if source in self.without_git:
            return None
        try:
            return read(source)
        except PpmError as exc:
            self.without_git.add(source)
            why = " ".join(f"{exc.phrase}. {exc.hint}".split() if exc.hint else exc.message.split())
            events.note(f"Warning: packed files are not compared with what git tracks. {why}")
            return None

    def _source(self, path: Path, stack: ExitStack) -> Path:
        """Return the folder that the source tree at `path` is built in; a copy exists until `stack` is closed."""
        if self.skip_build or not (self.clean or self.prepare):
            return path
        from ppmctl.publishing import source_copy

        copies = stack.enter_context(tempfile.TemporaryDirectory(prefix="ppmctl-copy-"))
        copy = source_copy.copy(path, Path(copies))
        if self.prepare:
            stack.enter_context(self.prepare(copy))
        return copy

    def _make(self, source: Path, *, shown: Path) -> tuple[Path, ...]:
        from ppmctl.publishing import existing_dist, git

        if self.skip_build:
            return existing_dist.find(source)
        into = self.folder / str(len(self.built))
        into.mkdir()
        date = self._from_git(source, git.commit_time) or ""
        events.note(f"Building {shown.resolve()} in {into}")
        built = build.build(source, into, shown=shown, date=date)
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


@dataclass(kw_only=True)
class Selection:
    """Paths of a publish: source trees, files, and what `dist/*` names besides: signatures, attestations, folders."""

    trees: list[Path] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)


def select(paths: Iterable[Path]) -> Selection:
    """Return what to build and what to take as it is; raise UsageError for all paths that are neither."""
    kinds: dict[Path, bool | UsageError] = {}
    for path in paths:
        try:
            kinds[path] = build.is_source_tree(path)
        except UsageError as exc:
            kinds[path] = exc
    beside = {path.parent for path, kind in kinds.items() if kind is False}  # a folder in it is a part of `dist/*`
    selection, errors = Selection(), []
    for path, kind in kinds.items():
        if kind is False:
            (selection.skipped if path.name.endswith(_SIDE_FILES) else selection.files).append(path)
        elif kind is True and not (path.parent in beside and (path / "PKG-INFO").is_file()):  # an unpacked sdist
            selection.trees.append(path)
        elif path.parent in beside and path.is_dir():
            selection.skipped.append(path)
        elif isinstance(kind, UsageError):
            errors.append(kind)
    if errors:
        raise together(errors)
    if selection.skipped and not (selection.trees or selection.files):
        raise UsageError(
            f"There is no wheel or sdist to publish among {some(path.name for path in selection.skipped)}.",
            hint="Build the project first, or give its folder.",
        )
    return selection


def together(errors: Sequence[PpmError]) -> PpmError:
    """Return one error for several."""
    messages = dict.fromkeys(error.message for error in errors)
    if len(messages) == 1:
        return errors[0]
    hints = dict.fromkeys(error.hint for error in errors if error.hint)
    kind = type(errors[0]) if len({type(error) for error in errors}) == 1 else PpmError
    return kind(
        "These can't be published:" + "".join(f"\n    {message}" for message in messages),
        hint=" ".join(hints) or "Nothing was uploaded.",
    )


def _backend(project: Path) -> str:
    """Return the name of the build backend, "" if it can't be read."""
    try:
        data = tomllib.loads(regular_file.read_text(project / "pyproject.toml"))
        return str(data.get("build-system", {}).get("build-backend", "setuptools"))
    except (OSError, ValueError, AttributeError):
        return ""
