"""`ppmctl user`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from ppmctl import output
from ppmctl.access import accounts, declarative, first_admin, import_htpasswd, invite_exchange, invites
from ppmctl.access.rights import ROLES
from ppmctl.cli import user_change
from ppmctl.cli.options import Answer, answers
from ppmctl.cli.secret_output import (
    expires_option,
    handed_over,
    issue,
    listed,
    output_option,
    projects_option,
    secret_file,
    table,
)
from ppmctl.cli.volume import actor, open_volume, root_option, there
from ppmctl.errors import EXIT_FAILED, PpmError, UsageError
from ppmctl.index.layout import Volume


@click.group()
def user() -> None:
    """Add, list, disable and remove users. Runs beside an index's volume; a running server sees it at once."""


for command in (user_change.change, user_change.disable, user_change.enable, user_change.rotate, user_change.remove):
    user.add_command(command)


@user.command()
@click.argument("name")
@click.option("--role", required=True, type=click.Choice(ROLES), help="What the user may do.")
@click.option("--email", metavar="ADDRESS", help="The user's e-mail address, to be kept with it.")
@projects_option
@expires_option
@output_option()
@answers
@root_option
def add(name: str, email: str | None, output: Path | None, root: Path, **grant: Any) -> Answer:
    """Add the user NAME and print the secret, once: it is stored nowhere.

    OWNER+PURPOSE is a token of OWNER, as `ppmctl token create` makes it.
    """
    if "+" in name and email is not None:
        raise UsageError("A token has no e-mail address; its owner may have one.")
    create: Any = accounts.create_token if "+" in name else partial(accounts.create_user, email=email)
    return issue(output, root, create, name, **grant)


@user.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), help="What the user may do: makes one that is not there yet.")
@click.option("--email", metavar="ADDRESS", help="The new user's e-mail address, to be kept with it.")
@projects_option
@expires_option
@output_option("the code to FILE")
@click.option("--withdraw", is_flag=True, help="Make the invite void that was made before.")
@answers
@root_option
def invite(name: str, output: Path | None, withdraw: bool, root: Path, **grant: Any) -> Answer:
    """Print a code with which the user NAME gets a token of its own; it works once, and for 48 hours.

    The colleague types `ppmctl login URL --invite`; no secret travels. A user that is not there is made, with --role
    and without a secret. A new invite makes an earlier one of that user void. --expires is about the user.
    """
    if withdraw:
        if output or any(grant.values()):
            raise UsageError("--withdraw makes an invite void, and changes nothing else.")
        return _withdraw(open_volume(there(root)), name)
    with secret_file(output) as write:
        volume = open_volume(root)
        _require_time(volume, name)
        made, code = invite_exchange.invite(volume, actor(), name, **grant)
        write(code.reveal())
    told = f"{name} is invited until {made.expires}: ppmctl login URL --invite  asks for"
    told += f" the code, once; it is in {output}." if output else " this code, once:"
    return handed_over({"name": name, "expires": made.expires}, "code", code, output, told)


def _require_time(volume: Volume, name: str) -> None:
    for each in accounts.accounts(volume, owner=name):
        if each.access.name == name and each.state == "expired":
            hint = f"ppmctl user enable {name} --expires DURATION  gives more time; then invite again."
            raise PpmError(f"{name} has expired.", hint=hint)


def _withdraw(volume: Volume, name: str) -> Answer:
    accounts.account(volume, name)  # there is such a user
    if not invite_exchange.withdraw(volume, actor(), name):
        raise PpmError(f"There is no open invite of {name!r}.", hint=f"ppmctl user show {name}")
    return Answer({"withdrawn": name}, lambda: output.say(f"The invite of {name} is void."))


@user.command()
@root_option
@click.option(
    "--host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="The name of the index's host, for ROOT/netrc. May be repeated.",
)
@answers
def first(root: Path, hosts: tuple[str, ...]) -> Answer:
    """Make a first admin where there is no admin, and print the path of the file that has the secret.

    The file (user:secret) and ROOT/netrc are for the volume's owner alone. Where there is an admin nothing happens,
    so it can be run again.
    """
    volume = open_volume(root)
    made = first_admin.make(volume, actor(), hosts=hosts or first_admin.LOOPBACK)
    paths = [path for path in [volume.first_credential] if path.exists()]

    def show() -> None:
        output.say("The first admin was made; the secret is in:" if made else "There is an admin; nothing to do.")
        output.data(*map(str, paths))

    return Answer({"made": made, "path": paths[0] if paths else None}, show)


@user.command("apply")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@answers
@root_option
def apply_(file: Path, dry_run: bool, root: Path) -> Answer:
    """Have the users and tokens that the list in FILE (- is stdin) declares, all of them or none.

    FILE is YAML or JSON: `users` and `tokens`, each a list of name, role, projects, expires, secret, state (present,
    disabled, absent), and a user's email. It can be applied again: what is as it says stays untouched. A credential
    that was made in another way is never changed by it, and one that the list does not name stays as it is.
    """
    wanted = declarative.parse(_text(file, "The list"))  # as who typed it, who may be root with a file of root's
    done = declarative.apply(open_volume(root), actor(), wanted, dry_run=dry_run)
    told = [f"{each.name}: {each.what}" for each in done] or ["Everything is as the list says."]
    return Answer(done, lambda: output.say(*told))


def _text(file: Path, what: str) -> str:
    """Return the text of the file, or of stdin. PpmError, without a part of it, where it can't be read."""
    try:
        with click.open_file(str(file), encoding="utf-8") as opened:  # - is stdin
            return str(opened.read())
    except OSError as exc:
        raise PpmError(f"{file} can't be read: {exc.strerror}.") from exc
    except UnicodeError:
        raise PpmError(f"{what} is not UTF-8.") from None  # it would quote a part of it


@user.command("list")
@root_option
@answers
def list_(root: Path) -> Answer:
    """List the users and their tokens, and what they may do."""
    return listed(accounts.accounts(open_volume(there(root))))


@user.command()
@click.argument("name")
@root_option
@answers
def show(name: str, root: Path) -> Answer:
    """Show the user or token NAME: what it may do now, and its tokens."""
    volume = open_volume(there(root))
    found = accounts.account(volume, name)
    tokens = accounts.dependent_tokens(volume, found)
    told, shown = [], None
    if invited := invites.pending(volume, found.access):
        is_open = invited.is_open(found.access)
        shown = {"expires": invited.expires, "by": invited.by, "open": is_open}
        what = "an open invite" if is_open else f"an invite that is held up while {name} is {found.state}"
        told.append(f"{name} has {what}, made by {invited.by}, until {invited.expires}.")
    if found.access.email:
        told.append(f"{name} is <{found.access.email}>.")
    if found.access.effective.role != found.access.role:
        told.append(f"{name} is held to what its owner has: it is a {found.access.effective.role} now.")

    def print_all() -> None:
        output.say(*told)
        table([found, *tokens])

    value = {**found.as_values(), "tokens": [each.as_values() for each in tokens], "invite": shown}
    return Answer(value, print_all)


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
@answers
@root_option
def import_(
    file: Path, role: str, projects: tuple[str, ...], limit: float, force: bool, dry_run: bool, root: Path
) -> Answer:
    """Take the users of an htpasswd FILE (- is stdin), with the passwords that they have.

    Lines can be {SHA}, {SSHA}, apr1, md5-crypt, sha256- and sha512-crypt, bcrypt, or DES crypt. Each request makes
    the hash again, in nginx and in the application: what that costs is said of each line. Exits with 1 if one was
    refused; the others are taken.
    """
    lines = import_htpasswd.parse(_text(file, "The htpasswd file"))
    limit = float("inf") if force else limit
    taken = import_htpasswd.import_users(
        open_volume(root), actor(), lines, role=role, projects=projects, limit=limit, dry_run=dry_run
    )
    noun = f"{'an' if role == 'admin' else 'a'} {role}"
    result = f"would be {noun}" if dry_run else f"{noun} now"
    rows = [(each.number, each.name, each.kind, f"{each.milliseconds:.2f}", each.refused or result) for each in taken]
    return Answer(
        taken,
        lambda: output.table(("LINE", "NAME", "HASH", "MS A REQUEST", "RESULT"), rows),
        exit_code=EXIT_FAILED if any(each.refused for each in taken) else 0,
    )
