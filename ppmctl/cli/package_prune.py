"""`ppmctl package prune`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from ppmctl import output
from ppmctl.access import audit_log, rights
from ppmctl.cli.options import Answer
from ppmctl.cli.volume import actor, open_store, volume_command
from ppmctl.errors import UsageError


@click.command()
@click.option("--keep", type=click.IntRange(1), help="Keep this many final releases of each series, such as 1.4.")
@click.option("--prereleases", metavar="DURATION", help="Prune pre-releases that are older, such as 90d.")
@click.option("--unused", metavar="DURATION", help="Prune releases that nobody installed for so long, such as 365d.")
@click.option("--wait", metavar="DURATION", default="30d", show_default=True, help="From the yank to the removal.")
@click.option("--project", "projects", metavar="GLOB", multiple=True, help="Only projects whose names match.")
@click.option("--apply", "is_applied", is_flag=True, help="Make the changes of the plan.")
@volume_command
def prune(
    root: Path,
    keep: int | None,
    prereleases: str | None,
    unused: str | None,
    wait: str,
    projects: tuple[str, ...],
    is_applied: bool,
) -> Answer:
    """Show which old releases can go; with --apply yank them, and remove them after a waiting time.

    Never the latest release of a project, and never one that a shared environment's lock or exact requirement names.
    A release that is unyanked in the meantime stays. Whether releases are used is known from the counted downloads.
    """
    from ppmctl.downloads import usage
    from ppmctl.index import pruning

    store = open_store(root)
    if keep is None and prereleases is None and unused is None:
        raise UsageError("Nothing says what to prune.", hint="Give --keep N, --prereleases 90d or --unused 365d.")
    rules = pruning.Rules(
        keep=keep,
        prereleases=None if prereleases is None else rights.parse_duration(prereleases),
        unused=None if unused is None else rights.parse_duration(unused),
        wait=rights.parse_duration(wait),
        projects=projects or ("*",),
    )
    installs = usage.last_installs(store.volume)
    steps = pruning.plan(store, rules, installs)
    notes = []
    if rules.unused is not None:
        now = datetime.now(UTC)
        if gap := installs.gap((now - rules.unused).date(), now.date()):
            notes.append(f"No release counts as unused. {gap}")
    if is_applied:
        who = actor()
        for action, filename, why in pruning.apply(store, steps):
            who.record(store.volume, action, filename, audit_log.done([f"prune: {why}"]))
    elif any(step.action != "keep" for step in steps):
        notes.append("Nothing was changed. --apply makes these changes.")
    value = {"applied": is_applied, "steps": [asdict(step) for step in steps]}
    rows = [(step.action, step.project, step.version, len(step.filenames), step.why) for step in steps]
    times = Counter(step.action for step in steps)

    def show() -> None:
        if rows:
            output.table(("ACTION", "PROJECT", "RELEASE", "FILES", "WHY"), rows)
        output.say(f"{times['yank']} to yank, {times['remove']} to remove." if not is_applied else "Done.")

    return Answer(value, show, notes=notes)
