"""`ppmctl user change`, `disable`, `enable`, `rotate` and `remove`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ppmctl import output
from ppmctl.access import ROLES
from ppmctl.cli.actor import actor
from ppmctl.cli.issue import (
    described,
    duration,
    hand_over,
    output_option,
    projects_option,
    values,
)
from ppmctl.cli.options import json_option
from ppmctl.cli.volume import open_volume, root_option, there
from ppmctl.errors import UsageError

if TYPE_CHECKING:
    from ppmctl.volume import Volume

_expires_option = click.option(
    "--expires",
    metavar="DURATION",
    callback=duration,
    help="How long it lets in from now on: 45s, 10m, 12h or 90d. Without it as long as before.",
)


@click.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), help="What the user or token may do from now on.")
@projects_option
@click.option("--all-projects", is_flag=True, help="A publisher of all projects from now on.")
@click.option("--email", metavar="ADDRESS", help="The user's e-mail address.")
@json_option
@root_option
def change(
    name: str,
    role: str | None,
    projects: tuple[str, ...],
    all_projects: bool,
    email: str | None,
    as_json: bool,
    root: Path,
) -> None:
    """Change what the user or token NAME may do. It keeps its secret; a user's tokens are held to it at once.

    How long it lets in is changed by `enable --expires` and `rotate --expires`.
    """
    from ppmctl import accounts

    if projects and all_projects:
        raise UsageError("--project names some projects, and --all-projects means all.", hint="Give one of them.")
    if role is None and not projects and not all_projects and email is None:
        raise UsageError(
            "It is not said what is to change: --role, --project, --all-projects or --email.",
            hint=f"How long it lets in: ppmctl user enable {name} --expires DURATION",
        )
    globs = projects or (() if all_projects else None)
    volume = open_volume(there(root))
    with _Admins(volume):
        changed = accounts.change(volume, actor(), name, role=role, projects=globs, email=email)
        if as_json:
            output.as_json(values(changed))
        else:
            output.say(described(changed))


@click.command()
@click.argument("name")
@json_option
@root_option
def disable(name: str, as_json: bool, root: Path) -> None:
    """Let the user or token NAME in no more, nor a user's tokens, from now on; `enable` takes it back."""
    from ppmctl import accounts, declare

    volume = open_volume(there(root))
    with _Admins(volume):
        shut = list(dict.fromkeys([name, *accounts.disable(volume, actor(), name)]))
        if as_json:
            output.as_json({"disabled": shut})
        else:
            for each in shut:
                output.say(f"{each} is disabled.")
        if note := declare.given_back(volume, name):
            output.say(note)


@click.command()
@click.argument("name")
@_expires_option
@json_option
@root_option
def enable(name: str, expires: str | None, as_json: bool, root: Path) -> None:
    """Let the disabled user or token NAME in again, with the secret that it had; an expired one with --expires.

    With --expires one that lets in already does so as long as that says. Tokens come back with their user.
    """
    from ppmctl import access, accounts

    until = access.expiry(expires) if expires else None
    volume = open_volume(there(root))
    enabled = accounts.enable(volume, actor(), name, expires=until)
    if as_json:
        output.as_json(values(enabled))
        return
    output.say(described(enabled))
    held = (each for each in accounts.accounts(volume, owner=enabled.access.owner) if each.access.stands_on(name))
    back = [each.access.name for each in held if each.state == "active" and each.access.name != name]
    for each in back:
        output.say(f"{each} is let in.")
    if enabled.state == "no secret" and not back:
        joins = "" if enabled.access.is_token else f"; ppmctl user invite {name}  gives a token"
        output.say(f"It has no secret: ppmctl user rotate {name}  gives it one{joins}.")


@click.command()
@click.argument("name")
@_expires_option
@output_option
@json_option
@root_option
def rotate(name: str, expires: str | None, output: Path | None, as_json: bool, root: Path) -> None:
    """Give the user or token NAME another secret, and print it, once. The old one lets nobody in any more."""
    from ppmctl import access, accounts

    until = access.expiry(expires) if expires else None
    hand_over(
        lambda deliver: accounts.rotate(open_volume(there(root)), actor(), name, expires=until, deliver=deliver),
        path=output,
        as_json=as_json,
    )


@click.command()
@click.argument("name")
@json_option
@root_option
def remove(name: str, as_json: bool, root: Path) -> None:
    """Remove the user NAME and its tokens: from the next request on, their secrets let nobody in."""
    from ppmctl import accounts, declare

    volume = open_volume(there(root))
    note = declare.given_back(volume, name)
    with _Admins(volume):
        gone = accounts.remove(volume, actor(), name)
        if as_json:
            output.as_json({"removed": list(gone)})
        else:
            for each in gone:
                output.say(f"{each} is no {'token' if '+' in each else 'user'} any more.")
        if note:
            output.say(note)


class _Admins:
    """Says at its end if what was done has let the last admin in no more: beside the volume another can be made."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._were_there = self._are_there()

    def _are_there(self) -> bool:
        from ppmctl import accounts

        found = accounts.accounts(self._volume)
        return any(each.state == "active" and each.access.effective.role == "admin" for each in found)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, *_exc: object) -> None:
        if kind is None and self._were_there and not self._are_there():
            output.say("No admin is let in any more: ppmctl user add NAME --role admin  makes one.")
