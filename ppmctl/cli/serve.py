"""`ppmctl serve`, `ppmctl init` and `ppmctl health`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import click

from ppmctl import output
from ppmctl.cli.options import Answer, answers
from ppmctl.cli.volume import find_volume, open_volume, root_option
from ppmctl.errors import PpmError
from ppmctl.server.settings import SETTINGS, ServerSettings, Setting, server_settings, settings_file


def settings_options(about: Callable[[Setting], str], names: Collection[str] | None = None) -> Callable[[Any], Any]:
    """Return the options of a server's settings, or of those with these names; `about` is the help of each."""

    def give(command: Any) -> Any:
        for setting in reversed(SETTINGS):
            if names is None or setting.name in names:
                shown = f"{about(setting)} [{setting.variable}]"
                option = click.option(
                    setting.option, setting.name, metavar=setting.metavar, multiple=setting.many, help=shown
                )
                command = option(command)
        return command

    return give


def _about(setting: Setting) -> str:
    return setting.help if setting.default in (None, ()) else f"{setting.help} Default: {setting.default}."


@click.command()
@root_option
@click.option(
    "--first-credential", is_flag=True, help="Make a first admin where there is none, and print what to type."
)
@settings_options(_about)
def serve(root: Path, first_credential: bool, **flags: Any) -> None:
    """Serve the index in the folder ROOT, which is made if it is not there.

    Each setting can also be given as a variable of the environment, or in ROOT/ppm.yml (see `ppmctl init`);
    a flag wins over the variable, and that over the file. A socket that systemd passes is served in place of
    --host and --port.
    """
    volume = find_volume(root)  # before its ppm.yml is read, which may be somebody else's too
    settings = server_settings(root, flags=flags)
    volume.prepare()

    os.environ.setdefault("HOME", "/")  # pypiserver asks for it when it is imported; a uid without a name has none
    from ppmctl.access import credential_files, expiry, first_admin
    from ppmctl.server import gunicorn, systemd

    credential_files.ensure_htpasswd(volume)
    expiry.Pruner(volume).prune()
    manager = systemd.take(os.environ)

    def announce() -> None:
        if not first_credential:
            return
        made = first_admin.make(settings.volume)
        if manager.is_managed or settings.is_local:
            if made:
                output.say(f"The first credential, an admin's, is in {settings.volume.first_credential}.")
        else:
            _print_commands(settings, made=made)

    gunicorn.serve(settings, manager, announce=announce)


@click.command()
@root_option
@answers
def init(root: Path) -> Answer:
    """Make a volume in the folder ROOT, with a ppm.yml that explains each setting."""
    from ppmctl import files

    volume = open_volume(root)
    made = files.create(volume.settings, settings_file().encode(), mode=0o644)
    told = f"is there to be edited; ppmctl serve --root {root} serves it."
    told = told if made else "was there already and stays as it is."
    value = {"root": volume.root, "settings": volume.settings, "made": made}
    return Answer(value, lambda: output.say(f"{volume.settings} {told}"))


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
    from ppmctl.server import health

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


def _print_commands(settings: ServerSettings, *, made: bool) -> None:
    volume = settings.volume
    # a wildcard is no address to go to, and netrc knows the loopback
    host = {"0.0.0.0": "127.0.0.1", "::": "localhost"}.get(settings.host, settings.host)
    url = f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
    output.say(f"ppm serves {url}/ from {volume.root}")
    output.say("")
    if made:
        output.say(f"The first credential, an admin's, is in {volume.first_credential} (user:secret),")
        output.say(f"and for pip, uv and ppmctl in {volume.first_netrc}.")
        output.say("")
    netrc = f"NETRC={_short(volume.first_netrc)} " if volume.first_netrc.exists() else ""
    output.say(f"publish    {netrc}{_ppmctl()} publish PROJECT_FOLDER --index {url}/")
    output.say(f"install    {netrc}pip install --index-url {url}/simple/ NAME")
    output.say(f"add a user {_ppmctl()} user add NAME --role publisher --root {_short(volume.root)}")
    output.say("stop       Ctrl-C")
    if settings.host not in ("127.0.0.1", "localhost", "::1"):
        output.say("")
        output.say(
            "Other machines reach this over plain HTTP: put TLS in front of it, or secrets can be read on the way."
        )
    output.say("")


def _ppmctl() -> str:
    return _short(Path(sys.argv[0])) if Path(sys.argv[0]).name == "ppmctl" else "ppmctl"


def _short(path: Path) -> str:
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
