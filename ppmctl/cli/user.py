"""`ppmctl user`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from ppmctl import output
from ppmctl.access import ROLES
from ppmctl.cli import alter
from ppmctl.cli.actor import actor
from ppmctl.cli.invite import invite
from ppmctl.cli.issue import (
    expires_option,
    hand_over,
    output_option,
    projects_option,
    table,
    values,
)
from ppmctl.cli.options import json_option
from ppmctl.cli.volume import open_volume, root_option, there
from ppmctl.errors import PpmError, UsageError


@click.group()
def user() -> None:
    """Add, list, disable and remove users. Runs beside an index's volume; a running server sees it at once."""


for command in (invite, alter.change, alter.disable, alter.enable, alter.rotate, alter.remove):
    user.add_command(command)


@user.command()
@click.argument("name")
@click.option("--role", required=True, type=click.Choice(ROLES), help="What the user may do.")
@click.option("--email", metavar="ADDRESS", help="The user's e-mail address, to be kept with it.")
@projects_option
@expires_option
@output_option
@json_option
@root_option
def add(
    name: str,
    role: str,
    email: str | None,
    projects: tuple[str, ...],
    expires: str | None,
    output: Path | None,
    as_json: bool,
    root: Path,
) -> None:
    """Add the user NAME and print the secret, once: it is stored nowhere.

    OWNER+PURPOSE is a token of OWNER, as `ppmctl token create` makes it.
    """
    from ppmctl import access, accounts

    until = access.expiry(expires) if expires else None
    if "+" in name and email is not None:
        raise UsageError("A token has no e-mail address; its owner may have one.")
    create: Any = accounts.create_token if "+" in name else partial(accounts.create_user, email=email)
    hand_over(
        lambda deliver: create(
            open_volume(root), actor(), name, role=role, projects=projects, expires=until, deliver=deliver
        ),
        path=output,
        as_json=as_json,
    )


@user.command()
@root_option
@click.option(
    "--host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="The name of the index's host, for ROOT/netrc. May be repeated.",
)
@json_option
def first(root: Path, hosts: tuple[str, ...], as_json: bool) -> None:
    """Make a first admin where there is no admin, and print the path of the file that has the secret.

    The file (user:secret) and ROOT/netrc are for the volume's owner alone. Where there is an admin nothing happens,
    so it can be run again.
    """
    from ppmctl import first_admin

    volume = open_volume(root)
    made = first_admin.make(volume, actor(), hosts=hosts or first_admin.LOOPBACK)
    path = str(volume.first_credential) if volume.first_credential.exists() else None
    if as_json:
        output.as_json({"made": made, "path": path})
    else:
        output.say("The first admin was made; the secret is in:" if made else "There is an admin; nothing to do.")
        if path is not None:
            output.data(path)


@user.command("apply")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@json_option
@root_option
def apply_(file: Path, dry_run: bool, as_json: bool, root: Path) -> None:
    """Have the users and tokens that the list in FILE (- is stdin) declares, all of them or none.

    FILE is YAML or JSON: `users` and `tokens`, each a list of name, role, projects, expires, secret, state (present,
    disabled, absent), and a user's email. It can be applied again: what is as it says stays untouched. A credential
    that was made in another way is never changed by it, and one that the list does not name stays as it is.
    """
    from ppmctl import declare

    wanted = declare.parse(_text(file, "The list"))  # as who typed it, who may be root with a file of root's
    done = declare.apply(open_volume(root), actor(), wanted, dry_run=dry_run)
    if as_json:
        output.as_json([each.as_values() for each in done])
        return
    for each in done:
        output.say(f"{each.name}: {each.what}")
    if not done:
        output.say("Everything is as the list says.")


def _text(file: Path, what: str) -> str:
    """The text of the file, or of stdin. PpmError, without a part of it, where it can't be read."""
    try:
        with click.open_file(str(file), encoding="utf-8") as opened:  # - is stdin
            return str(opened.read())
    except OSError as exc:
        raise PpmError(f"{file} can't be read: {exc.strerror}.") from exc
    except UnicodeError:
        raise PpmError(f"{what} is not UTF-8.") from None  # it would quote a part of it


@user.command("list")
@root_option
@json_option
def list_(root: Path, as_json: bool) -> None:
    """List the users and their tokens, and what they may do."""
    from ppmctl import accounts

    found = accounts.accounts(open_volume(there(root)))
    if as_json:
        output.as_json([values(each) for each in found])
    else:
        table(found)


@user.command()
@click.argument("name")
@root_option
@json_option
def show(name: str, root: Path, as_json: bool) -> None:
    """Show the user or token NAME: what it may do now, and its tokens."""
    from ppmctl import accounts, invites

    volume = open_volume(there(root))
    found = accounts.account(volume, name)
    invited = invites.waiting(volume, found.access)
    is_open = invited is not None and invited.is_open(found.access)
    held = (each for each in accounts.accounts(volume, owner=found.access.owner) if each.access.stands_on(name))
    tokens = tuple(each for each in held if each.access.name != name)
    if as_json:
        shown = {**values(found), "tokens": [values(each) for each in tokens]}
        invite = {"expires": invited.expires, "by": invited.by, "open": is_open} if invited else None
        output.as_json({**shown, "invite": invite})
        return
    if invited:
        what = "an open invite" if is_open else f"an invite that is held up while {name} is {found.state}"
        output.say(f"{name} has {what}, made by {invited.by}, until {invited.expires}.")
    if found.access.email:
        output.say(f"{name} is <{found.access.email}>.")
    if found.access.effective.role != found.access.role:
        output.say(f"{name} is held to what its owner has: it is a {found.access.effective.role} now.")
    table((found, *tokens))


@user.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option(
    "--role", default="reader", show_default=True, type=click.Choice(ROLES), help="What these users may do."
)
@projects_option
@click.option(
    "--limit",
    default=25.0,
    show_default=True,
    type=click.FloatRange(min=0.0),
    metavar="MS",
    help="Refuse what costs more milliseconds of processor time per request.",
)
@click.option("--force", is_flag=True, help="Take those above the limit too.")
@click.option("--dry-run", is_flag=True, help="Say what would be taken, and change nothing.")
@json_option
@root_option
def import_(
    file: Path,
    role: str,
    projects: tuple[str, ...],
    limit: float,
    force: bool,
    dry_run: bool,
    as_json: bool,
    root: Path,
) -> int:
    """Take the users of an htpasswd FILE (- is stdin), with the passwords that they have.

    Lines can be {SHA}, {SSHA}, apr1, md5-crypt, sha256- and sha512-crypt, bcrypt, or DES crypt. Each request makes
    the hash again, in nginx and in the application: what that costs is said of each line. Exits with 1 if one was
    refused; the others are taken.
    """
    from ppmctl import importing

    lines = importing.parse(_text(file, "The htpasswd file"))
    who, volume = actor(), open_volume(root)
    taken = importing.take(
        volume, who, lines, role=role, projects=projects, limit=float("inf") if force else limit, dry_run=dry_run
    )
    role_now = f"{'an' if role == 'admin' else 'a'} {role}"
    result = f"would be {role_now}" if dry_run else f"{role_now} now"
    if as_json:
        output.as_json([each.as_values() for each in taken])
    else:
        output.table(
            ("LINE", "NAME", "HASH", "MS A REQUEST", "RESULT"),
            [
                (str(each.number), each.name, each.kind, f"{each.milliseconds:.2f}", each.refused or result)
                for each in taken
            ],
        )
    return 1 if any(each.refused for each in taken) else 0
