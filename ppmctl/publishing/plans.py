"""What publishing is to do with each file: the index's pages are read and compared with what is here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from ppmctl.errors import PpmError, Unavailable, Unreachable
from ppmctl.patience import Patience
from ppmctl.project_page import PageFile, ProjectPage
from ppmctl.publishing.check import LocalFile

State = Literal["new", "same", "conflict", "published"]


class Lister(Protocol):
    """What is asked for a project's page; None where the index does not have it."""

    def project(self, name: str) -> ProjectPage | None: ...


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is to be done with a file: upload it (new), nothing (same), or never mind the rest (conflict)."""

    file: LocalFile
    state: State
    listed: PageFile | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The files in the order in which they will be published."""

    steps: tuple[Step, ...]

    @property
    def conflicts(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.state == "conflict")

    @property
    def new(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.state == "new")


def compare(files: Iterable[LocalFile], index: Lister, *, patience: Callable[[], Patience] = Patience) -> Plan:
    """Read the index's pages of the projects that `files` are of, and plan.

    An index that says "not now" is waited for. One that does not answer at all is not: its URL may be wrong.
    """
    files = tuple(files)
    projects = sorted({file.project for file in files})
    return make_plan(files, {project: read(index, project, patience(), sat_out=Unavailable) for project in projects})


def make_plan(files: Iterable[LocalFile], pages: Mapping[str, ProjectPage | None]) -> Plan:
    """What to do with each of `files`, given the index's page of each project (None: it has none).

    Wheels go first, as with twine: whoever looks between two uploads finds a wheel or not yet the version,
    and never only an sdist to build. Within that the order is that of the names.
    """
    ordered = sorted(files, key=lambda file: (file.dist.name.kind == "sdist", file.filename))
    steps = []
    for file in ordered:
        page = pages[file.project]
        listed = page.file(file.filename) if page is not None else None
        steps.append(Step(file=file, state=state_of(file, listed), listed=listed))
    return Plan(steps=tuple(steps))


def read(
    index: Lister, project: str, patience: Patience, *, sat_out: type[Unreachable] = Unreachable
) -> ProjectPage | None:
    """A project's page, asked for again while the trouble is of a kind that is `sat_out`; then that is raised."""
    while True:
        try:
            return index.project(project)
        except sat_out as exc:
            if not patience.wait(exc, retry_after=exc.retry_after):
                raise


def state_of(file: LocalFile, listed: PageFile | None) -> State:
    if listed is None:
        return "new"
    return "same" if listed.sha256 == file.sha256 else "conflict"


def conflict(conflicts: Iterable[Step]) -> PpmError:
    lines = [f"{step.file.filename}: here sha256 {step.file.sha256}, there {said(step.listed)}" for step in conflicts]
    return PpmError(
        "The index has files of the same names with other content:\n    " + "\n    ".join(lines),
        hint="Nothing was uploaded. A published file never changes: raise the version and publish that. If it is the"
        " same source, and its build is never twice the same: publish the files of the first build.",
    )


def said(listed: PageFile | None) -> str:
    return listed.sha256 if listed is not None and listed.sha256 else "none to compare with"
