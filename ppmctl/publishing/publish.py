"""Publish files or source trees to an index, and check that it shows them with the same sha256.

try the index → build → check → compare with the index → plan (new, same, conflict) → upload → look in the index. A
conflict stops it before anything is sent. The same call can be repeated: files that are in the index are "same".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ppmctl import events
from ppmctl.client import identity
from ppmctl.client.credential import Credential
from ppmctl.client.download import Source
from ppmctl.client.http import TEMPORARY, Answer, Transport
from ppmctl.client.index_url import Address
from ppmctl.client.retry import Retries
from ppmctl.client.simple_api import Index
from ppmctl.distributions import inspection
from ppmctl.distributions.distribution import normalise, parse_filename
from ppmctl.distributions.names import is_normalised
from ppmctl.errors import PpmError, UsageError, some
from ppmctl.publishing import same_content, upload
from ppmctl.publishing.check import LocalFile
from ppmctl.publishing.plan import Plan, Step, compare
from ppmctl.publishing.upload_loop import carry_out
from ppmctl.publishing.workspace import select, workspace

if TYPE_CHECKING:  # what only a release needs is imported for one
    from ppmctl.publishing.release_flow import Release
    from ppmctl.publishing.release_state import ReleaseOptions


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to publish (source trees and files), to which index, and how.

    `clean`, `skip_build` and `allowed` are those of a Workspace. `release` makes a release of the one project that is
    named. `authorities` is a file of certificate authorities to trust instead of the default ones.
    """

    paths: tuple[Path, ...]
    address: Address
    credential: Credential | None
    dry_run: bool = False
    clean: bool = False
    skip_build: bool = False
    allowed: tuple[str, ...] = ()
    release: ReleaseOptions | None = None
    authorities: str | None = None


@dataclass(kw_only=True)
class Report:
    """What is known of a publish, also if it failed. `push` is the command that pushes a finished release."""

    plan: Plan | None = None
    outcomes: list[Step] = field(default_factory=list)
    release: Release | None = None
    push: str | None = None


# Gets the plan before a new file is sent; raises to stop.
Agree = Callable[[Plan], None]


def publish(request: Request, report: Report, *, agree: Agree = lambda _plan: None) -> Iterator[Step]:
    """Publish a request, yield each outcome, and collect them in `report`; of a dry run yield the plan.

    Raise CredentialError; UsageError for the paths; PpmError for other failures. The same call then continues, and if
    nothing was sent yet, a release's changes in the project are undone.
    """
    address, is_dry = request.address, request.dry_run
    if any(map(os.path.isfile, request.paths)):
        inspection.start(threads=1)  # while this process imports the libraries of HTTP
    how = {"clean": request.clean, "skip_build": request.skip_build, "allowed": request.allowed, "host": address.host}
    with (
        workspace(**how) as work,
        Transport(request.credential, address.base, ca=request.authorities) as transport,
    ):
        _introduce(request)
        index = Index(address, transport)
        release = report.release = _begin(request, index)
        paths = release.built if release is not None and release.built else request.paths
        if not request.skip_build:
            _try_index(select(paths).trees, index, transport, is_dry=is_dry)
        may_have_arrived = False

        def send(file: LocalFile) -> Answer:
            nonlocal may_have_arrived
            may_have_arrived = True
            answer = upload.send(file, address.upload, transport)
            has_arrived = any(step.state == "published" for step in report.outcomes)
            may_have_arrived = has_arrived or answer.status < 300 or answer.status in TEMPORARY
            return answer if answer.status in TEMPORARY else transport.checked(answer)

        try:
            if release is not None and is_dry:
                work.prepare = release.applied_to
            elif release is not None:
                release.apply()
            files = _files(work.collect(paths), release)
            report.plan = plan = same_content.accept_rebuilt(compare(files, index), Source(transport))
            for line in (*_public_names(plan, address, transport), *_second_builds(plan)):
                events.note(line)
            if plan.new and (request.credential is not None or not is_dry):
                identity.may_publish(address, transport, sorted({step.file.project for step in plan.new}))
            if plan.new and not plan.conflicts and not is_dry:
                agree(plan)
                if release is not None:
                    release.store_built([step.file.path for step in plan.steps])
            for step in plan.steps if is_dry else carry_out(plan, index, send):
                report.outcomes.append(step)
                yield step
            if release is not None and not is_dry:
                may_have_arrived = True
                report.push = release.finish()
        except BaseException:
            if release is not None and not is_dry and not may_have_arrived:
                release.undo()
            work.keep = may_have_arrived and release is None  # a release stores its files itself
            raise


def _begin(request: Request, index: Index) -> Release | None:
    """Return the release to make, planned with the project's versions in the index; None without one."""
    options = request.release
    if options is None:
        return None
    from ppmctl.publishing import project_version, release_flow

    if len(request.paths) != 1 or not request.paths[0].is_dir():
        raise UsageError("--bump, --changelog and --tag are about one project: give its folder, or nothing.")
    if request.skip_build and (options.bump or options.changelog):
        raise UsageError(
            "--bump and --changelog change what is built, and --skip-build builds nothing.", hint="Leave one out."
        )
    folder = request.paths[0].resolve()
    if not request.dry_run and not os.access(folder, os.W_OK):
        raise UsageError(
            f"{folder} is not writable here, and a release changes and commits files in it.",
            hint="Make the release where the project is checked out; or raise the version and commit there, and"
            " publish from here without --bump, --changelog and --tag.",
        )
    project = project_version.read(folder)
    name = normalise(project.name)
    page = Retries().retry(lambda: index.project(name)) if name else None
    releases = page.releases if page is not None else ()
    release = release_flow.plan(project, options, releases[0].version if releases else None)
    for line in filter(None, (*release.warnings, *release.summary(), *release.diff().split("\n"))):
        events.note(line)
    return release


def _try_index(projects: Sequence[Path], index: Index, transport: Transport, *, is_dry: bool) -> None:
    """Ask the index before a build, which can take long; raise if it or its answer would fail the publish."""
    if not projects:
        return
    from ppmctl.publishing import project_version

    for folder in projects:
        name = normalise(project_version.name(folder))
        names = [name] if is_normalised(name) else []
        # any name shows whether the index answers
        Retries().retry(partial(index.project, *(names or ["unknown"])))
        if transport.credential is not None or not is_dry:
            identity.may_publish(index.address, transport, names)


def _files(files: tuple[LocalFile, ...], release: Release | None) -> tuple[LocalFile, ...]:
    """Print the warnings of files, and return them; raise PpmError if their version is not that of the release."""
    named: dict[str, list[str]] = {}
    for file in files:
        for warning in file.warnings:
            named.setdefault(warning, []).append(file.filename)
    for warning, filenames in named.items():
        events.note(f"{some(filenames)}: {warning}.")
    for file in files:
        if release is not None and file.dist.name.version != release.changes.new:
            raise PpmError(
                f"The build made {file.filename}, but {release.changes.new} is to be released.",
                hint="Nothing was uploaded. Check where the build takes its version from.",
            )
    return files


def _public_names(plan: Plan, address: Address, transport: Transport) -> list[str]:
    if not plan.missing:
        return []
    from ppmctl.publishing import public_names

    return public_names.warnings(plan.missing, address, transport)


def _second_builds(plan: Plan) -> Iterator[str]:
    for step in plan.new:
        own = step.file.dist.name.version
        builds = [other for other in step.other_builds if parse_filename(other).version == own]
        public = [other for other in step.other_builds if other not in builds]
        for others, kind, wanted in ((builds, "second build", own), (public, "local version", own.public)):
            if others:
                what = f"{step.file.filename} is a {kind} of {some(others)}, which the index has"
                yield f"Warning: {what}. Installers may take it for =={wanted}."


def _introduce(request: Request) -> None:
    address, credential = request.address, request.credential
    user = f"as {credential.username} (from {credential.source})" if credential else "without a credential"
    if credential is None and address.section is None and address.others:
        user += f" (~/.pypirc is about other indexes; by its sections' names: --index {' or '.join(address.others)})"
    events.note(f"{'Comparing with' if request.dry_run else 'Publishing to'} {address.base} {user}")
    if credential and address.is_overheard:
        events.note("Warning: this is plain HTTP; others on the network can read the credential.")
