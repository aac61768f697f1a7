"""`ppmctl token`."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from ppmctl import output
from ppmctl.access import ROLES
from ppmctl.cli.actor import actor
from ppmctl.cli.issue import expires_option, hand_over, output_option, projects_option, table, values
from ppmctl.cli.options import json_option
from ppmctl.cli.volume import find_volume, open_volume, root_option, there
from ppmctl.volume import Volume


@click.group()
def token() -> None:
    """Create, list, revoke and prune tokens: credentials of a user for one purpose each, such as ops+laptop.

    A token has no more right than its owner has at that moment.
    """


@token.command()
@click.argument("name", metavar="OWNER+PURPOSE")
@click.option("--role", required=True, type=click.Choice(ROLES), help="What the token may do.")
@projects_option
@expires_option
@output_option
@json_option
@root_option
def create(
    name: str,
    role: str,
    projects: tuple[str, ...],
    expires: str | None,
    output: Path | None,
    as_json: bool,
    root: Path,
) -> None:
    """Create a token and print its secret, once: it is stored nowhere.

    An owner that is not there yet comes with its first token, and goes with the last: without a secret of its own,
    and with the rights that its tokens have together.
    """
    from ppmctl import access, accounts

    until = access.expiry(expires) if expires else None
    hand_over(
        lambda deliver: accounts.create_token(
            open_volume(root), actor(), name, role=role, projects=projects, expires=until, deliver=deliver
        ),
        path=output,
        as_json=as_json,
    )


@token.command("list")
@click.argument("owner", required=False)
@json_option
@root_option
def list_(owner: str | None, as_json: bool, root: Path) -> None:
    """List the tokens, or those of OWNER alone."""
    from ppmctl import accounts

    volume = open_volume(there(root))
    if owner is not None:
        accounts.account(volume, owner)  # there is such a user
    found = tuple(each for each in accounts.accounts(volume, owner=owner) if each.access.is_token)
    if as_json:
        output.as_json([values(each) for each in found])
    else:
        table(found)


@token.command()
@click.argument("name", metavar="OWNER+PURPOSE")
@json_option
@root_option
def revoke(name: str, as_json: bool, root: Path) -> None:
    """Revoke a token, and those that were made with it: from the next request on they let nobody in."""
    from ppmctl import accounts, declare
    from ppmctl.errors import UsageError

    volume = open_volume(there(root))
    if "+" not in name:
        accounts.account(volume, name)  # there is such a user
        raise UsageError(
            f"{name!r} is a user, no token.", hint=f"ppmctl user remove {name}  removes it with its tokens."
        )
    note = declare.given_back(volume, name)
    gone = accounts.remove(volume, actor(), name)
    if as_json:
        output.as_json({"revoked": list(gone)})
    else:
        for each in gone:
            output.say(f"{each} is revoked.")
    if note:
        output.say(note)


@token.command()
@click.option("--every", metavar="DURATION", help="Go on, and do it again every 30s, 1m and so on, until a signal.")
@json_option
@root_option
def prune(every: str | None, as_json: bool, root: Path) -> None:
    """Take what has expired out of htpasswd: nginx knows no expiry.

    Also what stands there without an entry in access.yml, or is no hash that ppm knows. Where there is nothing to
    take out nothing is written. A running server does it every 30 seconds, as do a host's ppm-prune.timer and the
    service pruner of compose, which go on while no server runs.
    """
    from ppmctl import access, accounts
    from ppmctl.errors import PpmError, UsageError

    if every is not None and as_json:
        raise UsageError("--json says what one run did; --every goes on.")
    volume = find_volume(root)
    if every is not None:
        _prune_on(volume, access.span(every).total_seconds())
        return
    try:
        pruned = accounts.prune(volume) if volume.credentials.is_dir() else ()
    except OSError as exc:
        raise PpmError(f"What has expired can't be taken out of {volume.htpasswd}: {exc.strerror}.") from exc
    if as_json:
        output.as_json({"pruned": list(pruned)})
    else:
        for name in pruned:
            output.data(name)


def _prune_on(volume: Volume, seconds: float) -> None:
    from ppmctl.pruning import Pruner

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    Pruner(volume).run(every=seconds, stop=stop)
