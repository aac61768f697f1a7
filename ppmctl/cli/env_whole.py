"""`ppmctl env`: the commands about an environment as a whole: import, copy, rollback, delete."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ppmctl import output
from ppmctl.cli.env_place import (
    asked,
    check_option,
    found,
    named,
    reference,
    remote,
    report,
    settle,
    shared_option,
)
from ppmctl.cli.env_views import owner_of
from ppmctl.cli.options import json_option
from ppmctl.cli.place import index_options
from ppmctl.errors import PpmError, UsageError

if TYPE_CHECKING:
    from ppmctl.environments.imported import Imported
    from ppmctl.environments.remote import Remote


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--name", help="What the environment is called; by default what the file calls itself.")
@click.option("--extra", "extras", multiple=True, help="An extra of a pyproject.toml, with the rest; repeatable.")
@click.option("--group", "groups", multiple=True, help="A dependency group of a pyproject.toml; repeatable.")
@click.option("--replace", is_flag=True, help="Where the environment is there, make its list that of the file.")
@shared_option
@check_option
@index_options
@json_option
def import_(
    file: Path,
    name: str | None,
    extras: tuple[str, ...],
    groups: tuple[str, ...],
    replace: bool,
    shared: bool,
    no_check: bool,
    index: str | None,
    credential_file: Path | None,
    as_json: bool,
) -> None:
    """Make an environment of a FILE: requirements.txt, pyproject.toml, environment.yml or pylock.toml.

    What an environment can't keep is named with its line.
    """
    from ppmctl.environments import change, importers
    from ppmctl.environments.requirement import doubles, group

    imported = importers.read(file, extras=extras, groups=groups)
    if not (name or imported.name):
        raise UsageError("What is the environment to be called?", hint="Say it with --name.")
    name = named(name or imported.name)
    for note in imported.notes:
        output.say(note)
    for before, after in doubles(imported.requirements):
        output.say(f"{before.text} and {after.text} are about one package: {after.text} counts.")
    with remote(index, credential_file) as environments:
        requirements = imported.requirements
        if not no_check:
            imported = _checked(environments, imported)
            requirements = imported.requirements
        groups_of = group(requirements)
        said = change.clipped(f"import {file.name}")
        history = environments.history(name) if replace else None
        if history is not None and history.latest is not None:
            done = change.change(
                environments,
                name,
                lambda _groups: groups_of,
                change=said,
                settle=settle,
                lock=change.lock_of(groups_of, imported.lock),
            )
            if shared and not done.after.shared:
                output.say(f"{name} stays as it was made, not shared: --shared is for a new one.")
        else:
            done = change.create(environments, name, groups_of, change=said, shared=shared, lock=imported.lock)
    report(done, as_json=as_json, nothing="It has just that already.")


def _checked(environments: Remote, imported: Imported) -> Imported:
    """See that the index has what is named; of what conda calls by a name, leave out what the index has not."""
    from ppmctl.environments import known

    asked(environments, [found for found in imported.requirements if found.name not in imported.guessed])
    if not imported.guessed:
        return imported
    answer = known.look_up(sorted(imported.guessed), environments.index, environments.transport)
    for name in answer.missing:
        output.say(f"{name} was left out: conda has it, the index has not (--no-check takes it as it is).")
    left = [found for found in imported.requirements if found.name not in answer.missing]
    return replace(imported, requirements=left)


@click.command()
@click.argument("name", metavar="NAME[@REV]")
@click.argument("new", metavar="NEW")
@shared_option
@index_options
@json_option
def copy(name: str, new: str, shared: bool, index: str | None, credential_file: Path | None, as_json: bool) -> None:
    """Make the environment NEW with what NAME has: one's own, to go on with. A lock is copied too."""
    from ppmctl.environments import change
    from ppmctl.environments.requirement import normal

    new = named(new)
    with remote(index, credential_file) as environments:
        _entry, revision = found(environments, name)
        done = change.create(
            environments,
            new,
            normal(revision.requirements),
            change=f"copy {revision.name}@{revision.number}",
            shared=shared,
            lock=revision.lock,
        )
    report(done, as_json=as_json, nothing="")


@click.command()
@click.argument("name")
@click.argument("revision", metavar="REV")
@index_options
@json_option
def rollback(name: str, revision: str, index: str | None, credential_file: Path | None, as_json: bool) -> None:
    """Make the list of NAME what it was in revision REV, in a new revision. What it had since stays in the log."""
    from ppmctl.environments import change
    from ppmctl.environments.requirement import normal

    with remote(index, credential_file) as environments:
        name, number = reference(f"{named(name)}@{revision.removeprefix('@')}")
        change.latest(environments, name)  # which is there, or says that it is not
        _entry, old = found(environments, f"{name}@{number}")
        groups = normal(old.requirements)
        done = change.change(
            environments,
            name,
            lambda _groups: groups,
            change=f"roll back to revision {number}",
            settle=settle,
            lock=change.lock_of(groups, old.lock),
        )
    report(done, as_json=as_json, nothing="It is just that.")


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--mine", is_flag=True, help="All that are one's own, which are listed first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@index_options
def delete(names: tuple[str, ...], mine: bool, yes: bool, index: str | None, credential_file: Path | None) -> None:
    """Delete the environment NAME: no list has it and no installer picks it; who pins a revision still gets that.

    Its revisions stay in the log. Made again, it goes on counting.
    """
    if bool(names) == mine:
        raise UsageError(
            "Which environments are to be deleted?", hint="Give their names, or --mine for all of one's own."
        )
    with remote(index, credential_file) as environments:
        if mine:
            owner = owner_of(environments)
            wanted = [entry.name for entry in environments.listing(owner)]
            if not wanted:
                output.say(f"{owner} has no environments.")
                return
        else:
            wanted = list(dict.fromkeys(named(name) for name in names))
        if not yes:
            _confirm(wanted)
        for name in wanted:
            with output.progress(name) as step:
                count = environments.delete(name, step=step)
            output.data(f"deleted  {name}")
            output.say(f"{output.count(count, 'revision')} of {name} can still be installed by number.")


def _confirm(names: list[str]) -> None:
    output.say(f"To be deleted: {', '.join(names)}")
    try:
        agreed = click.confirm(f"Delete {output.count(len(names), 'environment')}?", err=True)
    except click.Abort as exc:
        if sys.stdin.isatty():  # somebody typed Ctrl-C
            raise
        output.say("")
        raise UsageError(
            "Nobody is there to answer; nothing was deleted.", hint="Without a terminal, say --yes."
        ) from exc
    if not agreed:
        raise PpmError("Nothing was deleted.")


COMMANDS = (import_, copy, rollback, delete)
