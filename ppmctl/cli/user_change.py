"""`ppmctl user change`, `disable`, `enable`, `rotate` and `remove`, and `ppmctl token revoke`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click

from ppmctl import output
from ppmctl.access import accounts, declarative
from ppmctl.access.rights import ROLES, noun
from ppmctl.cli.options import Answer, answers
from ppmctl.cli.secret_output import described, issue, more_time_option, output_option, projects_option
from ppmctl.cli.volume import actor, open_volume, root_option, there
from ppmctl.errors import UsageError
from ppmctl.index.layout import Volume


@click.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), help="What the user or token may do from now on.")
@projects_option
@click.option("--all-projects", is_flag=True, help="A publisher of all projects from now on.")
@click.option("--email", metavar="ADDRESS", help="The user's e-mail address.")
@answers
@root_option
def change(
    name: str, role: str | None, projects: tuple[str, ...], all_projects: bool, email: str | None, root: Path
) -> Answer:
    """Change what the user or token NAME may do. It keeps its secret; a user's tokens are held to it at once.

    How long it lets in is changed by `enable --expires` and `rotate --expires`.
    """
    if projects and all_projects:
        raise UsageError("--project names some projects, and --all-projects means all.", hint="Give one of them.")
    if role is None and not projects and not all_projects and email is None:
        raise UsageError(
            "It is not said what is to change: --role, --project, --all-projects or --email.",
            hint=f"How long it lets in: ppmctl user enable {name} --expires DURATION",
        )
    globs = projects or (() if all_projects else None)
    volume = open_volume(there(root))
    had_admin = _has_admin(volume)
    changed = accounts.change(volume, actor(), name, role=role, projects=globs, email=email)
    return Answer(changed.as_values(), lambda: output.say(described(changed)), notes=_no_admin(volume, had_admin))


@click.command()
@click.argument("name")
@answers
@root_option
def disable(name: str, root: Path) -> Answer:
    """Let the user or token NAME in no more, nor a user's tokens, from now on; `enable` takes it back."""

    def shut(volume: Volume) -> Iterable[str]:
        return dict.fromkeys([name, *accounts.disable(volume, actor(), name)])

    return let_in_no_more(root, name, "disabled", shut, lambda each: f"{each} is disabled.")


@click.command()
@click.argument("name")
@more_time_option
@answers
@root_option
def enable(name: str, expires: str | None, root: Path) -> Answer:
    """Let the disabled user or token NAME in again, with the secret that it had; an expired one with --expires.

    With --expires one that lets in already does so as long as that says. Tokens come back with their user.
    """
    volume = open_volume(there(root))
    enabled = accounts.enable(volume, actor(), name, expires=expires)
    others = accounts.dependent_tokens(volume, enabled)
    back = [each.access.name for each in others if each.state == "active"]
    told = [described(enabled), *(f"{each} is let in." for each in back)]
    if enabled.state == "no secret" and not back:
        joins = "" if enabled.access.is_token else f"; ppmctl user invite {name}  gives a token"
        told.append(f"It has no secret: ppmctl user rotate {name}  gives it one{joins}.")
    return Answer(enabled.as_values(), lambda: output.say(*told))


@click.command()
@click.argument("name")
@more_time_option
@output_option()
@answers
@root_option
def rotate(name: str, expires: str | None, output: Path | None, root: Path) -> Answer:
    """Give the user or token NAME another secret, and print it, once. The old one lets nobody in any more."""
    return issue(output, there(root), accounts.rotate, name, expires=expires)


@click.command()
@click.argument("name")
@answers
@root_option
def remove(name: str, root: Path) -> Answer:
    """Remove the user NAME and its tokens: from the next request on, their secrets let nobody in."""
    return let_in_no_more(
        root,
        name,
        "removed",
        lambda volume: accounts.remove(volume, actor(), name),
        lambda each: f"{each} is no {noun(each)} any more.",
    )


@click.command()
@click.argument("name", metavar="OWNER+PURPOSE")
@answers
@root_option
def revoke(name: str, root: Path) -> Answer:
    """Revoke a token, and those that were made with it: from the next request on they let nobody in."""

    def revoked(volume: Volume) -> Iterable[str]:
        if "+" in name:
            return accounts.remove(volume, actor(), name)
        accounts.account(volume, name)  # there is such a user
        hint = f"ppmctl user remove {name}  removes it with its tokens."
        raise UsageError(f"{name!r} is a user, no token.", hint=hint)

    return let_in_no_more(root, name, "revoked", revoked, lambda each: f"{each} is revoked.")


def let_in_no_more(
    root: Path, name: str, state: str, act: Callable[[Volume], Iterable[str]], told: Callable[[str], str]
) -> Answer:
    """Have `act` shut credentials out, `name` among them; the answer has their names below `state`."""
    volume = open_volume(there(root))
    declared, had_admin = declarative.overwrite_warning(volume, name), _has_admin(volume)
    names = list(act(volume))
    notes = [*_no_admin(volume, had_admin), *([declared] if declared else [])]
    return Answer({state: names}, lambda: output.say(*map(told, names)), notes=notes)


def _has_admin(volume: Volume) -> bool:
    found = accounts.accounts(volume)
    return any(each.state == "active" and each.access.effective.role == "admin" for each in found)


def _no_admin(volume: Volume, had_admin: bool) -> list[str]:
    """Return what to do if the last admin is let in no more: on the server another can be made."""
    lacks = had_admin and not _has_admin(volume)
    return ["No admin is let in any more: ppmctl user add NAME --role admin  makes one."] if lacks else []
