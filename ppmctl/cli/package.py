"""`ppmctl package`."""

from __future__ import annotations

from pathlib import Path

import click

from ppmctl import output
from ppmctl.cli.volume import open_store, open_volume, root_option
from ppmctl.errors import PpmError

_STATES = ["active", "archived", "quarantined", "deprecated"]


@click.group()
def package() -> None:
    """Yank, unyank or remove releases; set a project's status. Runs beside the index's volume."""


@package.command()
@click.argument("project")
@click.argument("version")
@click.option("--reason", default="", help="Why, for the people whose resolver skips it.")
@root_option
def yank(project: str, version: str, reason: str, root: Path) -> None:
    """Yank VERSION of PROJECT (or one file of it): resolvers skip it, who pins it still gets it (PEP 592)."""
    _report(root, "yank", open_store(root).yank(_name(project), version, reason))


@package.command()
@click.argument("project")
@click.argument("version")
@root_option
def unyank(project: str, version: str, root: Path) -> None:
    """Take the yank of VERSION of PROJECT (or of one file of it) back."""
    _report(root, "unyank", open_store(root).unyank(_name(project), version))


@package.command()
@click.argument("project")
@click.argument("version")
@click.option("--yes", is_flag=True, help="Do not ask.")
@root_option
def remove(project: str, version: str, yes: bool, root: Path) -> None:
    """Remove VERSION of PROJECT (or one file of it) for good; the names of its files can't be used again."""
    if not yes:
        output.say(f"{project} {version} will be gone, and its file names can't be used again. To yank is milder.")
        typed = click.prompt("Type the name of the project to go on", err=True)
        if typed != project:
            raise PpmError("That is another name; nothing was removed.")
    _report(root, "remove", open_store(root).remove(_name(project), version))


@package.command()
@click.argument("project")
@click.argument("state", required=False, type=click.Choice(_STATES))
@click.option("--reason", default="", help="Why, for the people who install it.")
@root_option
def status(project: str, state: str | None, reason: str, root: Path) -> None:
    """Show or set PROJECT's status (PEP 792).

    archived takes no uploads; quarantined takes none and hides all files; deprecated is a word of warning.
    """
    store = open_store(root)
    if state is None:
        found = store.read(_name(project)).status
    else:
        found = store.set_status(_name(project), state, reason)
        _audit(root, "status", f"{project} {state}")
    output.data(f"{found.state}  {found.reason}".rstrip())


def _name(project: str) -> str:
    from ppmctl.dists import is_name, normalise

    if not is_name(project):
        raise PpmError(f"{project!r} is not a name of a project.")
    return normalise(project)


def _report(root: Path, action: str, filenames: list[str]) -> None:
    for filename in filenames:
        _audit(root, action, filename)
        output.data(f"{action}  {filename}")


def _audit(root: Path, action: str, what: str) -> None:
    from ppmctl import audit

    audit.write(open_volume(root), action=action, by="ppmctl", origin="here", what=what, result="done")
