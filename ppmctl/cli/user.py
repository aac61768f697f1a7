"""`ppmctl user`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from ppmctl import output, regular_file
from ppmctl.access import accounts, declarative, first_admin, import_htpasswd, invite_exchange, invites
from ppmctl.access.rights import ROLES
from ppmctl.cli import suggestions, user_change
from ppmctl.cli.groups import Group
from ppmctl.cli.options import Answer
from ppmctl.cli.secret_output import (
    expires_option,
    handed_over,
    issue,
    listed,
    output_option,
    projects_option,
    reads_all_warning,
    secret_file,
    table,
)
from ppmctl.cli.volume import actor, open_volume, volume_command
from ppmctl.errors import EXIT_FAILED, PpmError, UsageError
from ppmctl.index.layout import Volume


@click.group(cls=Group)
def user() -> None:
    """Add, list, change and remove users, on the machine that has the volume; a running server notices at once."""


for command in (user_change.change, user_change.disable, user_change.enable, user_change.rotate, user_change.remove):
    user.add_command(command)


@user.command()
@click.argument("name")
@click.option("--role", required=True, type=click.Choice(ROLES), help="What the user may do.")
@click.option("--email", metavar="ADDRESS", help="The user's e-mail address.")
@projects_option
@expires_option
@output_option()
@volume_command
def add(name: str, email: str | None, output: Path | None, root: Path, **grant: Any) -> Answer:
    """Add the user NAME and print the secret, which is not stored and is shown only once.

    OWNER+PURPOSE creates a token of OWNER, like `ppmctl token create`.
    """
    if "+" in name and email is not None:
        raise UsageError("A token has no e-mail address; its owner may have one.")
    create: Any = accounts.create_token if "+" in name else partial(accounts.create_user, email=email)
    return issue(output, root, create, name, **grant)


@user.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), help="What the user may do; creates a user that does not exist.")
@click.option("--email", metavar="ADDRESS", help="The new user's e-mail address.")
@projects_option
@expires_option
@output_option("the code to FILE")
@click.option("--withdraw", is_flag=True, help="Cancel the user's open invite.")
@volume_command
def invite(name: str, output: Path | None, withdraw: bool, root: Path, **grant: Any) -> Answer:
    """Print a code with which the user NAME gets a token; it works once, within 48 hours.

    The user types `ppmctl login URL --invite`, so no secret is sent. With --role, a user that does not exist is
    created without a secret. A new invite cancels an earlier one. --expires is about the user, not the code.
    """
    if withdraw:
        if output or any(grant.values()):
            raise UsageError("--withdraw only cancels an invite, and takes no other options.")
        return _withdraw(open_volume(root), name)
    with secret_file(output) as write:
        volume = open_volume(root)
        _require_time(volume, name)
        made, code = invite_exchange.invite(volume, actor(), name, **grant)
        write(code.reveal())
    note = f"{name} is invited until {made.expires}: ppmctl login URL --invite  asks for"
    note += f" the code, once; it is in {output}." if output else " this code, once:"
    return handed_over({"name": name, "expires": made.expires}, "code", code, output, note)


def _require_time(volume: Volume, name: str) -> None:
    for each in accounts.accounts(volume, owner=name):
        if each.access.name == name and each.state == "expired":
            hint = f"ppmctl user enable {name} --expires DURATION  gives more time; then invite again."
            raise PpmError(f"{name} has expired.", hint=hint)


def _withdraw(volume: Volume, name: str) -> Answer:
    accounts.account(volume, name)  # raises if there is no such user
    if not invite_exchange.withdraw(volume, actor(), name):
        raise PpmError(f"There is no open invite of {name!r}.", hint=f"ppmctl user show {name}")
    return Answer({"withdrawn": name}, lambda: output.say(f"The invite of {name} is cancelled."))


@user.command()
@click.option(
    "--host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="The name of the index's host, for ROOT/netrc. May be repeated.",
)
@volume_command
def first(root: Path, hosts: tuple[str, ...]) -> Answer:
    """Create a first admin if there is no admin, and print the path of the file that has the secret.

    The file (user:secret) and ROOT/netrc are readable by the volume's owner only. If there is an admin, this does
    nothing, so you can run it again.
    """
    volume = open_volume(root)
    made = first_admin.make(volume, actor(), hosts=hosts or first_admin.LOOPBACK)
    path = volume.first_credential if volume.first_credential.exists() else None

    def show() -> None:
        output.say("The first admin was created; the secret is in:" if made else "There is an admin; nothing to do.")
        output.data(*([str(path)] if path else []))

    return Answer({"made": made, "path": path}, show)


@user.command("apply")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--dry-run", is_flag=True, help="Print what would change, without changing anything.")
@volume_command
def apply_(file: Path, dry_run: bool, root: Path) -> Answer:
    """Create, change and remove users and tokens as the list in FILE (- for stdin) declares: all of them, or none.

    FILE is YAML or JSON: `users` and `tokens`, each a list of name, role, projects, reads, expires, secret, state
    (present, disabled, absent), and a user's email. You can apply it again: what is as declared stays as it is.
    Credentials that were created in another way, or that the list does not name, are never changed.
    """
    wanted = declarative.parse(_text(file, "The list"))  # before a switch to the volume's owner, who may not read it
    done = declarative.apply(open_volume(root), actor(), wanted, dry_run=dry_run)
    lines = [f"{each.name}: {each.what}" for each in done] or ["Everything is as declared; nothing to do."]
    return Answer(done, lambda: output.say(*lines))


def _text(file: Path, what: str) -> str:
    """Return the text of the file, or of stdin. Raise PpmError, which quotes nothing, where it can't be read."""
    try:
        if str(file) != "-":
            return regular_file.read_text(file)
        with click.open_file("-", encoding="utf-8") as opened:
            text = str(opened.read(regular_file.LARGEST + 1))
    except OSError as exc:
        raise PpmError(f"{file} can't be read: {exc.strerror}.") from exc
    except UnicodeError:
        raise PpmError(f"{what} is not UTF-8.") from None  # the cause quotes a part of it
    if len(text) > regular_file.LARGEST:
        raise PpmError(f"{what} has over {regular_file.LARGEST >> 20} MB.")
    return text


@user.command("list")
@volume_command
def list_(root: Path) -> Answer:
    """List the users and their tokens, and what they may do."""
    return listed(accounts.accounts(open_volume(root)))


@user.command()
@click.argument("name", shell_complete=suggestions.accounts)
@volume_command
def show(name: str, root: Path) -> Answer:
    """Show what the user or token NAME may do now, and its tokens."""
    volume = open_volume(root)
    account = accounts.account(volume, name)
    access, tokens = account.access, accounts.dependent_tokens(volume, account)
    notes, invite = [], None
    if invited := invites.pending(volume, access):
        is_open = invited.is_open(access)
        invite = {"expires": invited.expires, "by": invited.by, "open": is_open}
        what = "an open invite" if is_open else f"an invite that does not work while {name} is {account.state}"
        notes.append(f"{name} has {what}, made by {invited.by}, until {invited.expires}.")
    if access.email:
        notes.append(f"{name} is <{access.email}>.")
    if access.effective.role != access.role:
        notes.append(f"{name} is limited to its owner's rights: it is a {access.effective.role} now.")
    if warning := reads_all_warning([account]):
        notes.append(warning)

    def print_all() -> None:
        output.say(*notes)
        table([account, *tokens])

    value = {**account.as_values(), "tokens": [each.as_values() for each in tokens], "invite": invite}
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
    help="Refuse hashes that take more milliseconds of processor time per request.",
)
@click.option("--force", is_flag=True, help="Also import hashes above the limit.")
@click.option("--dry-run", is_flag=True, help="Print what would be imported, without changing anything.")
@volume_command
def import_(
    file: Path,
    role: str,
    projects: tuple[str, ...],
    reads: tuple[str, ...],
    limit: float,
    force: bool,
    dry_run: bool,
    root: Path,
) -> Answer:
    """Import the users of an htpasswd FILE (- for stdin) with their passwords.

    Supports {SHA}, {SSHA}, apr1, md5-crypt, sha256-crypt, sha512-crypt, bcrypt and DES crypt. nginx and the
    application compute the hash for each request, so the cost of each line is printed. Exits with 1 if a line was
    refused; the others are imported.
    """
    lines = import_htpasswd.parse(_text(file, "The htpasswd file"))
    limit = float("inf") if force else limit
    taken = import_htpasswd.import_users(
        open_volume(root), actor(), lines, role=role, projects=projects, reads=reads, limit=limit, dry_run=dry_run
    )
    noun = f"{'an' if role == 'admin' else 'a'} {role}"
    result = f"would be {noun}" if dry_run else f"{noun} now"
    rows = [(each.number, each.name, each.kind, f"{each.milliseconds:.2f}", each.refused or result) for each in taken]
    return Answer(
        taken,
        lambda: output.table(("LINE", "NAME", "HASH", "MS A REQUEST", "RESULT"), rows),
        exit_code=EXIT_FAILED if any(each.refused for each in taken) else 0,
    )
