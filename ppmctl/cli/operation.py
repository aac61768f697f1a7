"""`ppmctl operation`."""

from __future__ import annotations

from pathlib import Path

import click

from ppmctl import output
from ppmctl.cli.groups import Group
from ppmctl.cli.options import Answer
from ppmctl.cli.volume import actor, find_volume, volume_command
from ppmctl.index import operation_result
from ppmctl.index.operation_result import OperationResult


@click.group(cls=Group)
def operation() -> None:
    """Print or record how backups, restore drills and renewals of the certificate ended."""


@operation.command("list")
@volume_command
def list_(root: Path) -> Answer:
    """Print the last result of each operation, and when it last succeeded."""
    results = operation_result.read_all(find_volume(root))
    rows = [(each.name, "ok" if each.succeeded else "failed", each.finished, each.last_success or None, each.detail)
            for each in results.values()]  # fmt: skip
    return Answer(
        {"operations": [each.to_json() for each in results.values()]},
        lambda: output.table(("OPERATION", "RESULT", "FINISHED", "LAST SUCCESS", "DETAIL"), rows),
    )


@operation.command()
@click.argument("name", type=click.Choice(operation_result.NAMES))
@click.option("--failed", metavar="REASON", help="It failed for this reason; without this option it succeeded.")
@click.option("--if-changed", is_flag=True, help="Only a failure after a success, or a success after a failure.")
@volume_command
def record(root: Path, name: str, failed: str | None, if_changed: bool) -> Answer:
    """Record that an operation ended, for programs that ppmctl does not run itself, such as certbot."""
    from ppmctl.access import operation_log

    volume = find_volume(root)
    result = OperationResult(name=name, succeeded=failed is None, detail=failed or "")
    last = operation_result.read(volume, name) or OperationResult(name=name, succeeded=True)
    if if_changed and last.succeeded == result.succeeded:
        return Answer(last.to_json(), lambda: output.data(f"Not recorded: {name} {_ended(last)} before, too."))
    recorded = operation_log.record(volume, actor(), result)
    return Answer(recorded.to_json(), lambda: output.data(f"Recorded: {name} {_ended(recorded)}."))


def _ended(result: OperationResult) -> str:
    return "succeeded" if result.succeeded else "failed"
