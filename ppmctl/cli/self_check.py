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
    """Check whether this release of ppm works on this machine, before you switch to it. Run it as the server's user.

    Reads the settings (PPM_… variables and ROOT/ppm.yml), checks that the volume can be used (without changing it; a
    server may be running), serves a temporary volume on a Unix socket, uploads a probe to it and reads it back.
    Prints one line and exits with 0, or prints what failed and exits with 1.
    """
    from ppmctl.access import credential_files, rights
    from ppmctl.doctor import release_check

    try:
        volume = open_volume(root)
        release_check.check(volume, os.environ)
    except PpmError as exc:
        log = exc.log if isinstance(exc, release_check.SelfCheckError) else ""
        if not as_json:
            if log:
                output.block(f"The server's log:\n{log}", talk=True)
            raise
        output.error(exc)  # as text; the JSON document also has the log
        result = {"ok": False, "message": exc.message, "hint": exc.hint, "log": log}
        output.as_json({"version": __version__, "root": str(root), **result})
        return exc.exit_code
    if warning := rights.reserved_warning(credential_files.read_access(volume.access)):
        output.say(warning)
    if as_json:
        output.as_json({"version": __version__, "root": str(volume.root), "ok": True})
    else:
        output.data(f"ppm {__version__} works here: it can use {volume.root}, and it served a probe unchanged.")
    return 0
