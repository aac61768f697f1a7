"""A release, from files on this machine to an index that shows them with the same sha256.

files → check → compare with the index → plan (new, same, conflict) → upload → seen in the index. A conflict
stops it before the first byte; when it broke off, the same call again finds "same" and goes on with the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ppmctl import output
from ppmctl.address import Address
from ppmctl.check import LocalFile, demand_leave
from ppmctl.credential import Credential
from ppmctl.errors import CredentialError
from ppmctl.plans import Plan, compare
from ppmctl.sending import Outcome, carry_out
from ppmctl.simple import Index
from ppmctl.transport import Answer, Transport, denied


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be published, where, as whom, and how.

    `paths` are source trees and files. With `dry_run` nothing is sent. With `clean` trees are built in a copy
    (`tree.copy`), with `skip_build` what their dist/ has of their current version is taken. `allowed` are globs of
    packed files that are right whatever they look like. `authorities` is a file of those to trust instead of others.
    """

    paths: tuple[Path, ...]
    address: Address
    credential: Credential | None
    dry_run: bool = False
    clean: bool = False
    skip_build: bool = False
    allowed: tuple[str, ...] = ()
    authorities: str | None = None


@dataclass(kw_only=True)
class Report:
    """What is known so far of a publish, also of one that failed: the plan, and what was done of it."""

    plan: Plan | None = None
    outcomes: list[Outcome] = field(default_factory=list)


# Is told the plan before the first byte of something new is sent; raises to stop.
Agree = Callable[[Plan], None]


def publish(wish: Wish, report: Report, *, agree: Agree = lambda _plan: None) -> Iterator[Outcome]:
    """Publish what is wished for; each outcome as it comes. `report` has them all, also when it fails.

    Of a dry run the outcomes are the plan. CredentialError; UsageError for the paths; PpmError for everything else,
    and then the same call goes on with what is missing.
    """
    from ppmctl import rebuilt, release, session, upload
    from ppmctl.download import Source

    address, credential = wish.address, wish.credential
    with release.workspace() as work, Transport(credential, ca=wish.authorities) as transport:
        files = release.collect(wish.paths, work, clean=wish.clean, skip_build=wish.skip_build, allowed=wish.allowed)
        for file in files:
            for warning in file.warnings:
                output.say(warning)
        index = Index(address, transport)
        _introduce(wish)
        for file in files:
            demand_leave(file, address.host)
        report.plan = plan = rebuilt.settle(compare(files, index), Source(address, transport))
        if plan.new:
            session.may_publish(address, transport, sorted({step.file.project for step in plan.new}))
        if wish.dry_run:
            for step in plan.steps:
                report.outcomes.append(
                    Outcome(
                        file=step.file,
                        state=step.state,
                        url=step.listed.url if step.listed else "",
                        sha256=step.file.sha256,
                    )
                )
                yield report.outcomes[-1]
            return
        if plan.new and not plan.conflicts:
            agree(plan)

        def send(file: LocalFile) -> Answer:
            answer = upload.send(file, address.upload, transport)
            if answer.status in (401, 403):
                raise denied(answer, credential, base=address.base)
            return answer

        sent = False
        try:
            for outcome in carry_out(plan, index, send):
                sent = sent or outcome.state == "published"
                report.outcomes.append(outcome)
                yield outcome
        except BaseException as exc:
            # without a right to publish nothing arrived; otherwise it may have, even if no answer came
            work.keep = sent or not (plan.conflicts or isinstance(exc, CredentialError))
            raise


def _introduce(wish: Wish) -> None:
    address, credential = wish.address, wish.credential
    who = f"as {credential.username} (from {credential.source})" if credential else "without a credential"
    if credential is None and address.section is None and address.others:
        who += f" (~/.pypirc is about other indexes; by its sections' names: --index {' or '.join(address.others)})"
    output.say(f"{'Comparing with' if wish.dry_run else 'Publishing to'} {address.base} {who}")
    if credential and address.is_overheard:
        output.say("Warning: this is plain HTTP; whoever listens on the way can read the credential.")
