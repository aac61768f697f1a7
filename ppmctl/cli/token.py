"""`ppmctl token`."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import click

from ppmctl import output
from ppmctl.access import accounts, audit_rotation, rights
from ppmctl.access.audit_rotation import Limits
from ppmctl.access.expiry import Pruner
from ppmctl.access.rights import ROLES
from ppmctl.cli import suggestions
from ppmctl.cli.groups import Group
from ppmctl.cli.options import Answer
from ppmctl.cli.secret_output import expires_option, issue, listed, output_option, projects_option
from ppmctl.cli.user_change import revoke
from ppmctl.cli.volume import find_volume, open_volume, volume_command
from ppmctl.errors import PpmError, UsageError
from ppmctl.index.layout import Volume
from ppmctl.server.settings import server_settings


@click.group(cls=Group)
def token() -> None:
    """Create, list and revoke tokens: credentials of a user for one purpose each, such as ops+laptop.

    A token never has more rights than its owner has now.
    """


token.add_command(revoke)


@token.command()
@click.argument("name", metavar="OWNER+PURPOSE")
@click.option("--role", required=True, type=click.Choice(ROLES), help="What the token may do.")
@projects_option
@expires_option
@output_option()
@volume_command
def create(name: str, output: Path | None, root: Path, **grant: Any) -> Answer:
    """Create a token and print its secret, which is not stored and is shown only once.

    If OWNER does not exist, it is created with its first token and removed with its last. It has no secret of its
    own, and the combined rights of its tokens.
    """
    return issue(output, root, accounts.create_token, name, **grant)


@token.command("list")
@click.argument("owner", required=False, shell_complete=suggestions.users)
@volume_command
def list_(owner: str | None, root: Path) -> Answer:
    """List all tokens, or those of OWNER."""
    volume = open_volume(root)
    if owner is not None:
        accounts.account(volume, owner)  # raises if there is no such user
    return listed([each for each in accounts.accounts(volume, owner=owner) if each.access.is_token])


@token.command()
@click.option(
    "--every", metavar="DURATION", help=f"Repeat this until a signal, at this interval: {rights.DURATIONS}."
)
@volume_command
def prune(every: str | None, root: Path) -> Answer:
    """Remove expired credentials from htpasswd, because nginx does not know about expiry.

    Also removes lines without an entry in access.yml, and lines with an unknown kind of hash. Puts lines back that
    were removed while the clock was wrong. Also rotates the audit log if that is due. Writes nothing if there is
    nothing to change. A running server does this every 30 seconds; while none is running, a host's ppm-prune.timer
    and the compose service pruner do.
    """
    if every is not None and click.get_current_context().params["as_json"]:
        raise UsageError("--json prints the result of one run; --every never ends.")
    # in compose it starts before the application, which creates the volume in this folder
    volume = find_volume(root, may_be_missing=every is not None and root.is_dir())
    limits = _audit_limits(volume)
    pruned: tuple[str, ...] = ()
    if every is not None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: stop.set())
        seconds, pruner = rights.parse_duration(every).total_seconds(), Pruner(volume)
        while not stop.is_set():
            pruner.prune()
            _rotate(volume, limits)
            stop.wait(seconds)
    elif volume.credentials.is_dir():
        try:
            pruned = accounts.prune(volume)
        except OSError as exc:
            raise PpmError(f"Expired credentials can't be removed from {volume.htpasswd}: {exc.strerror}.") from exc
        _rotate(volume, limits)
    return Answer({"pruned": pruned}, lambda: output.data(*pruned))


def _audit_limits(volume: Volume) -> Limits | None:
    """Return the limits of the audit log; None where settings are invalid, which may not stop the pruning."""
    try:
        return server_settings(volume.root).audit_limits
    except UsageError as exc:
        output.say(f"Warning: the audit is not rotated, as its limits are not known: {exc}")
        return None


def _rotate(volume: Volume, limits: Limits | None) -> None:
    if limits is not None:
        audit_rotation.rotate(volume, limits)
