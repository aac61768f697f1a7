"""Compare files with the index's pages: which are new, which are there already, which conflict."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Literal, Protocol

from ppmctl.client.retry import Retries
from ppmctl.distributions import release_file
from ppmctl.distributions.project_page import PageFile, ProjectPage
from ppmctl.errors import UsageError
from ppmctl.publishing.check import LocalFile

State = Literal["new", "same", "conflict", "published"]


class Lister(Protocol):
    """An index that returns the page of a project; None if it does not have the project."""

    def project(self, name: str) -> ProjectPage | None: ...


@dataclass(frozen=True, kw_only=True)
class Step:
    """What to do with a file, or what was done: new (upload it), published, same (nothing to do), conflict (stop).

    `listed` is that file in the index, also under another name of it, None without one. `other_builds` are the files
    of the index instead of which installers may take it: another build, a tag in common, or the release without the
    local version.
    """

    file: LocalFile
    state: State
    listed: PageFile | None = None
    other_builds: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """Return the URL of the file in the index; "" without one."""
        return self.listed.url if self.listed is not None else ""

    @property
    def sha256(self) -> str:
        """Return the sha256 of the local file; if it is the same, of the file in the index: a rebuilt one differs."""
        return (self.state == "same" and self.listed and self.listed.sha256) or self.file.sha256

    @property
    def size(self) -> int:
        """Return the size of the same file as for `sha256`, in bytes."""
        listed = self.listed.size if self.state == "same" and self.listed is not None else None
        return self.file.size if listed is None else listed


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The files in the order in which they are published, and the projects that the index does not have."""

    steps: tuple[Step, ...]
    missing: tuple[str, ...] = ()

    @property
    def conflicts(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.state == "conflict")

    @property
    def new(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.state == "new")


def compare(files: Iterable[LocalFile], index: Lister, *, retries: Callable[[], Retries] = Retries) -> Plan:
    """Read the index's pages of the projects of `files`, and return the plan.

    Wheels go first, as with twine, so that installers never find only an sdist, which they would build. An index that
    answers "not now" is asked again. One that does not answer is not: its URL may be wrong. Raise UsageError for two
    names of one file.
    """
    ordered = sorted(files, key=lambda file: (file.dist.name.kind == "sdist", file.filename))
    twice = [
        f"{one.filename} and {other.filename} are two names of one file of a release."
        for one, other in combinations(ordered, 2)
        if one.project == other.project and release_file.is_same(one.filename, other.filename)
    ]
    if twice:
        raise UsageError("\n    ".join(twice), hint="Give only one of them.")
    names = sorted({file.project for file in ordered})
    pages = {name: retries().retry(partial(index.project, name)) for name in names}
    steps = tuple(step_of(file, pages[file.project]) for file in ordered)
    return Plan(steps=steps, missing=tuple(name for name in names if pages[name] is None))


def step_of(file: LocalFile, page: ProjectPage | None) -> Step:
    """Return what to do with `file`, by its project's page."""
    others = page.files if page is not None else ()
    same = next((each for each in others if release_file.is_same(each.filename, file.filename)), None)
    listed = (page.file(file.filename) if page is not None else None) or same
    if listed is not None:
        return Step(file=file, state="same" if listed.sha256 == file.sha256 else "conflict", listed=listed)
    builds = tuple(each.filename for each in others if release_file.may_replace(file.filename, each.filename))
    return Step(file=file, state="new", other_builds=builds)


def listed_sha256(step: Step) -> str:
    """Return the sha256 that the index shows for the file, in words if there is none."""
    return (step.listed and step.listed.sha256) or "none to compare with"
