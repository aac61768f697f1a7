"""The files of a plan to an index, each until the index shows it with the same sha256."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ppmctl.errors import PpmError, Unreachable
from ppmctl.patience import Patience
from ppmctl.project_page import PageFile
from ppmctl.publishing.check import LocalFile
from ppmctl.publishing.plans import Lister, Plan, State, Step, conflict, read, said, state_of
from ppmctl.transport import PASSING, Answer

# How long an index may take to show what it has accepted. Ours shows it at once, one with a cache does not.
LOOKS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each look

# Posts a file and returns the answer; Unreachable.
Sender = Callable[[LocalFile], Answer]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a file: "published" by this run, or "same", there already; of a dry run, what would.

    `url` is the file's in the index, "" where it has none yet; `sha256` and `size` are those of the file in the
    index, or here.
    """

    file: LocalFile
    state: State
    url: str
    sha256: str
    size: int


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
        raise conflict(plan.conflicts)
    for number, step in enumerate(plan.steps):
        if step.listed is not None:
            yield there(step, step.listed)
            continue
        try:
            state = _upload(step.file, index, send, patience)
            url = _confirm(step.file, index, patience, sleep)
        except PpmError as exc:
            done = f"{number} of {len(plan.steps)} files are in the index."
            hint = exc.hint or "Run the same again: it goes on with what is missing."
            raise type(exc)(f"{exc.message} {done}", hint=hint) from exc
        yield here(step.file, state, url)


def there(step: Step, listed: PageFile) -> Outcome:
    """That of a file that the index has already: it may have been built again since."""
    size = step.file.size if listed.size is None else listed.size
    sha256 = listed.sha256 or step.file.sha256
    return Outcome(file=step.file, state="same", url=listed.url, sha256=sha256, size=size)


def here(file: LocalFile, state: State, url: str) -> Outcome:
    """That of a file whose bytes are those on this machine."""
    return Outcome(file=file, state=state, url=url, sha256=file.sha256, size=file.size)


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
            page = read(index, file.project, patience())
        except Unreachable as exc:
            why = exc.message
            break
        listed = page.file(file.filename) if page is not None else None
        if listed is not None and state_of(file, listed) == "same":
            return listed.url
        if listed is not None:
            raise PpmError(
                f"{file.filename} was accepted, but the index shows it with sha256 {said(listed)},"
                f" not {file.sha256}.",
                hint="Do not install it. The index's audit.jsonl says who published what.",
            )
    raise PpmError(
        f"{file.filename} was accepted, but not seen in the index: {why}", hint="Run the same again to look."
    )


def _is_there(file: LocalFile, index: Lister, patience: Patience) -> bool:
    page = read(index, file.project, patience)
    listed = page.file(file.filename) if page is not None else None
    return state_of(file, listed) == "same"


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
