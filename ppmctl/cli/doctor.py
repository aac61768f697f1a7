"""`ppmctl doctor`."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import click

from ppmctl import output
from ppmctl.cli.place import index_options
from ppmctl.cli.target import on_option
from ppmctl.errors import EXIT_FAILED, UsageError


@click.command()
@click.argument("url", required=False)
@index_options
@on_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def doctor(url: str | None, index: str | None, credential_file: Path | None, as_json: bool) -> int:
    """Try all that stands between here and the index at URL, in the order in which a user would meet it.

    Each line says what was found, and below it what mends it. Any index with a Simple API will do. Nothing is changed
    or uploaded. Exits with 1 if something does not work.
    """
    from ppmctl import doctor

    if url and index:
        raise UsageError("URL and --index are two ways to name an index.", hint="Give one of them.")
    found = doctor.examine(
        url or index, credential_file=credential_file, environ=os.environ, home=Path.home(), cwd=Path.cwd()
    )
    if as_json:
        findings = list(found)
        failed = any(finding.state == "fail" for finding in findings)
        output.as_json({"ok": not failed, "findings": [asdict(finding) for finding in findings]})
        return EXIT_FAILED if failed else 0
    failed = False
    for finding in found:
        failed = failed or finding.state == "fail"
        output.finding(finding.state, finding.check, finding.found, finding.mend)
    return EXIT_FAILED if failed else 0
