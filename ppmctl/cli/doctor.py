"""`ppmctl doctor`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ppmctl import output
from ppmctl.cli.options import exclusive, json_option
from ppmctl.cli.package_source import place_options
from ppmctl.cli.volume import existing, find_volume
from ppmctl.errors import EXIT_FAILED, PpmError

if TYPE_CHECKING:
    from ppmctl.doctor.finding import Finding


@click.command()
@click.argument("url", required=False)
@place_options
@click.option(
    "--expect",
    metavar="JSON",
    default="",
    help="The expected properties of the index, as playbooks/self_check.yml derives them from an inventory; each"
    " difference is a failure. Skips this machine's clients.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=1.0),
    default=30.0,
    show_default=True,
    help="End the checks of the index after this time, and name the one that did not end.",
)
@json_option
def doctor(
    url: str | None,
    index: str | None,
    credential_file: Path | None,
    root: Path | None,
    expect: str,
    timeout: float,
    as_json: bool,
) -> int:
    """Check everything between this machine and the index at URL, in the order in which a user would meet it.

    Each line shows a finding, and the line below it how to repair it. Works with any index that has a Simple API.
    With --root, or with --on and a volume on another machine, also checks what only that machine can see: the disk,
    slow hashes, the server.

    Changes and uploads nothing, unless --expect asks for it. Exits with 1 if something does not work.
    """
    if url and index:
        raise exclusive("URL", "--index")
    failed = False
    findings: list[Finding] = []
    for finding in _findings(url or index, credential_file, root, expect, timeout):
        failed = failed or finding.state == "fail"
        if not as_json:  # at once: some checks wait for a server that does not answer
            is_same = bool(findings) and finding.hint == findings[-1].hint != ""
            output.finding(finding.state, finding.check, finding.message, "the same" if is_same else finding.hint)
        findings.append(finding)
    if as_json:
        output.as_json({"ok": not failed, "findings": [finding.document() for finding in findings]})
    return EXIT_FAILED if failed else 0


def _findings(
    index: str | None, credential_file: Path | None, root: Path | None, expect: str, timeout: float
) -> Iterator[Finding]:
    from ppmctl.client import index_url
    from ppmctl.doctor import checks, expected

    home, cwd = Path.home(), Path.cwd()
    if root is None or index or index_url.default_index(environ=os.environ, home=home, cwd=cwd):
        wanted = expected.parse(expect) if expect else None
        yield from checks.examine(
            index,
            credential_file=credential_file,
            environ=os.environ,
            home=home,
            cwd=cwd,
            expected=wanted,
            seconds=timeout,
        )
    if root is None:
        return
    from ppmctl.doctor import tls, volume_checks
    from ppmctl.doctor.finding import Finding

    certificate = list(tls.check_file())  # as root: the volume's owner can't read it
    try:
        volume = find_volume(existing(root))
    except PpmError as exc:
        yield Finding("volume", "fail", exc.phrase, exc.hint)
    else:
        yield from volume_checks.check(volume, os.environ, certificate)
