"""`ppmctl doctor`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ppmctl import output
from ppmctl.cli.options import json_option
from ppmctl.cli.package_source import place_options
from ppmctl.cli.volume import find_volume, there
from ppmctl.errors import EXIT_FAILED, PpmError, UsageError

if TYPE_CHECKING:
    from ppmctl.doctor.finding import Finding


@click.command()
@click.argument("url", required=False)
@place_options
@click.option(
    "--expect",
    metavar="JSON",
    default="",
    help="What the index is meant to be, as playbooks/self_check.yml has it from an inventory: what is not so is a"
    " fault. This machine's clients are left out.",
)
@json_option
def doctor(
    url: str | None, index: str | None, credential_file: Path | None, root: Path | None, expect: str, as_json: bool
) -> int:
    """Try all that stands between here and the index at URL, in the order in which a user would meet it.

    Each line says what was found, and the one below it what mends it. Any index with a Simple API will do. With
    --root, or with --on beside a volume elsewhere, also what is seen there alone: the disk, slow hashes, the server.

    Nothing is changed or uploaded, unless --expect asks for it. Exits with 1 if something does not work.
    """
    if url and index:
        raise UsageError("URL and --index are two ways to name an index.", hint="Give one of them.")
    failed = False
    findings: list[Finding] = []
    for finding in _found(url or index, credential_file, root, expect):
        failed = failed or finding.state == "fail"
        if not as_json:  # each as it is found: some wait for what does not answer
            is_same = bool(findings) and finding.hint == findings[-1].hint != ""
            output.finding(finding.state, finding.check, finding.message, "the same" if is_same else finding.hint)
        findings.append(finding)
    if as_json:
        output.as_json({"ok": not failed, "findings": [finding.document() for finding in findings]})
    return EXIT_FAILED if failed else 0


def _found(index: str | None, credential_file: Path | None, root: Path | None, expect: str) -> Iterator[Finding]:
    from ppmctl.client import index_url
    from ppmctl.doctor import checks, expected

    home, cwd = Path.home(), Path.cwd()
    if root is None or index or index_url.default_index(environ=os.environ, home=home, cwd=cwd):
        yield from checks.examine(
            index,
            credential_file=credential_file,
            environ=os.environ,
            home=home,
            cwd=cwd,
            expected=expected.parse(expect) if expect else None,
        )
    if root is None:
        return
    from ppmctl.doctor import volume_checks
    from ppmctl.doctor.finding import Finding

    try:
        volume = find_volume(there(root))
    except PpmError as exc:
        yield Finding("volume", "fail", exc.phrase, exc.hint)
    else:
        yield from volume_checks.check(volume, os.environ)
