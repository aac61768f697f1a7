"""`ppmctl publish`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ppmctl import output
from ppmctl.cli.options import json_option
from ppmctl.cli.target import credential_option, index_option
from ppmctl.client import credential, index_url
from ppmctl.errors import EXIT_FAILED, Interrupted, PpmError, UsageError
from ppmctl.publishing.plan import Plan
from ppmctl.publishing.publish import Report, Request
from ppmctl.publishing.publish import publish as run

if TYPE_CHECKING:
    from ppmctl.publishing.release_state import ReleaseOptions


@click.command()
@click.argument("paths", metavar="[DIR|FILE]...", nargs=-1, type=click.Path(path_type=Path))
@index_option
@credential_option
@click.option(
    "--dry-run", is_flag=True, help="Build, check and compare, but upload nothing. Exits with 1 on a conflict."
)
@click.option(
    "--bump",
    metavar="major|minor|patch|pre|VERSION",
    help="Raise the project's version first, and commit the change when the files are in the index.",
)
@click.option(
    "--changelog", is_flag=True, help="Turn the changelog's unreleased section into the section of the version."
)
@click.option("--tag", is_flag=True, help="Tag the commit in git when the files are in the index.")
@click.option(
    "--skip-build",
    is_flag=True,
    help="Build nothing; publish the files of the project's current version that are in DIR/dist.",
)
@click.option(
    "--clean",
    is_flag=True,
    help="Build a copy of the project without the leftovers of earlier builds; writes nothing to its folder.",
)
@click.option(
    "--allow-packed",
    "allowed",
    metavar="GLOB",
    multiple=True,
    help="Packed files to accept although they look like a secret, a cache or a leftover. May be repeated.",
)
@click.option(
    "-y", "--yes", is_flag=True, help="Do not ask before the first upload. Without a terminal, nothing is asked."
)
@json_option
def publish(
    paths: tuple[Path, ...],
    index: str | None,
    credential_file: Path | None,
    bump: str | None,
    changelog: bool,
    tag: bool,
    yes: bool,
    as_json: bool,
    **how: Any,
) -> int:
    """Build and publish each DIR, a project's folder, and publish each FILE, such as dist/*. Default: this folder.

    A file is published when the index shows it with the same sha256. Files that the index has already are skipped, so
    you can repeat a command that was interrupted; if the index has one with other content, nothing is uploaded.
    Prints one line per file: the outcome, the name and the sha256.
    """
    report = Report()
    request: Request | None = None
    try:
        release = _release(bump=bump, changelog=changelog, tag=tag) if bump or changelog or tag else None
        request = _request(index, credential_file, paths=paths or (Path(),), release=release, **how)
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


def _release(**options: Any) -> ReleaseOptions:
    from ppmctl.publishing.release_state import ReleaseOptions

    return ReleaseOptions(**options)


def _request(index: str | None, credential_file: Path | None, **how: Any) -> Request:
    environ, home = os.environ, Path.home()
    target = index_url.resolve_for_upload(index, environ=environ, home=home)
    stored = credential.find(target, file=credential_file, environ=environ, home=home)
    authorities = environ.get("TWINE_CERT") or None
    if authorities is not None and not Path(authorities).is_file():
        hint = "Set it to a PEM file of certificate authorities."
        raise UsageError(f"TWINE_CERT names {authorities}, which is not a file.", hint=hint)
    return Request(address=target, credential=stored, authorities=authorities, **how)


def _agree(plan: Plan, *, yes: bool) -> None:
    """Show the plan, and ask for confirmation on a terminal. Raise PpmError where it is denied."""
    new = [step.file for step in plan.new]
    if not output.stderr_is_terminal():
        skipped = len(plan.steps) - len(new)
        amount = output.size(sum(file.size for file in new))
        ending = f"; {skipped} are in the index already" if skipped else ""
        output.say(f"Uploading {output.count(len(new), 'file')}, {amount}{ending}")
        return
    rows = [
        (step.file.filename, step.state, output.Bytes(step.file.size), ", ".join(step.other_builds))
        for step in plan.steps
    ]
    has_others = any(step.other_builds for step in plan.steps)
    columns = ("FILE", "STATE", "SIZE", *(["BESIDE"] if has_others else []))
    output.table(columns, [row[: len(columns)] for row in rows], talk=True)
    can_ask = not yes and sys.stdin is not None and sys.stdin.isatty()
    if can_ask and not click.confirm(f"Upload {output.count(len(new), 'file')}?", err=True):
        raise PpmError("Nothing was uploaded: it was not confirmed.", hint="--yes uploads without asking.")


def _json(request: Request | None, report: Report) -> dict[str, Any]:
    versions = {str(step.file.dist.name.version) for step in report.plan.steps} if report.plan else set()
    credential, release = request.credential if request else None, report.release
    is_finished = report.push is not None
    return {
        "index": request.address.base if request else None,
        "username": credential.username if credential else None,
        "version": versions.pop() if len(versions) == 1 else None,
        "tag": (release.changes.tag or None) if release else None,
        "commit": (release.repository.head or None) if release and release.repository and is_finished else None,
        "plan": [
            {
                "filename": step.file.filename,
                "state": step.state,
                "size": step.file.size,
                **({"other_builds": step.other_builds} if step.other_builds else {}),
            }
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
