"""`ppmctl user`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from ppmctl import output
from ppmctl.access import ROLES
from ppmctl.cli.actor import actor
from ppmctl.cli.invite import invite
from ppmctl.cli.issue import (
    described,
    expires_option,
    hand_over,
    json_option,
    output_option,
    projects_option,
    table,
)
from ppmctl.cli.volume import open_volume, root_option, there
from ppmctl.errors import PpmError, UsageError


@click.group()
def user() -> None:
    """Add, list, disable and remove users. Runs beside an index's volume; a running server sees it at once."""


user.add_command(invite)


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

    wanted = declare.parse(_list(file))  # as who typed it, who may be root with a file of root's
    done = declare.apply(open_volume(root), actor(), wanted, dry_run=dry_run)
    if as_json:
        output.as_json([each.as_values() for each in done])
        return
    for each in done:
        output.say(f"{each.name}: {each.what}")
    if not done:
        output.say("Everything is as the list says.")


def _list(file: Path) -> str:
    try:
        with click.open_file(str(file), encoding="utf-8") as opened:  # - is stdin
            return str(opened.read())
    except OSError as exc:
        raise PpmError(f"{file} can't be read: {exc.strerror}.") from exc
    except UnicodeError:
        raise PpmError("The list is not UTF-8.") from None  # it would quote a part of it


@user.command("list")
@root_option
@json_option
def list_(root: Path, as_json: bool) -> None:
    """List the users and their tokens, and what they may do."""
    from ppmctl import accounts

    found = accounts.accounts(open_volume(there(root)))
    if as_json:
        output.as_json([each.as_values() for each in found])
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
    invited = invites.of_user(volume, found.access)
    held = (each for each in accounts.accounts(volume, owner=found.access.owner) if each.access.stands_on(name))
    tokens = tuple(each for each in held if each.access.name != name)
    if as_json:
        shown = {**found.as_values(), "state": found.state, "tokens": [each.as_values() for each in tokens]}
        output.as_json({**shown, "invite": {"expires": invited.expires, "by": invited.by} if invited else None})
        return
    if invited:
        output.say(f"{name} has an open invite, made by {invited.by}, until {invited.expires}.")
    if found.access.email:
        output.say(f"{name} is <{found.access.email}>.")
    if found.access.effective.role != found.access.role:
        output.say(f"{name} is held to what its owner has: it is a {found.access.effective.role} now.")
    table((found, *tokens))


@user.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), help="What the user or token may do from now on.")
@projects_option
@click.option("--all-projects", is_flag=True, help="A publisher of all projects from now on.")
@click.option("--email", metavar="ADDRESS", help="The user's e-mail address.")
@root_option
def change(
    name: str, role: str | None, projects: tuple[str, ...], all_projects: bool, email: str | None, root: Path
) -> None:
    """Change what the user or token NAME may do. It keeps its secret; a user's tokens are held to it at once."""
    from ppmctl import accounts

    globs = projects or (() if all_projects else None)
    changed = accounts.change(open_volume(there(root)), actor(), name, role=role, projects=globs, email=email)
    output.say(described(changed))


@user.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
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
    """Take the users of an htpasswd FILE, with the passwords that they have.

    Lines can be {SHA}, {SSHA}, apr1, md5-crypt, sha256- and sha512-crypt, bcrypt, or DES crypt. Each request makes
    the hash again, in nginx and in the application: what that costs is said of each line. Exits with 1 if one was
    refused; the others are taken.
    """
    from ppmctl import importing

    lines = importing.read(file)
    who, volume = actor(), open_volume(root)
    taken = importing.take(
        volume, who, lines, role=role, projects=projects, limit=float("inf") if force else limit, dry_run=dry_run
    )
    if as_json:
        output.as_json([each.as_values() for each in taken])
    else:
        output.table(
            ("LINE", "NAME", "HASH", "MS A REQUEST", "RESULT"),
            [
                (str(each.number), each.name, each.kind, f"{each.milliseconds:.2f}", each.refused or f"a {role} now")
                for each in taken
            ],
        )
    return 1 if any(each.refused for each in taken) else 0


@user.command()
@click.argument("name")
@root_option
def disable(name: str, root: Path) -> None:
    """Let the user or token NAME in no more, nor a user's tokens, from now on; `enable` takes it back."""
    from ppmctl import accounts, declare

    volume = open_volume(there(root))
    for shut in accounts.disable(volume, actor(), name) or (name,):
        output.say(f"{shut} is disabled.")
    if note := declare.given_back(volume, name):
        output.say(note)


@user.command()
@click.argument("name")
@expires_option
@root_option
def enable(name: str, expires: str | None, root: Path) -> None:
    """Let the disabled user or token NAME in again, with the secret that it had; an expired one with --expires."""
    from ppmctl import access, accounts

    until = access.expiry(expires) if expires else None
    enabled = accounts.enable(open_volume(there(root)), actor(), name, expires=until)
    output.say(described(enabled))
    if enabled.state == "no secret":
        output.say(f"It has no secret: ppmctl user rotate {name}  gives it one.")


@user.command()
@click.argument("name")
@expires_option
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


@user.command()
@click.argument("name")
@root_option
def remove(name: str, root: Path) -> None:
    """Remove the user NAME and its tokens: from the next request on, their secrets let nobody in."""
    from ppmctl import accounts, declare

    volume = open_volume(there(root))
    note = declare.given_back(volume, name)
    for gone in accounts.remove(volume, actor(), name):
        output.say(f"{gone} is no {'token' if '+' in gone else 'user'} any more.")
    if note:
        output.say(note)
