"""A release, from files on this machine to an index that shows them with the same sha256.

files → check → compare with the index → plan (new, same, conflict) → upload → seen in the index. A conflict
stops it before the first byte; when it broke off, the same call again finds "same" and goes on with the rest.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from ppmctl import events
from ppmctl.address import Address
from ppmctl.credential import Credential
from ppmctl.dists import InvalidDistribution, normalise, parse_filename
from ppmctl.errors import PpmError, Unavailable, UsageError
from ppmctl.patience import Patience
from ppmctl.project_page import ProjectPage
from ppmctl.publishing import rehearsal
from ppmctl.publishing.check import LocalFile, demand_leave
from ppmctl.publishing.plans import Plan, compare, read
from ppmctl.publishing.sending import Outcome, carry_out, here, there
from ppmctl.simple import Index
from ppmctl.transport import PASSING, Answer, Transport

if TYPE_CHECKING:
    from ppmctl.publishing.raising import Raise
    from ppmctl.publishing.release import Workspace


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be published, where, as whom, and how.

    `paths` are source trees and files. With `dry_run` nothing is sent. With `clean` trees are built in a copy
    (`tree.copy`), with `skip_build` what their dist/ has of their current version is taken. `allowed` are globs of
    packed files that are right whatever they look like. `bump`, `changelog` and `tag` make it a release
    (`raising.plan`). `authorities` is a file of those to trust instead of others.
    """

    paths: tuple[Path, ...]
    address: Address
    credential: Credential | None
    dry_run: bool = False
    clean: bool = False
    skip_build: bool = False
    allowed: tuple[str, ...] = ()
    bump: str | None = None
    changelog: bool = False
    tag: bool = False
    authorities: str | None = None


@dataclass(kw_only=True)
class Report:
    """What is known so far of a publish, also of one that failed: the plan, and what was done of it.

    `raised` is the release around it; `push` the command that pushes that, once it is done.
    """

    plan: Plan | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    raised: Raise | None = None
    push: str | None = None

    @property
    def published(self) -> tuple[Outcome, ...]:
        """What is in the index by this run."""
        return tuple(outcome for outcome in self.outcomes if outcome.state == "published")


# Is told the plan before the first byte of something new is sent; raises to stop.
Agree = Callable[[Plan], None]


def publish(wish: Wish, report: Report, *, agree: Agree = lambda _plan: None) -> Iterator[Outcome]:
    """Publish what is wished for; each outcome as it comes. `report` has them all, also when it fails.

    Of a dry run the outcomes are the plan. CredentialError; UsageError for the paths; PpmError for everything else,
    and then the same call goes on with what is missing. What a release changes in the project is put back where it
    fails before the first byte was sent.
    """
    from ppmctl.publishing import release, upload

    address, credential = wish.address, wish.credential
    with release.workspace() as work, Transport(credential, address.base, ca=wish.authorities) as transport:
        index = Index(address, transport)
        _introduce(wish)
        raised = report.raised = _begin(wish, index)
        may_have_arrived = False
        try:
            if raised is not None and not wish.dry_run:
                raised.apply()
            files = _files(wish, work, raised)
            report.plan = plan = _plan(wish, files, index, transport)
            if wish.dry_run:
                for step in plan.steps:
                    listed = step.listed
                    report.outcomes.append(
                        there(step, listed)
                        if listed and step.state == "same"
                        else here(step.file, step.state, listed.url if listed else "")
                    )
                    yield report.outcomes[-1]
                return
            if plan.new and not plan.conflicts:
                agree(plan)
                if raised is not None:
                    raised.keep([step.file.path for step in plan.steps])

            def send(file: LocalFile) -> Answer:
                nonlocal may_have_arrived
                may_have_arrived = True
                answer = upload.send(file, address.upload, transport)
                taken = answer.status < 300 or answer.status in PASSING
                may_have_arrived = taken or bool(report.published)
                return answer if answer.status in PASSING else transport.checked(answer)

            for outcome in carry_out(plan, index, send):
                report.outcomes.append(outcome)
                yield outcome
            if raised is not None:
                may_have_arrived = True
                report.push = raised.finish()
        except BaseException:
            if raised is not None and not wish.dry_run and not may_have_arrived:
                raised.undo()
            # a release has kept its files already
            work.keep = may_have_arrived and raised is None
            raise


def _begin(wish: Wish, index: Index) -> Raise | None:
    """The release that is asked for, with what the index has of the project; None if it is only to be published."""
    if not (wish.bump or wish.changelog or wish.tag):
        return None
    from ppmctl.publishing import raising

    if len(wish.paths) != 1 or not wish.paths[0].is_dir():
        raise UsageError("--bump, --changelog and --tag are about one project: give its folder, or nothing.")
    (project,) = wish.paths
    if wish.skip_build and (wish.bump or wish.changelog):
        raise UsageError(
            "--bump and --changelog change what is built, and --skip-build builds nothing.", hint="Leave one out."
        )
    if not wish.dry_run and not os.access(project, os.W_OK):
        raise UsageError(
            f"{project.resolve()} can't be written to from here, and a release changes and commits it.",
            hint="Make the release where the project is checked out; or raise the version and commit there, and"
            " publish from here without --bump, --changelog and --tag.",
        )
    name = raising.project_name(project)
    page = read(index, normalise(name), Patience(), sat_out=Unavailable) if name else None
    published = _highest(page) if page is not None else None
    raised = raising.plan(project, bump=wish.bump, changelog=wish.changelog, tag=wish.tag, published=published)
    for line in (*raised.warnings, *raised.said()):
        events.note(line)
    if changes := rehearsal.diff(raised):
        events.note(changes)
    return raised


def _highest(page: ProjectPage) -> Version | None:
    """The highest version that the index has a file of."""
    found = []
    for file in page.files:
        with contextlib.suppress(InvalidDistribution):
            found.append(parse_filename(file.filename).version)
    return max(found, default=None)


def _files(wish: Wish, work: Workspace, raised: Raise | None) -> tuple[LocalFile, ...]:
    """What is to be published, built and checked. PpmError where it is not of the version that is released."""
    from ppmctl.publishing import release

    rehearse = None if raised is None or not wish.dry_run else partial(rehearsal.in_copy, raised)
    files = release.collect(
        wish.paths if raised is None or not raised.built else raised.built,
        work,
        clean=wish.clean,
        skip_build=wish.skip_build,
        allowed=wish.allowed,
        rehearse=rehearse,
    )
    for file in files:
        for warning in file.warnings:
            events.note(warning)
        demand_leave(file, wish.address.host)
        if raised is not None and file.dist.name.version != raised.new:
            raise PpmError(
                f"{file.filename} is what was built, and {raised.new} is to be released.",
                hint="Nothing was uploaded. Where does the build have its version from?",
            )
    return files


def _plan(wish: Wish, files: tuple[LocalFile, ...], index: Index, transport: Transport) -> Plan:
    """What the index makes of the files; CredentialError where it tells that they may not be published."""
    from ppmctl import session
    from ppmctl.download import Source
    from ppmctl.publishing import rebuilt

    plan = rebuilt.settle(compare(files, index), Source(transport))
    if plan.new:
        session.may_publish(wish.address, transport, sorted({step.file.project for step in plan.new}))
    return plan


def _introduce(wish: Wish) -> None:
    address, credential = wish.address, wish.credential
    who = f"as {credential.username} (from {credential.source})" if credential else "without a credential"
    if credential is None and address.section is None and address.others:
        who += f" (~/.pypirc is about other indexes; by its sections' names: --index {' or '.join(address.others)})"
    events.note(f"{'Comparing with' if wish.dry_run else 'Publishing to'} {address.base} {who}")
    if credential and address.is_overheard:
        events.note("Warning: this is plain HTTP; whoever listens on the way can read the credential.")
