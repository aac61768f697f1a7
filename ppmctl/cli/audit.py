"""`ppmctl audit`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from ppmctl import output
from ppmctl.access import audit_query
from ppmctl.cli.options import Answer, answers
from ppmctl.cli.volume import find_volume, root_option
from ppmctl.distributions.distribution import one_line


@click.command()
@root_option
@click.option("--since", metavar="TIME", help="From then on: so long ago (30m, 12h, 90d), or a date or time (UTC).")
@click.option("--user", metavar="NAME", help="What NAME or one of NAME's tokens did, and what was done to them.")
@click.option("--project", metavar="NAME", help="What was done to the project NAME.")
@answers
def audit(root: Path, since: str | None, user: str | None, project: str | None) -> Answer:
    """Print who changed what, when and from where, and what was refused. Runs beside the index's volume.

    Reads ROOT/audit.jsonl and what was rotated (audit.jsonl.1, .2.gz, …), oldest first.
    """
    start = audit_query.parse_since(since, now=datetime.now(UTC)) if since else None
    found = audit_query.read(find_volume(root), since=start, user=user, project=project)
    rows = [
        (each.time, *(one_line(text) or None for text in (each.by, each.origin, each.action, each.what, each.result)))
        for each in found.entries
    ]
    return Answer(
        [entry.values for entry in found.entries],
        lambda: output.table(("TIME", "WHO", "FROM", "ACTION", "WHAT", "RESULT"), rows),
        notes=[f"{found.broken} lines make no sense and were passed over."] if found.broken else [],
    )
