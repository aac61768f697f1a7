"""`ppmctl env`: the commands that change an environment; those that read and install are in the modules beside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ppmctl import output
from ppmctl.cli import env_here, env_views, env_whole
from ppmctl.cli.env_place import (
    asked,
    check_option,
    named,
    remote,
    report,
    settle,
    shared_option,
)
from ppmctl.cli.options import json_option
from ppmctl.cli.place import index_options
from ppmctl.errors import PpmError

if TYPE_CHECKING:
    from ppmctl.environments.merging import Groups
    from ppmctl.environments.requirement import Requirement


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
@click.argument("name")
@click.argument("packages", metavar="[PKG]...", nargs=-1)
@shared_option
@check_option
@index_options
@json_option
def create(
    name: str,
    packages: tuple[str, ...],
    shared: bool,
    no_check: bool,
    index: str | None,
    credential_file: Path | None,
    as_json: bool,
) -> None:
    """Make the environment NAME, with PKG in it: requirements as pip takes them, or none yet.

    Whoever makes it owns it: others may install it, and change it if it is --shared.
    """
    from ppmctl.environments import change
    from ppmctl.environments.requirement import group

    name, requirements = named(name), _typed(packages)
    with remote(index, credential_file) as environments:
        if not no_check:
            asked(environments, requirements)
        texts = [requirement.text for requirement in requirements]
        said = change.described("create with", texts) if texts else "create"
        done = change.create(environments, name, group(requirements), change=said, shared=shared)
    report(done, as_json=as_json, nothing="")


@env.command()
@click.argument("name")
@click.argument("packages", metavar="PKG...", nargs=-1, required=True)
@check_option
@index_options
@json_option
def add(
    name: str,
    packages: tuple[str, ...],
    no_check: bool,
    index: str | None,
    credential_file: Path | None,
    as_json: bool,
) -> None:
    """Add PKG to the environment NAME: numpy, 'numpy>=2', 'uvicorn[standard]', 'x @ https://host/x.whl'.

    What is required of the same package already is replaced. Several that differ in their marker are kept together.
    """
    from ppmctl.environments import change
    from ppmctl.environments.requirement import group

    name, requirements = named(name), _typed(packages)
    added = group(requirements)

    def edit(groups: Groups) -> Groups:
        for project, texts in added.items():
            if project in groups and groups[project] != texts:
                output.say(f"{', '.join(groups[project])} is replaced by {', '.join(texts)}.")
        return {**groups, **added}

    with remote(index, credential_file) as environments:
        if not no_check:
            asked(environments, requirements)
        said = change.described("add", [text for texts in added.values() for text in texts])
        done = change.change(environments, name, edit, change=said, settle=settle)
    report(done, as_json=as_json, nothing="All of that is in it already.")


@env.command()
@click.argument("name")
@click.argument("packages", metavar="PKG...", nargs=-1, required=True)
@index_options
@json_option
def remove(
    name: str, packages: tuple[str, ...], index: str | None, credential_file: Path | None, as_json: bool
) -> None:
    """Take PKG, by their names, out of the environment NAME."""
    from ppmctl.environments import change
    from ppmctl.environments.requirement import parse_words

    name = named(name)
    gone = sorted({requirement.name for requirement in parse_words(packages)})

    def edit(groups: Groups) -> Groups:
        missing = [project for project in gone if project not in groups]
        if missing:
            raise PpmError(
                f"{name} has no {', '.join(missing)}. Nothing was changed.", hint=_similar(missing, sorted(groups))
            )
        return {project: texts for project, texts in groups.items() if project not in gone}

    with remote(index, credential_file) as environments:
        done = change.change(environments, name, edit, change=change.described("remove", gone), settle=settle)
    report(done, as_json=as_json, nothing="None of that is in it.")


def _typed(packages: tuple[str, ...]) -> list[Requirement]:
    """What was typed; of one package twice, the later counts, which is said."""
    from ppmctl.environments.requirement import doubles, parse_words

    requirements = parse_words(packages)
    for before, after in doubles(requirements):
        output.say(f"{before.text} and {after.text} are about one package: {after.text} counts.")
    return requirements


def _similar(missing: list[str], names: list[str]) -> str:
    from difflib import get_close_matches

    meant = [close for name in missing for close in get_close_matches(name, names, n=1)]
    return f"Is it {', '.join(meant)}?" if meant else "ppmctl env show NAME  shows what is in it."
