"""`ppmctl self-check`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ppmctl import __version__, output
from ppmctl.cli.options import json_option
from ppmctl.cli.volume import open_volume, root_option
from ppmctl.errors import PpmError


@click.command("self-check")
@root_option
@json_option
def self_check(root: Path, as_json: bool) -> int:
    """Try whether this release works here, before it is switched to: run it as the server's user.

    It reads the settings (PPM_… variables and ROOT/ppm.yml), tries that the volume can be used (a server may run
    meanwhile; its content stays as it is), and serves a temporary volume on a Unix socket, to which a probe is
    uploaded and from which it is read back. Prints one line, and exits 0; or what failed, and exits 1.
    """
    from ppmctl.doctor import release_check

    try:
        volume = open_volume(root)
        release_check.check(volume, os.environ)
    except PpmError as exc:
        log = exc.log if isinstance(exc, release_check.SelfCheckError) else ""
        if not as_json:
            if log:
                output.say(f"What the server said:\n{log}")
            raise
        output.error(exc)  # for people; the document has the log besides
        said = {"ok": False, "message": exc.message, "hint": exc.hint, "log": log}
        output.as_json({"version": __version__, "root": str(root), **said})
        return exc.exit_code
    if as_json:
        output.as_json({"version": __version__, "root": str(volume.root), "ok": True})
    else:
        output.data(f"ppm {__version__} works here: it can use {volume.root}, and served a probe as it was uploaded.")
    return 0
