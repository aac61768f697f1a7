"""`ppmctl publish`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ppmctl import output
from ppmctl.cli.target import credential_option, index_option
from ppmctl.errors import EXIT_FAILED, PpmError

if TYPE_CHECKING:
    from ppmctl.publish import Outcome


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
@index_option
@credential_option
@click.option("--dry-run", is_flag=True, help="Build, check and compare; upload nothing. 1 if there is a conflict.")
@click.option(
    "--clean",
    is_flag=True,
    help="Build a copy of the project without what earlier builds left in it; its folder is not written to.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def publish(
    paths: tuple[Path, ...],
    index: str | None,
    credential_file: Path | None,
    dry_run: bool,
    clean: bool,
    as_json: bool,
) -> int:
    """Publish each PATH: a project's folder, which is built, or files such as dist/*. Without one: this folder.

    A file counts as published when the index shows it with the same sha256. One that is there already is left
    alone, so the same command can be run again after it broke off; one that is there with other content stops
    everything before the first byte. Prints a line for each file: what became of it, its name, its sha256.
    """
    from ppmctl import address, credential
    from ppmctl.publish import publish as run

    target = address.resolve(index, environ=os.environ, home=Path.home())
    found = credential.find(target, file=credential_file, environ=os.environ, home=Path.home())
    outcomes: list[Outcome] = []
    try:
        for outcome in run(paths or (Path(),), target, found, dry_run=dry_run, clean=clean):
            outcomes.append(outcome)
            if not as_json:
                output.data(f"{outcome.state:9}  {outcome.file.filename}  {outcome.file.sha256}")
    except PpmError as exc:
        if as_json:
            output.as_json({**_json(target.base, outcomes), "error": {"message": exc.message, "hint": exc.hint}})
        raise
    if as_json:
        output.as_json(_json(target.base, outcomes))
    return EXIT_FAILED if any(outcome.state == "conflict" for outcome in outcomes) else 0


def _json(base: str, outcomes: Iterable[Outcome]) -> dict[str, Any]:
    return {
        "index": base,
        "files": [
            {
                "filename": outcome.file.filename,
                "project": outcome.file.project,
                "version": str(outcome.file.dist.name.version),
                "sha256": outcome.file.sha256,
                "size": outcome.file.size,
                "state": outcome.state,
                "url": outcome.url or None,
            }
            for outcome in outcomes
        ],
    }
