"""A release, from files on this machine to an index that shows them with the same sha256.

files → check → compare with the index → plan (new, same, conflict) → upload → seen in the index. A conflict
stops it before the first byte; when it broke off, the same call again finds "same" and goes on with the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ppmctl import output
from ppmctl.address import Address
from ppmctl.check import LocalFile
from ppmctl.credential import Credential
from ppmctl.errors import CredentialError, PpmError
from ppmctl.patience import Patience
from ppmctl.simple import Index, PageFile, ProjectPage
from ppmctl.transport import PASSING, Answer, Transport, Unavailable, Unreachable, denied

State = Literal["new", "same", "conflict", "published"]

# How long an index may take to show what it has accepted. Ours shows it at once, one with a cache does not.
LOOKS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each look


class Lister(Protocol):
    """What is asked for a project's page; None where the index does not have it."""

    def project(self, name: str) -> ProjectPage | None: ...


# Posts a file and returns the answer; Unreachable.
Sender = Callable[[LocalFile], Answer]


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


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a file: "published" by this run, or "same", there already; of a dry run, what would.

    `url` is the file's in the index, "" where it has none yet.
    """

    file: LocalFile
    state: State
    url: str


def publish(
    paths: Iterable[Path],
    address: Address,
    credential: Credential | None,
    *,
    dry_run: bool = False,
    clean: bool = False,
) -> Iterator[Outcome]:
    """Publish what `paths` name (source trees and files) to the index at `address`; each outcome as it comes.

    With `dry_run` nothing is sent, and the outcomes are the plan. With `clean` source trees are built in a copy
    (`tree.copy`). CredentialError; UsageError for `paths`;
    PpmError for everything else, and then the same call goes on with what is missing.
    """
    from ppmctl import release, upload

    with release.workspace() as work, Transport(credential) as transport:
        files = release.collect(paths, work, clean=clean)
        for file in files:
            for warning in file.warnings:
                output.say(warning)
        index = Index(address, transport)
        _introduce(address, credential, dry_run=dry_run)
        plan = compare(files, index)
        if dry_run:
            for step in plan.steps:
                yield Outcome(file=step.file, state=step.state, url=step.listed.url if step.listed else "")
            return

        def send(file: LocalFile) -> Answer:
            answer = upload.send(file, address.upload, transport)
            if answer.status in (401, 403):
                raise denied(answer, credential, base=address.base)
            return answer

        sent = False
        try:
            for outcome in carry_out(plan, index, send):
                sent = sent or outcome.state == "published"
                yield outcome
        except BaseException as exc:
            # without a right to publish nothing arrived; otherwise it may have, even if no answer came
            work.keep = sent or not (plan.conflicts or isinstance(exc, CredentialError))
            raise


def _introduce(address: Address, credential: Credential | None, *, dry_run: bool) -> None:
    who = f"as {credential.username} (from {credential.source})" if credential else "without a credential"
    if credential is None and address.section is None and address.others:
        who += f" (~/.pypirc is about other indexes; by its sections' names: --index {' or '.join(address.others)})"
    output.say(f"{'Comparing with' if dry_run else 'Publishing to'} {address.base} {who}")
    if credential and address.is_overheard:
        output.say("Warning: this is plain HTTP; whoever listens on the way can read the credential.")


def compare(files: Iterable[LocalFile], index: Lister, *, patience: Callable[[], Patience] = Patience) -> Plan:
    """Read the index's pages of the projects that `files` are of, and plan.

    An index that says "not now" is waited for. One that does not answer at all is not: its URL may be wrong.
    """
    files = tuple(files)
    projects = sorted({file.project for file in files})
    return make_plan(files, {project: _read(index, project, patience(), sat_out=Unavailable) for project in projects})


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
        steps.append(Step(file=file, state=_state(file, listed), listed=listed))
    return Plan(steps=tuple(steps))


def carry_out(
    plan: Plan,
    index: Lister,
    send: Sender,
    *,
    patience: Callable[[], Patience] = Patience,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Outcome]:
    """Upload what is new, file by file, and yield each outcome once the index shows it.

    Trouble that passes is sat out, with a `patience` for each thing that is tried.

    PpmError before the first byte if the plan has a conflict. On a later failure the message says how many
    files are done; what was yielded is published and stays.
    """
    if plan.conflicts:
        raise _conflict(plan.conflicts)
    for number, step in enumerate(plan.steps):
        if step.listed is not None:
            yield Outcome(file=step.file, state="same", url=step.listed.url)
            continue
        try:
            state = _upload(step.file, index, send, patience)
            url = _confirm(step.file, index, patience, sleep)
        except PpmError as exc:
            done = f"{number} of {len(plan.steps)} files are in the index."
            hint = exc.hint or "Run the same again: it goes on with what is missing."
            raise type(exc)(f"{exc.message} {done}", hint=hint) from exc
        yield Outcome(file=step.file, state=state, url=url)


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
            if answer.status in (400, 409) and _is_there(file, index, patience()):
                # Somebody else sent the same file meanwhile; or an attempt of ours arrived, and its answer was lost.
                return "published" if again else "same"
            if answer.status not in PASSING:
                raise failure
        if not own.wait(failure, retry_after=retry_after):
            raise failure
        again = True


def _confirm(file: LocalFile, index: Lister, patience: Callable[[], Patience], sleep: Callable[[float], None]) -> str:
    """The URL of `file` in the index, once it is there with its sha256."""
    why = f"It is not in the index after {sum(LOOKS):.0f} seconds."
    for wait in LOOKS:
        if wait:
            sleep(wait)
        try:
            page = _read(index, file.project, patience())
        except Unreachable as exc:
            why = exc.message
            break
        listed = page.file(file.filename) if page is not None else None
        if listed is not None and _state(file, listed) == "same":
            return listed.url
        if listed is not None:
            raise PpmError(
                f"{file.filename} was accepted, but the index shows it with sha256 {_said(listed)},"
                f" not {file.sha256}.",
                hint="Do not install it. The index's audit.jsonl says who published what.",
            )
    raise PpmError(
        f"{file.filename} was accepted, but not seen in the index: {why}", hint="Run the same again to look."
    )


def _read(
    index: Lister, project: str, patience: Patience, *, sat_out: type[Unreachable] = Unreachable
) -> ProjectPage | None:
    """A project's page, asked for again while the trouble is of a kind that is `sat_out`; then that is raised."""
    while True:
        try:
            return index.project(project)
        except sat_out as exc:
            if not patience.wait(exc, retry_after=exc.retry_after):
                raise


def _conflict(conflicts: Iterable[Step]) -> PpmError:
    lines = [
        f"{step.file.filename}: here sha256 {step.file.sha256}, there {_said(step.listed)}" for step in conflicts
    ]
    return PpmError(
        "The index has files of the same names with other content:\n    " + "\n    ".join(lines),
        hint="Nothing was uploaded. A published file never changes: raise the version and publish that. If it is the"
        " same source, built again with other time stamps in it: publish the files of the first build.",
    )


def _is_there(file: LocalFile, index: Lister, patience: Patience) -> bool:
    page = _read(index, file.project, patience)
    listed = page.file(file.filename) if page is not None else None
    return _state(file, listed) == "same"


def _state(file: LocalFile, listed: PageFile | None) -> State:
    if listed is None:
        return "new"
    return "same" if listed.sha256 == file.sha256 else "conflict"


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


def _said(listed: PageFile | None) -> str:
    return listed.sha256 if listed is not None and listed.sha256 else "none to compare with"
