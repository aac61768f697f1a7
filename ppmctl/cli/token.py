"""`ppmctl token`."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import click

from ppmctl import output
from ppmctl.access import accounts, rights
from ppmctl.access.expiry import Pruner
from ppmctl.access.rights import ROLES
from ppmctl.cli.options import Answer, answers
from ppmctl.cli.secret_output import expires_option, issue, listed, output_option, projects_option
from ppmctl.cli.user_change import revoke
from ppmctl.cli.volume import find_volume, open_volume, root_option, there
from ppmctl.errors import PpmError, UsageError


@click.group()
def token() -> None:
    """Create, list, revoke and prune tokens: credentials of a user for one purpose each, such as ops+laptop.

    A token has no more right than its owner has at that moment.
    """


token.add_command(revoke)


@token.command()
@click.argument("name", metavar="OWNER+PURPOSE")
@click.option("--role", required=True, type=click.Choice(ROLES), help="What the token may do.")
@projects_option
@expires_option
@output_option()
@answers
@root_option
def create(name: str, output: Path | None, root: Path, **grant: Any) -> Answer:
    """Create a token and print its secret, once: it is stored nowhere.

    An owner that is not there yet comes with its first token, and goes with the last: without a secret of its own,
    and with the rights that its tokens have together.
    """
    return issue(output, root, accounts.create_token, name, **grant)


@token.command("list")
@click.argument("owner", required=False)
@answers
@root_option
def list_(owner: str | None, root: Path) -> Answer:
    """List the tokens, or those of OWNER alone."""
    volume = open_volume(there(root))
    if owner is not None:
        accounts.account(volume, owner)  # there is such a user
    return listed([each for each in accounts.accounts(volume, owner=owner) if each.access.is_token])


@token.command()
@click.option("--every", metavar="DURATION", help="Go on, and do it again every 30s, 1m and so on, until a signal.")
@answers
@root_option
def prune(every: str | None, root: Path) -> Answer:
    """Take what has expired out of htpasswd: nginx knows no expiry.

    Also what stands there without an entry in access.yml, or is no hash that ppm knows. Where there is nothing to
    take out nothing is written. A running server does it every 30 seconds, as do a host's ppm-prune.timer and the
    service pruner of compose, which go on while no server runs.
    """
    if every is not None and click.get_current_context().params["as_json"]:
        raise UsageError("--json says what one run did; --every goes on.")
    volume = find_volume(root)
    pruned: tuple[str, ...] = ()
    if every is not None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: stop.set())
        Pruner(volume).run(every=rights.parse_duration(every).total_seconds(), stop=stop)
    elif volume.credentials.is_dir():
        try:
            pruned = accounts.prune(volume)
        except OSError as exc:
            raise PpmError(f"What has expired can't be taken out of {volume.htpasswd}: {exc.strerror}.") from exc
    return Answer({"pruned": pruned}, lambda: output.data(*pruned))
