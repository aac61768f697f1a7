"""`ppmctl env`: the commands that change an environment; those that read and install are in the modules beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ppmctl import output
from ppmctl.cli import env_here, env_views, env_whole
from ppmctl.cli.env_place import (
    asked,
    check_option,
    name_argument,
    of_index,
    once,
    report,
    settle,
    shared_option,
)
from ppmctl.cli.options import Answer
from ppmctl.errors import PpmError

if TYPE_CHECKING:
    from ppmctl.environments.merging import Groups
    from ppmctl.environments.remote import Remote
    from ppmctl.environments.requirement import Requirement


def _parsed(_context: click.Context, _parameter: click.Parameter, packages: tuple[str, ...]) -> list[Requirement]:
    from ppmctl.environments.requirement import parse_words

    return parse_words(packages)


def _packages_argument(metavar: str, *, required: bool) -> Callable[[Any], Any]:
    return click.argument("packages", metavar=metavar, nargs=-1, required=required, callback=_parsed)


@click.group()
def env() -> None:
    """Share named lists of requirements: make, change, lock and install environments.

    An environment is a list that a team keeps in the index; each change makes a new revision, and none is lost when
    several people make one at once. NAME@REV means a revision, NAME alone the latest. Everybody can install one with
    pip alone: pip install ppm-env-NAME
    """


for _command in (*env_views.COMMANDS, *env_whole.COMMANDS, *env_here.COMMANDS):
    env.add_command(_command)


@env.command()
@name_argument
@_packages_argument("[PKG]...", required=False)
@shared_option
@check_option
@of_index
def create(environments: Remote, name: str, packages: list[Requirement], shared: bool, no_check: bool) -> Answer:
    """Make the environment NAME, with PKG in it: requirements as pip takes them, or none yet.

    Whoever makes it owns it: others may install it, and change it if it is --shared.
    """
    from ppmctl.environments import change

    groups = once(packages)
    if not no_check:
        asked(environments, packages)
    texts = [package.text for package in packages]
    said = change.described("create with", texts) if texts else "create"
    return report(change.create(environments, name, groups, change=said, shared=shared))


@env.command()
@name_argument
@_packages_argument("PKG...", required=True)
@check_option
@of_index
def add(environments: Remote, name: str, packages: list[Requirement], no_check: bool) -> Answer:
    """Add PKG to the environment NAME: numpy, 'numpy>=2', 'uvicorn[standard]', 'x @ https://host/x.whl'.

    What is required of the same package already is replaced. Several that differ in their marker are kept together.
    """
    from ppmctl.environments import change

    added = once(packages)

    def edit(groups: Groups) -> Groups:
        for project, texts in added.items():
            if project in groups and groups[project] != texts:
                output.say(f"{', '.join(groups[project])} is replaced by {', '.join(texts)}.")
        return {**groups, **added}

    if not no_check:
        asked(environments, packages)
    said = change.described("add", [text for texts in added.values() for text in texts])
    done = change.change(environments, name, edit, change=said, settle=settle)
    return report(done, nothing="All of that is in it already.")


@env.command()
@name_argument
@_packages_argument("PKG...", required=True)
@of_index
def remove(environments: Remote, name: str, packages: list[Requirement]) -> Answer:
    """Take PKG, by their names, out of the environment NAME."""
    from ppmctl.environments import change

    gone = sorted({package.name for package in packages})

    def edit(groups: Groups) -> Groups:
        missing = [project for project in gone if project not in groups]
        if missing:
            raise PpmError(
                f"{name} has no {', '.join(missing)}. Nothing was changed.", hint=_similar(missing, sorted(groups))
            )
        return {project: texts for project, texts in groups.items() if project not in gone}

    done = change.change(environments, name, edit, change=change.described("remove", gone), settle=settle)
    return report(done, nothing="None of that is in it.")


def _similar(missing: list[str], names: list[str]) -> str:
    from difflib import get_close_matches

    meant = [close for name in missing for close in get_close_matches(name, names, n=1)]
    return f"Is it {', '.join(meant)}?" if meant else "ppmctl env show NAME  shows what is in it."
