"""`ppmctl user change`, `disable`, `enable`, `rotate` and `remove`, and `ppmctl token revoke`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click

from ppmctl import output
from ppmctl.access import accounts, declarative
from ppmctl.access.rights import ROLES
from ppmctl.cli import suggestions
from ppmctl.cli.options import Answer, exclusive
from ppmctl.cli.secret_output import described, issue, more_time_option, output_option, projects_option
from ppmctl.cli.volume import actor, open_volume, volume_command
from ppmctl.errors import UsageError
from ppmctl.index.layout import Volume


@click.command()
@click.argument("name", shell_complete=suggestions.accounts)
@click.option("--role", type=click.Choice(ROLES), help="What the user or token may do from now on.")
@projects_option
@click.option("--all-projects", is_flag=True, help="Lift the limit of --project.")
@click.option("--read-all-projects", is_flag=True, help="Lift the limit of --read-project.")
@click.option("--email", metavar="ADDRESS", help="The user's e-mail address.")
@volume_command
def change(
    name: str,
    role: str | None,
    projects: tuple[str, ...],
    reads: tuple[str, ...],
    all_projects: bool,
    read_all_projects: bool,
    email: str | None,
    root: Path,
) -> Answer:
    """Change the rights of the user or token NAME; the secret stays. A user's tokens are limited at once.

    To change how long the credential is valid, use `enable --expires` or `rotate --expires`.
    """
    if projects and all_projects:
        raise exclusive("--project", "--all-projects")
    if reads and read_all_projects:
        raise exclusive("--read-project", "--read-all-projects")
    if role is None and email is None and not (projects or all_projects or reads or read_all_projects):
        raise UsageError(
            "Nothing to change: give --role, --project, --all-projects, --read-project, --read-all-projects or"
            " --email.",
            hint=f"To change how long it is valid: ppmctl user enable {name} --expires DURATION",
        )
    scope = {
        "projects": projects or (() if all_projects else None),
        "reads": reads or (() if read_all_projects else None),
    }
    volume = open_volume(root)
    had_admin = _has_admin(volume)
    changed = accounts.change(volume, actor(), name, role=role, email=email, **scope)
    return Answer(changed.as_values(), lambda: output.say(described(changed)), notes=_no_admin(volume, had_admin))


@click.command()
@click.argument("name", shell_complete=suggestions.accounts)
@volume_command
def disable(name: str, root: Path) -> Answer:
    """Disable the user or token NAME, and a user's tokens, at once; `enable` undoes it."""

    def shut(volume: Volume) -> Iterable[str]:
        return dict.fromkeys([name, *accounts.disable(volume, actor(), name)])

    return _shut_out(root, name, "disabled", shut)


@click.command()
@click.argument("name", shell_complete=suggestions.accounts)
@more_time_option
@volume_command
def enable(name: str, expires: str | None, root: Path) -> Answer:
    """Enable the disabled user or token NAME, and a user's tokens, with the same secret.

    With --expires, also one that has expired, or one that is enabled: it is valid for that time from now on.
    """
    volume = open_volume(root)
    enabled = accounts.enable(volume, actor(), name, expires=expires)
    others = accounts.dependent_tokens(volume, enabled)
    back = [each.access.name for each in others if each.state == "active"]
    notes = [described(enabled), *(f"{each} is enabled." for each in back)]
    if enabled.state == "no secret" and not back:
        joins = "" if enabled.access.is_token else f"; ppmctl user invite {name}  gives a token"
        notes.append(f"It has no secret: ppmctl user rotate {name}  gives it one{joins}.")
    return Answer(enabled.as_values(), lambda: output.say(*notes))


@click.command()
@click.argument("name", shell_complete=suggestions.accounts)
@more_time_option
@output_option()
@volume_command
def rotate(name: str, expires: str | None, output: Path | None, root: Path) -> Answer:
    """Give the user or token NAME a new secret, and print it, only once. The old one stops working."""
    return issue(output, root, accounts.rotate, name, expires=expires)


@click.command()
@click.argument("name", shell_complete=suggestions.users)
@volume_command
def remove(name: str, root: Path) -> Answer:
    """Remove the user NAME and its tokens; their secrets stop working at once."""
    return _shut_out(root, name, "removed", lambda volume: accounts.remove(volume, actor(), name))


@click.command()
@click.argument("name", metavar="OWNER+PURPOSE", shell_complete=suggestions.tokens)
@volume_command
def revoke(name: str, root: Path) -> Answer:
    """Revoke a token and the tokens that were made with it; they stop working at once."""

    def shut(volume: Volume) -> Iterable[str]:
        if "+" in name:
            return accounts.remove(volume, actor(), name)
        accounts.account(volume, name)  # raises if there is no such user
        hint = f"ppmctl user remove {name}  removes it with its tokens."
        raise UsageError(f"{name!r} is a user, not a token.", hint=hint)

    return _shut_out(root, name, "revoked", shut)


def _shut_out(root: Path, name: str, state: str, shut: Callable[[Volume], Iterable[str]]) -> Answer:
    """Have `shut` disable or remove `name` and what depends on it; return the answer with all names as `state`."""
    volume = open_volume(root)
    declared, had_admin = declarative.overwrite_warning(volume, name), _has_admin(volume)
    names = list(shut(volume))
    notes = [*_no_admin(volume, had_admin), *([declared] if declared else [])]
    return Answer({state: names}, lambda: output.say(*(f"{each} is {state}." for each in names)), notes=notes)


def _has_admin(volume: Volume) -> bool:
    return any(each.state == "active" and each.access.effective.role == "admin" for each in accounts.accounts(volume))


def _no_admin(volume: Volume, had_admin: bool) -> list[str]:
    """Return a warning if this command shut out the last admin."""
    is_last = had_admin and not _has_admin(volume)
    return ["There is no active admin any more: ppmctl user add NAME --role admin  creates one."] if is_last else []
