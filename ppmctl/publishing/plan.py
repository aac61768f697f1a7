"""Compare files with the index's pages, and upload them until the index shows each file."""

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

# Seconds before each look for an uploaded file. A ppm index shows it at once, one with a cache does not.
LOOKS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)

# What to do about a refused upload, by HTTP status.
_HINTS = {
    **dict.fromkeys((404, 405), "Does the index take uploads at {url}? A section in ~/.pypirc can name another URL."),
    409: "A published file never changes, and a removed one never comes back: raise the version and publish that.",
    413: "Raise the limit: ppmctl serve --max-upload-size. A proxy in front has a limit of its own.",
}

State = Literal["new", "same", "conflict", "published"]
Sender = Callable[[LocalFile], Answer]  # posts a file; raises Unreachable


class Lister(Protocol):
    """An index that returns the page of a project; None if it does not have the project."""

    def project(self, name: str) -> ProjectPage | None: ...


@dataclass(frozen=True, kw_only=True)
class Step:
    """What to do with a file, or what was done: new (upload it), published, same (nothing to do), conflict (stop).

    `listed` is the file of that name in the index, None without one.
    """

    file: LocalFile
    state: State
    listed: PageFile | None = None

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
    """The files in the order in which they are published."""

    steps: tuple[Step, ...]

    @property
    def conflicts(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.state == "conflict")

    @property
    def new(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.state == "new")


def compare(files: Iterable[LocalFile], index: Lister, *, patience: Callable[[], Patience] = Patience) -> Plan:
    """Read the index's pages of the projects of `files`, and return the plan.

    Wheels go first, as with twine, so that installers never find only an sdist, which they would build. An index that
    answers "not now" is asked again. One that does not answer is not: its URL may be wrong.
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
    """Upload the new files one by one, and yield each step once the index shows its file.

    Each attempt has its own `patience`. Raise PpmError for a conflict before anything is sent. A later error says how
    many files are done; files of yielded steps stay in the index.
    """
    if plan.conflicts:
        lines = "".join(
            f"\n    {step.file.filename}: here sha256 {step.file.sha256}, in the index {_listed_sha256(step)}"
            for step in plan.conflicts
        )
        raise PpmError(
            f"The index has files of the same names with other content:{lines}",
            hint="Nothing was uploaded. A published file never changes: raise the version and publish that. If the"
            " source is the same, but each build of it differs: publish the files of the first build.",
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
            hint = exc.hint or "Run the same command again: it uploads what is missing."
            raise type(exc)(f"{exc.message} {done}", hint=hint) from exc


def _upload(file: LocalFile, index: Lister, send: Sender, patience: Callable[[], Patience]) -> State:
    """Send `file`, again if that may help; return "same" if another user has published it in the meantime."""
    own, is_repeated = patience(), False
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
            if answer.status in (400, 409) and _look(file, index, patience).state == "same":
                # An earlier attempt arrived and its answer was lost, or another user sent the same file.
                return "published" if is_repeated else "same"
            if answer.status not in PASSING:
                raise failure
        if not own.wait(failure, retry_after=retry_after):
            raise failure
        is_repeated = True


def _confirmed(
    file: LocalFile, index: Lister, patience: Callable[[], Patience], sleep: Callable[[float], None]
) -> Step:
    """Return the step of `file` once the index has it with its sha256; raise PpmError if that does not happen."""
    why = f"It is not in the index after {sum(LOOKS):.0f} seconds."
    for wait in LOOKS:
        if wait:
            sleep(wait)
        try:
            step = _look(file, index, patience)
        except Unreachable as exc:
            why = exc.message
            break
        if step.state == "same":
            return step
        if step.state == "conflict":
            raise PpmError(
                f"{file.filename} was accepted, but the index shows it with sha256 {_listed_sha256(step)},"
                f" not {file.sha256}.",
                hint="Do not install it. The index's audit.jsonl records who published what.",
            )
    raise PpmError(
        f"{file.filename} was accepted, but not seen in the index: {why}", hint="Run the same command again to check."
    )


def _look(file: LocalFile, index: Lister, patience: Callable[[], Patience]) -> Step:
    return _step(file, patience().sit_out(lambda: index.project(file.project), Unreachable))


def _failure(file: LocalFile, answer: Answer) -> PpmError:
    if answer.location:
        return PpmError(
            f"{file.filename}: the index redirects uploads from {answer.url} to {answer.location}.",
            hint="Give the index's new URL to --index.",
        )
    hint = _HINTS.get(answer.status, "").format(url=answer.url)
    return PpmError(f"{file.filename} was refused ({answer.status}): {answer.says}.", hint=hint)
