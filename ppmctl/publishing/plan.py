"""What publishing does with each file: planned by the index's pages, then carried out until the index shows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol

from ppmctl.client.http import PASSING, Answer
from ppmctl.client.retry import Patience
from ppmctl.distributions.project_page import PageFile, ProjectPage
from ppmctl.errors import PpmError, Unreachable
from ppmctl.publishing.check import LocalFile

# How long an index may take to show what it has accepted. Ours shows it at once, one with a cache does not.
LOOKS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each look

State = Literal["new", "same", "conflict", "published"]
# Posts a file and returns the answer; Unreachable.
Sender = Callable[[LocalFile], Answer]


class Lister(Protocol):
    """What is asked for a project's page; None where the index does not have it."""

    def project(self, name: str) -> ProjectPage | None: ...


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is to be done with a file, or was done: upload it (new, published), nothing (same), or stop (conflict).

    `listed` is the file of that name in the index, None where it has none.
    """

    file: LocalFile
    state: State
    listed: PageFile | None = None

    @property
    def url(self) -> str:
        """That of the file in the index, "" where it has none yet."""
        return self.listed.url if self.listed is not None else ""

    @property
    def sha256(self) -> str:
        """That of the file here; of one that is the same, of the one in the index: it may have been built again."""
        return (self.state == "same" and self.listed and self.listed.sha256) or self.file.sha256

    @property
    def size(self) -> int:
        """That of the same file, in bytes."""
        there = self.listed.size if self.state == "same" and self.listed is not None else None
        return self.file.size if there is None else there


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

    Wheels go first, as with twine: whoever looks between two uploads finds a wheel or not yet the version,
    and never only an sdist to build. Within that the order is that of the names. An index that says "not now" is
    waited for. One that does not answer at all is not: its URL may be wrong.
    """
    ordered = sorted(files, key=lambda file: (file.dist.name.kind == "sdist", file.filename))
    names = sorted({file.project for file in ordered})
    pages = {name: patience().sit_out(partial(index.project, name)) for name in names}
    return Plan(steps=tuple(_step(file, pages[file.project]) for file in ordered))


def _step(file: LocalFile, page: ProjectPage | None) -> Step:
    listed = page.file(file.filename) if page is not None else None
    if listed is None:
        return Step(file=file, state="new")
    return Step(file=file, state="same" if listed.sha256 == file.sha256 else "conflict", listed=listed)


def _listed_sha256(step: Step) -> str:
    return (step.listed and step.listed.sha256) or "none to compare with"


def carry_out(
    plan: Plan,
    index: Lister,
    send: Sender,
    *,
    patience: Callable[[], Patience] = Patience,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Step]:
    """Upload what is new, file by file, and yield each step once the index shows its file.

    Trouble that passes is sat out, with a `patience` for each thing that is tried.

    PpmError before the first byte if the plan has a conflict. On a later failure the message says how many
    files are done; what was yielded is published and stays.
    """
    if plan.conflicts:
        lines = "".join(
            f"\n    {step.file.filename}: here sha256 {step.file.sha256}, there {_listed_sha256(step)}"
            for step in plan.conflicts
        )
        raise PpmError(
            f"The index has files of the same names with other content:{lines}",
            hint="Nothing was uploaded. A published file never changes: raise the version and publish that. If it is"
            " the same source, and its build is never twice the same: publish the files of the first build.",
        )
    for number, step in enumerate(plan.steps):
        if step.listed is not None:
            yield step
            continue
        try:
            state = _upload(step.file, index, send, patience)
            yield replace(_confirmed(step.file, index, patience, sleep), state=state)
        except PpmError as exc:
            done = f"{number} of {len(plan.steps)} files are in the index."
            hint = exc.hint or "Run the same again: it goes on with what is missing."
            raise type(exc)(f"{exc.message} {done}", hint=hint) from exc


def _upload(file: LocalFile, index: Lister, send: Sender, patience: Callable[[], Patience]) -> State:
    """Send `file`, again where that may help; "same" where it turns out that somebody else has published it."""
    own, again = patience(), False
    while True:
        retry_after = ""
        try:
            answer = send(file)
        except Unreachable as exc:
            failure: PpmError = Unreachable(f"{file.filename} could not be uploaded: {exc.message}", hint=exc.hint)
        else:
            if 200 <= answer.status < 300:
                return "published"
            failure, retry_after = _failure(file, answer), answer.retry_after
            if answer.status in (400, 409) and _looked_up(file, index, patience).state == "same":
                # Somebody else sent the same file meanwhile; or an attempt of ours arrived, and its answer was lost.
                return "published" if again else "same"
            if answer.status not in PASSING:
                raise failure
        if not own.wait(failure, retry_after=retry_after):
            raise failure
        again = True


def _confirmed(
    file: LocalFile, index: Lister, patience: Callable[[], Patience], sleep: Callable[[float], None]
) -> Step:
    """Return the step of `file` once the index has it with its sha256."""
    why = f"It is not in the index after {sum(LOOKS):.0f} seconds."
    for wait in LOOKS:
        if wait:
            sleep(wait)
        try:
            step = _looked_up(file, index, patience)
        except Unreachable as exc:
            why = exc.message
            break
        if step.state == "same":
            return step
        if step.state == "conflict":
            raise PpmError(
                f"{file.filename} was accepted, but the index shows it with sha256 {_listed_sha256(step)},"
                f" not {file.sha256}.",
                hint="Do not install it. The index's audit.jsonl says who published what.",
            )
    raise PpmError(
        f"{file.filename} was accepted, but not seen in the index: {why}", hint="Run the same again to look."
    )


def _looked_up(file: LocalFile, index: Lister, patience: Callable[[], Patience]) -> Step:
    return _step(file, patience().sit_out(lambda: index.project(file.project), Unreachable))


def _failure(file: LocalFile, answer: Answer) -> PpmError:
    if answer.location:
        return PpmError(
            f"{file.filename}: the index redirects uploads from {answer.url} to {answer.location}.",
            hint="Give the URL of the index as it is now to --index.",
        )
    hint = ""
    if answer.status in (404, 405):
        hint = f"Does the index take uploads at {answer.url}? A section in ~/.pypirc can name another URL."
    elif answer.status == 409:
        hint = "A published file never changes, and a removed one never comes back: raise the version, publish that."
    elif answer.status == 413:
        hint = "ppmctl serve --max-upload-size raises it; a proxy in front has a limit of its own."
    return PpmError(f"{file.filename} was refused ({answer.status}): {answer.says}.", hint=hint)
