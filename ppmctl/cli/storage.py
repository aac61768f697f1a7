"""`ppmctl storage`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ppmctl import output
from ppmctl.cli.groups import Group
from ppmctl.cli.options import Answer, exclusive
from ppmctl.cli.volume import find_volume, volume_command
from ppmctl.errors import EXIT_FAILED, UsageError

if TYPE_CHECKING:
    from ppmctl.index.layout import Volume
    from ppmctl.migration.copied import Copied


@click.group(cls=Group)
def storage() -> None:
    """Move an index between a volume and a bucket, and show which one it uses.

    Credentials of the bucket come from the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
    """


@storage.command()
@click.option(
    "--to", metavar="ADDRESS", help="Copy the volume to this empty bucket: s3://BUCKET/PREFIX, gs://…, az://…"
)
@click.option("--from", "source", metavar="ADDRESS", help="Copy this bucket to the volume, which may be new.")
@volume_command
def copy(root: Path, to: str | None, source: str | None) -> Answer:
    """Copy an index from a volume to a bucket, or back. Servers may be running.

    Every file is compared with its recorded sha256. You can run it again after an interruption, or to copy what
    changed: what is there is skipped. The copy is complete, and the exit code 0, when no server of the volume runs.
    """
    from ppmctl.migration import copy_from, copy_to

    if to and source:
        raise exclusive("--to", "--from")
    if source:
        volume = replace(find_volume(root, may_be_missing=True), storage=source)
        done = copy_from.copy(volume)
    elif to:
        volume = replace(find_volume(root), storage="")
        done = copy_to.copy(volume, to)
    else:
        raise UsageError("Where to copy to, or from, was not given.", hint="--to ADDRESS or --from ADDRESS")
    exit_code = 0 if done.is_complete else EXIT_FAILED
    return Answer(done, lambda: _show(volume, done, is_to=to is not None), exit_code=exit_code)


def _show(volume: Volume, done: Copied, *, is_to: bool) -> None:
    output.say(*(f"left  {problem}" for problem in done.problems))
    new = f"{output.count(done.files, 'file')} with {output.size(done.bytes)}"
    output.data(f"{output.count(done.projects, 'project')} copied, {new}.")
    if done.problems:
        output.say("The copy is not complete. Repair what was left (ppmctl index check), and copy again.")
    elif done.server:
        output.say(
            f"A server of {volume.root} is running: {done.server}.",
            "What changes now is not in the copy. Stop the server, and copy again, which takes seconds.",
        )
    elif is_to:
        now = f"The copy is complete, and {volume.root} is a cache of it."
        output.say(f"{now} Start the server with PPM_STORAGE={done.address}.")
    else:
        output.say(f"The copy is complete: {volume.root} has all files, and can be served without a bucket.")


@storage.command()
@volume_command
def status(root: Path) -> Answer:
    """Show which bucket an index uses, whether it can be reached, and how much of it is on the volume."""
    from ppmctl.migration import storage_status

    found = storage_status.read(find_volume(root))
    if found is None:
        return Answer({"bucket": None}, lambda: output.data(f"{root} uses no bucket: it has all files itself."))
    rows = [
        ("bucket", found.bucket),
        ("state", found.state),
        ("layout", str(found.layout)),
        ("node", found.node),
        ("projects", str(found.projects)),
        ("on this volume", f"{found.files} of {output.count(found.recorded, 'file')}, {output.size(found.bytes)}"),
    ]
    return Answer(found, lambda: output.fields(rows))
