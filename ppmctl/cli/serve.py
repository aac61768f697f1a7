"""`ppmctl serve`, `ppmctl init` and `ppmctl health`."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from ppmctl import output
from ppmctl.cli.options import Answer
from ppmctl.cli.volume import find_volume, open_volume, root_option, volume_command
from ppmctl.errors import EXIT_FAILED, PpmError, some
from ppmctl.index.layout import Volume
from ppmctl.server.setting_table import SETTINGS, Setting
from ppmctl.server.settings import ServerSettings, server_settings, settings_file


def settings_options(about: Callable[[Setting], str], names: Collection[str] | None = None) -> Callable[[Any], Any]:
    """Return the options for a server's settings, or for those with these names; `about` returns the help of each."""

    def give(command: Any) -> Any:
        for setting in reversed(SETTINGS):
            if setting.has_flag if names is None else setting.name in names:
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
    "--first-credential",
    is_flag=True,
    help="Create a first admin if there is none, and print the commands to type.",
)
@click.option("--access-log", is_flag=True, help="Print a line of JSON for each request.")
@settings_options(_about)
def serve(root: Path, first_credential: bool, access_log: bool, **flags: Any) -> None:
    """Serve the index in the folder ROOT, which is created if it is missing.

    Each setting can also be given as an environment variable, or in ROOT/ppm.yml (see `ppmctl init`); an option wins
    over the variable, and the variable over the file. If systemd passes a socket, the server uses that instead of
    --host and --port.
    """
    volume = find_volume(root, may_be_missing=True)  # as its owner, before its ppm.yml is read
    settings = server_settings(root, flags=flags)
    from ppmctl.access import first_admin
    from ppmctl.server import lifecycle, running, systemd

    lifecycle.prepare(volume)
    from ppmctl.server import gunicorn
    from ppmctl.storage import before_fork
    from ppmctl.web.application import application  # it imports pypiserver

    manager = systemd.take(os.environ)

    def announce() -> None:
        made = first_credential and before_fork.run(volume.root, first_admin.make, settings.volume)
        for other in running.servers(volume):
            output.say(
                f"Another server serves {volume.root} too: {other.described}.",
                "Both work; ppmctl health and ppmctl doctor ask the one that started last.",
            )
        if manager.is_managed or settings.is_local:
            if made:
                output.say(f"The first credential, an admin's, is in {settings.volume.first_credential}.")
            if not manager.is_managed:
                output.say(f"ppm serves {volume.root} at {settings.host}, for a web server. To stop it: Ctrl-C")
            return
        _print_url(settings)
        if first_credential:
            _print_commands(settings, made=made)
        output.say("stop       Ctrl-C", "")
        _warn_of_plain_http(settings)

    threads = {} if settings.is_local or manager.sockets else _webhooks(volume)
    gunicorn.serve(application, settings, manager, announce=announce, access_log=access_log, threads=threads)


def _webhooks(volume: Volume) -> dict[str, Callable[[], None]]:
    """Return the thread that sends webhooks, if some are configured. Behind a web server, another process does it."""
    from ppmctl.webhooks import config, sender

    configured = config.load(volume)
    return {"webhooks": lambda: sender.run(volume, configured, threading.Event())} if configured else {}


@click.command()
@volume_command
def init(root: Path) -> Answer:
    """Create a volume in the folder ROOT, with a ppm.yml that explains each setting."""
    from ppmctl import files
    from ppmctl.server import running

    volume = open_volume(root, may_be_missing=True)
    made = files.create(volume.settings, settings_file().encode(), mode=0o644)
    note = (
        f"was created; edit it, then run: ppmctl serve --root {root}" if made else "exists already and is unchanged."
    )
    restart = "A server reads it only when it starts. To apply a change, restart the server"
    served = running.servers(volume)
    where = f": {some(server.described for server in served)}" if served else ""
    value = {"root": volume.root, "settings": volume.settings, "made": made}
    return Answer(value, lambda: output.say(f"{volume.settings} {note}", f"{restart}{where}."))


@click.command()
@click.option("--alive", is_flag=True, help="Check only that the server answers: otherwise a new start may help.")
@click.option("--server-only", is_flag=True, help="Check the server alone, not the last backup, drill and renewal.")
@settings_options(
    lambda _setting: "The server's value, if it was started with this option.", ("host", "port", "read_access")
)
@volume_command
def health(root: Path, alive: bool, server_only: bool, **flags: Any) -> Answer:
    """Check whether the index of the volume ROOT is healthy. Run it on the server's machine, as the server's user.

    Checks, without a credential and within a few seconds each, that the server answers, that it returns a page, and
    that the volume is writable; and that the last backup, restore drill and renewal of the certificate did not fail,
    and that a backup succeeded within 48 hours and a drill within 8 days, if one was ever made or backups are
    expected; and that no webhook is disabled or has failed for an hour. A running server has recorded in its volume
    where it listens; without a record its settings count (PPM_… variables and ROOT/ppm.yml).
    Prints one line and exits with 0, or prints what is wrong and exits with 1.
    """
    from ppmctl.index import operation_result
    from ppmctl.server import health, operation_health, running

    given = {name: value for name, value in flags.items() if value is not None}
    served = None
    try:
        volume = find_volume(root)
        if not given.keys() & {"host", "port"}:  # the whole address of the record counts, or nothing
            served = running.newest(volume)
        settings = server_settings(root, flags=(served.flags if served else {}) | given)
        if alive:
            health.check_alive(settings)
            return Answer({"ok": True, "root": volume.root}, lambda: output.data("ok: the server answers"))
        health.check(settings)
    except PpmError as exc:
        # one line, and exit code 1 for every failure: a container engine allows no other
        hint = exc.hint or (served.hint if served else "")
        raise PpmError(f"{exc.message} {hint}".strip()) from exc
    results = {} if server_only else operation_result.read_all(volume)
    expects_backup = settings.backups == "expected" and not server_only
    problems = operation_health.problems(
        results,
        expects_backup=expects_backup,
        now=datetime.now(UTC),
        expected_since=operation_result.expected_since(volume),
    )
    if not server_only:
        problems += operation_health.webhook_problems(operation_health.webhooks(volume, datetime.now(UTC)))
    value = {"ok": not problems, "root": volume.root, "problems": problems}
    value["operations"] = [result.to_json() for result in results.values()]
    works = f"the server of {volume.root} answers, shows a page, and can write its volume"
    if problems:
        return Answer(value, lambda: output.say(*problems, f"Apart from that, {works}."), exit_code=EXIT_FAILED)
    return Answer(value, lambda: output.data(f"ok: {works}"))


def _url(settings: ServerSettings) -> str:
    # a client can't connect to a wildcard, and netrc has the loopback names
    host = {"0.0.0.0": "127.0.0.1", "::": "localhost"}.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}/" if ":" in host else f"http://{host}:{settings.port}/"


def _print_url(settings: ServerSettings) -> None:
    output.say(f"ppm serves {_url(settings)} from {settings.volume.root}", "")


def _print_commands(settings: ServerSettings, *, made: bool) -> None:
    volume, url = settings.volume, _url(settings)
    if made:
        output.say(
            f"The first credential, an admin's, is in {volume.first_credential} (user:secret),",
            f"and for pip, uv and ppmctl in {volume.first_netrc}.",
            "",
        )
    netrc = f"NETRC={_short(volume.first_netrc)} " if volume.first_netrc.exists() else ""
    ppmctl = _short(Path(sys.argv[0])) if Path(sys.argv[0]).name == "ppmctl" else "ppmctl"
    output.say(
        f"publish    {netrc}{ppmctl} publish PROJECT_FOLDER --index {url}",
        f"install    {netrc}pip install --index-url {url}simple/ NAME",
        f"add a user {ppmctl} user add NAME --role publisher --root {_short(volume.root)}",
    )


def _warn_of_plain_http(settings: ServerSettings) -> None:
    if settings.host not in ("127.0.0.1", "localhost", "::1"):
        output.say(
            "Other machines reach this over plain HTTP, where secrets can be read: put TLS in front of it.",
            "",
        )


def _short(path: Path) -> str:
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
