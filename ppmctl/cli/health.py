"""`ppmctl health`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ppmctl import output
from ppmctl.cli.volume import find_volume, root_option
from ppmctl.config import SETTINGS, server_settings
from ppmctl.errors import PpmError

_WHERE = ("host", "port", "read_access")  # of the settings: what tells how a server is asked


def _settings_options(command: Any) -> Any:
    for setting in reversed([setting for setting in SETTINGS if setting.name in _WHERE]):
        shown = f"The server's, if it was started with one. [{setting.variable}]"
        command = click.option(setting.option, setting.name, metavar=setting.metavar, help=shown)(command)
    return command


@click.command()
@root_option
@_settings_options
def health(root: Path, **flags: Any) -> None:
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
    output.data(f"ok: the server of {volume.root} answers, shows a page, and can write its volume")
