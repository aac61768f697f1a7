"""`ppmctl audit`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from ppmctl import output
from ppmctl.access import audit_query, rights
from ppmctl.cli.options import Answer
from ppmctl.cli.volume import find_volume, volume_command
from ppmctl.distributions.distribution import one_line


@click.command()
@click.option(
    "--since", metavar="TIME", help=f"Only entries since then: {rights.DURATIONS} ago, or a date or time (UTC)."
)
@click.option("--user", metavar="NAME", help="Only entries by or about the user NAME and its tokens.")
@click.option("--project", metavar="NAME", help="Only entries about the project NAME.")
@volume_command
def audit(root: Path, since: str | None, user: str | None, project: str | None) -> Answer:
    """Print who changed what, when and from where, and what was refused.

    Reads ROOT/audit.jsonl and its rotated files (audit-TIME.jsonl, and those of logrotate), oldest entries first.
    """
    start = audit_query.parse_since(since, now=datetime.now(UTC)) if since else None
    trail = audit_query.read(find_volume(root), since=start, user=user, project=project)
    rows = [
        (each.time, *(one_line(text) or None for text in (each.by, each.origin, each.action, each.what, each.result)))
        for each in trail.entries
    ]
    return Answer(
        [entry.values for entry in trail.entries],
        lambda: output.table(("TIME", "WHO", "FROM", "ACTION", "WHAT", "RESULT"), rows),
        notes=[f"Skipped {output.count(trail.broken, 'invalid line')}."] if trail.broken else [],
    )
