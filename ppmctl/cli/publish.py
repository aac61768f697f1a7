"""`ppmctl publish`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from ppmctl import output
from ppmctl.cli.options import json_option
from ppmctl.cli.target import credential_option, index_option
from ppmctl.client import credential, index_url
from ppmctl.errors import EXIT_FAILED, Interrupted, PpmError, UsageError
from ppmctl.publishing.plan import Plan
from ppmctl.publishing.publish import Report, Request
from ppmctl.publishing.publish import publish as run
from ppmctl.publishing.release_state import Wanted


@click.command()
@click.argument("paths", metavar="[DIR|FILE]...", nargs=-1, type=click.Path(path_type=Path))
@index_option
@credential_option
@click.option("--dry-run", is_flag=True, help="Build, check and compare; upload nothing. 1 if there is a conflict.")
@click.option(
    "--bump",
    metavar="major|minor|patch|pre|VERSION",
    help="Raise the project's version first, and commit that once the files are in the index.",
)
@click.option(
    "--changelog", is_flag=True, help="Make what is unreleased in the changelog the section of the version."
)
@click.option("--tag", is_flag=True, help="Tag the commit in git once the files are in the index.")
@click.option(
    "--skip-build",
    is_flag=True,
    help="Build nothing: publish what DIR/dist has of the project's current version.",
)
@click.option(
    "--clean",
    is_flag=True,
    help="Build a copy of the project without what earlier builds left in it; its folder is not written to.",
)
@click.option(
    "--allow-packed",
    "allowed",
    metavar="GLOB",
    multiple=True,
    help="Packed files that are right though they look like a secret, a cache or something forgotten.",
)
@click.option("-y", "--yes", is_flag=True, help="Don't ask before the first upload; only a terminal is asked.")
@json_option
def publish(
    paths: tuple[Path, ...],
    index: str | None,
    credential_file: Path | None,
    dry_run: bool,
    bump: str | None,
    changelog: bool,
    tag: bool,
    skip_build: bool,
    clean: bool,
    allowed: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> int:
    """Publish each DIR, a project's folder, which is built, and each FILE, such as dist/*. Without one: this folder.

    A file counts as published when the index shows it with the same sha256. One that is there already is left
    alone, so the same command can be run again after it broke off; one that is there with other content stops
    everything before the first byte. Prints a line for each file: what became of it, its name, its sha256.
    """
    report = Report()
    request: Request | None = None
    try:
        request = _request(
            index,
            credential_file,
            paths=paths or (Path(),),
            dry_run=dry_run,
            release=Wanted(bump=bump, changelog=changelog, tag=tag) if bump or changelog or tag else None,
            skip_build=skip_build,
            clean=clean,
            allowed=allowed,
        )
        for outcome in run(request, report, agree=lambda plan: _agree(plan, yes=yes)):
            if not as_json:
                output.data(f"{outcome.state:9}  {outcome.file.filename}  {outcome.sha256}")
    except PpmError as exc:
        exc.done = _json(request, report)
        raise
    except (KeyboardInterrupt, click.Abort) as exc:
        interrupted = Interrupted()
        interrupted.done = _json(request, report)
        raise interrupted from exc
    if as_json:
        output.as_json(_json(request, report))
    if report.push:
        output.say(f"To push it: {report.push}")
    return EXIT_FAILED if any(outcome.state == "conflict" for outcome in report.outcomes) else 0


def _request(index: str | None, credential_file: Path | None, **how: Any) -> Request:
    environ, home = os.environ, Path.home()
    target = index_url.resolve_for_upload(index, environ=environ, home=home)
    found = credential.find(target, file=credential_file, environ=environ, home=home)
    authorities = environ.get("TWINE_CERT") or None
    if authorities is not None and not Path(authorities).is_file():
        raise UsageError(
            f"TWINE_CERT names {authorities}, which is no file.", hint="It is a PEM file of authorities."
        )
    return Request(address=target, credential=found, authorities=authorities, **how)


def _agree(plan: Plan, *, yes: bool) -> None:
    """Show what will be done; where somebody is there to say so, only once they have. PpmError if they say no."""
    new = [step.file for step in plan.new]
    if not output.stderr_is_terminal():
        there = len(plan.steps) - len(new)
        amount = output.size(sum(file.size for file in new))
        output.say(f"Uploading {output.count(len(new), 'file')}, {amount}{f'; {there} are there' if there else ''}")
        return
    rows = [(step.file.filename, step.state, output.Bytes(step.file.size)) for step in plan.steps]
    output.table(("FILE", "STATE", "SIZE"), rows, talk=True)
    asked = not yes and sys.stdin is not None and sys.stdin.isatty()
    if asked and not click.confirm(f"Upload {output.count(len(new), 'file')}?", err=True):
        raise PpmError("Nothing was uploaded: it was not confirmed.", hint="--yes uploads without a question.")


def _json(request: Request | None, report: Report) -> dict[str, Any]:
    versions = {str(step.file.dist.name.version) for step in report.plan.steps} if report.plan else set()
    credential, release = request.credential if request else None, report.release
    is_finished = report.push is not None
    return {
        "index": request.address.base if request else None,
        "username": credential.username if credential else None,
        "version": versions.pop() if len(versions) == 1 else None,
        "tag": (release.state.tag or None) if release else None,
        "commit": (release.repository.head or None) if release and release.repository and is_finished else None,
        "plan": [
            {"filename": step.file.filename, "state": step.state, "size": step.file.size}
            for step in (report.plan.steps if report.plan else ())
        ],
        "files": [
            {
                "filename": outcome.file.filename,
                "project": outcome.file.project,
                "version": str(outcome.file.dist.name.version),
                "sha256": outcome.sha256,
                "size": outcome.size,
                "state": outcome.state,
                "url": outcome.url or None,
            }
            for outcome in report.outcomes
        ],
    }
