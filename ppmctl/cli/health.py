"""`ppmctl health`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ppmctl import output
from ppmctl.cli.options import Answer, answers
from ppmctl.cli.serve import settings_options
from ppmctl.cli.volume import find_volume, root_option
from ppmctl.config import server_settings
from ppmctl.errors import PpmError


@click.command()
@root_option
# what tells how a server is asked
@settings_options(lambda _setting: "The server's, if it was started with one.", ("host", "port", "read_access"))
@answers
def health(root: Path, **flags: Any) -> Answer:
    """Try whether the server of the volume ROOT is healthy: run it beside the server, as its user.

    The server answers, a page can be had, and the volume can be written; each within a few seconds, and without a
    credential. The server is found by its settings (PPM_… variables and ROOT/ppm.yml). Prints one line, and exits 0;
    or what is wrong, and exits 1.
    """
    from ppmctl import health

    try:
        volume = find_volume(root)
        health.check(server_settings(root, flags=flags))
    except PpmError as exc:
        # one line, and 1 whatever it is: a container engine takes these two alone
        raise PpmError(f"{exc.message} {exc.hint}".strip()) from exc
    return Answer(
        {"ok": True, "root": volume.root},
        lambda: output.data(f"ok: the server of {volume.root} answers, shows a page, and can write its volume"),
    )
