"""Upload the new files of a plan one by one, again after a temporary failure, until the index shows each file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from ppmctl.client.http import TEMPORARY, Answer
from ppmctl.client.retry import Retries
from ppmctl.errors import PpmError, Unreachable
from ppmctl.publishing.check import LocalFile
from ppmctl.publishing.plan import Lister, Plan, State, Step, listed_sha256, step_of

# Seconds before each look for an uploaded file. A ppm index shows it at once, one with a cache does not.
LOOKS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)

# What to do about a refused upload, by HTTP status.
_HINTS = {
    **dict.fromkeys((404, 405), "Does the index take uploads at {url}? A section in ~/.pypirc can name another URL."),
    409: "A published file never changes, and a removed one never comes back: raise the version and publish that.",
    413: "Raise the limit: ppmctl serve --max-upload-size. A proxy in front has a limit of its own.",
}

Sender = Callable[[LocalFile], Answer]  # posts a file; raises Unreachable


def carry_out(
    plan: Plan,
    index: Lister,
    send: Sender,
    *,
    retries: Callable[[], Retries] = Retries,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Step]:
    """Upload the new files one by one, and yield each step once the index shows its file.

    Each attempt has its own `retries`. Raise PpmError for a conflict before anything is sent. A later error says how
    many files are done; files of yielded steps stay in the index.
    """
    if plan.conflicts:
        lines = "".join(
            f"\n    {step.file.filename}: here sha256 {step.file.sha256}, in the index {_listed(step)}"
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
            state = _upload(step.file, index, send, retries)
            yield replace(_confirmed(step.file, index, retries, sleep), state=state)
        except PpmError as exc:
            done = f"{number} of {len(plan.steps)} files are in the index."
            hint = exc.hint or "Run the same command again: it uploads what is missing."
            raise type(exc)(f"{exc.message} {done}", hint=hint) from exc


def _listed(step: Step) -> str:
    is_renamed = step.listed is not None and step.listed.filename != step.file.filename
    return f"as {step.listed.filename}, {listed_sha256(step)}" if step.listed and is_renamed else listed_sha256(step)


def _upload(file: LocalFile, index: Lister, send: Sender, retries: Callable[[], Retries]) -> State:
    """Send `file`, again if that may help; return "same" if another user has published it in the meantime."""
    own, is_repeated = retries(), False
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
            if answer.status in (400, 409) and _look(file, index, retries).state == "same":
                # An earlier attempt arrived and its answer was lost, or another user sent the same file.
                return "published" if is_repeated else "same"
            if answer.status not in TEMPORARY:
                raise failure
        if not own.wait(failure, retry_after=retry_after):
            raise failure
        is_repeated = True


def _confirmed(
    file: LocalFile, index: Lister, retries: Callable[[], Retries], sleep: Callable[[float], None]
) -> Step:
    """Return the step of `file` once the index has it with its sha256; raise PpmError if that does not happen."""
    why = f"It is not in the index after {sum(LOOKS):.0f} seconds."
    for wait in LOOKS:
        if wait:
            sleep(wait)
        try:
            step = _look(file, index, retries)
        except Unreachable as exc:
            why = exc.message
            break
        if step.state == "same":
            return step
        if step.state == "conflict":
            raise PpmError(
                f"{file.filename} was accepted, but the index shows it with sha256 {listed_sha256(step)},"
                f" not {file.sha256}.",
                hint="Do not install it. The index's audit.jsonl records who published what.",
            )
    raise PpmError(
        f"{file.filename} was accepted, but not seen in the index: {why}", hint="Run the same command again to check."
    )


def _look(file: LocalFile, index: Lister, retries: Callable[[], Retries]) -> Step:
    return step_of(file, retries().retry(lambda: index.project(file.project), Unreachable))


def _failure(file: LocalFile, answer: Answer) -> PpmError:
    if answer.location:
        return PpmError(
            f"{file.filename}: the index redirects uploads from {answer.url} to {answer.location}.",
            hint="Give the index's new URL to --index.",
        )
    hint = _HINTS.get(answer.status, "").format(url=answer.url)
    return PpmError(f"{file.filename} was refused ({answer.status}): {answer.says}.", hint=hint)
