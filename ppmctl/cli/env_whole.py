"""`ppmctl env`: the commands about an environment as a whole: import, copy, rollback, delete."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ppmctl import output
from ppmctl.cli.env_place import (
    asked,
    check_option,
    found,
    name_argument,
    named,
    of_index,
    once,
    reference,
    report,
    revision_argument,
    settle,
    shared_option,
)
from ppmctl.cli.env_views import owner_of
from ppmctl.cli.options import Answer
from ppmctl.errors import PpmError, UsageError

if TYPE_CHECKING:
    from ppmctl.environments.change import Changed
    from ppmctl.environments.imported import Imported
    from ppmctl.environments.merging import Groups
    from ppmctl.environments.remote import Remote
    from ppmctl.environments.requirement import Requirement


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--name", help="What the environment is called; by default what the file calls itself.")
@click.option("--extra", "extras", multiple=True, help="An extra of a pyproject.toml, with the rest; repeatable.")
@click.option("--group", "groups", multiple=True, help="A dependency group of a pyproject.toml; repeatable.")
@click.option("--replace", is_flag=True, help="Where the environment is there, make its list that of the file.")
@shared_option
@check_option
@of_index
def import_(
    environments: Remote,
    file: Path,
    name: str | None,
    extras: tuple[str, ...],
    groups: tuple[str, ...],
    replace: bool,
    shared: bool,
    no_check: bool,
) -> Answer:
    """Make an environment of a FILE: requirements.txt, pyproject.toml, environment.yml or pylock.toml.

    What an environment can't keep is named with its line.
    """
    from ppmctl.environments import change, importers

    imported = importers.read(file, extras=extras, groups=groups)
    if not (name or imported.name):
        raise UsageError("What is the environment to be called?", hint="Say it with --name.")
    name = named(name or imported.name)
    output.say(*imported.notes)
    kept = once(imported.requirements if no_check else _checked(environments, imported))
    said = change.clipped(f"import {file.name}")
    history = environments.history(name) if replace else None
    if history is not None and history.latest is not None:
        done = _become(environments, name, kept, said, imported.lock)
        if shared and not done.after.shared:
            output.say(f"{name} stays as it was made, not shared: --shared is for a new one.")
    else:
        done = change.create(environments, name, kept, change=said, shared=shared, lock=imported.lock)
    return report(done, nothing="It has just that already.")


def _checked(environments: Remote, imported: Imported) -> Sequence[Requirement]:
    """Return what is required, without what has a name of conda's that the index has not.

    PpmError where the index lacks anything else.
    """
    from ppmctl.environments import known

    asked(environments, [found for found in imported.requirements if found.name not in imported.guessed])
    if not imported.guessed:
        return imported.requirements
    answer = known.look_up(sorted(imported.guessed), environments.index, environments.transport)
    for name in answer.missing:
        output.say(f"{name} was left out: conda has it, the index has not (--no-check takes it as it is).")
    return [found for found in imported.requirements if found.name not in answer.missing]


def _become(environments: Remote, name: str, groups: Groups, said: str, lock: str | None) -> Changed:
    """Make the list of an environment `groups`, with the lock of that list."""
    from ppmctl.environments import change

    kept = change.lock_of(groups, lock)
    return change.change(environments, name, lambda _groups: groups, change=said, settle=settle, lock=kept)


@click.command()
@revision_argument
@click.argument("new", metavar="NEW", callback=lambda _context, _parameter, text: named(text))
@shared_option
@of_index
def copy(environments: Remote, name: str, new: str, shared: bool) -> Answer:
    """Make the environment NEW with what NAME has: one's own, to go on with. A lock is copied too."""
    from ppmctl.environments import change
    from ppmctl.environments.requirement import normal

    _entry, revision = found(environments, name)
    said = f"copy {revision.name}@{revision.number}"
    groups = normal(revision.requirements)
    return report(change.create(environments, new, groups, change=said, shared=shared, lock=revision.lock))


@click.command()
@name_argument
@click.argument("revision", metavar="REV")
@of_index
def rollback(environments: Remote, name: str, revision: str) -> Answer:
    """Make the list of NAME what it was in revision REV, in a new revision. What it had since stays in the log."""
    from ppmctl.environments import change
    from ppmctl.environments.requirement import normal

    name, number = reference(f"{name}@{revision.removeprefix('@')}")
    change.latest(environments, name)  # which is there, or says that it is not
    _entry, old = found(environments, f"{name}@{number}")
    said = f"roll back to revision {number}"
    groups = normal(old.requirements)
    done = _become(environments, name, groups, said, old.lock)
    return report(done, nothing="It is just that.")


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--mine", is_flag=True, help="All that are one's own, which are listed first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@of_index
def delete(environments: Remote, names: tuple[str, ...], mine: bool, yes: bool) -> Answer:
    """Delete the environment NAME: no list has it and no installer picks it; who pins a revision still gets that.

    Its revisions stay in the log. Made again, it goes on counting.
    """
    if bool(names) == mine:
        raise UsageError(
            "Which environments are to be deleted?", hint="Give their names, or --mine for all of one's own."
        )
    if mine:
        owner = owner_of(environments)
        wanted = [entry.name for entry in environments.listing(owner)]
        if not wanted:
            return Answer([], lambda: output.say(f"{owner} has no environments."))
    else:
        wanted = list(dict.fromkeys(named(name) for name in names))
    if not yes:
        _confirm(wanted)
    done = []
    for name in wanted:
        with output.progress(name) as step:
            count = environments.delete(name, step=step)
        # at once: the next one may fail
        output.say(f"{name} is deleted; {output.count(count, 'revision')} can still be installed by number.")
        done.append({"name": name, "revisions": count})
    return Answer(done, lambda: output.data(*(f"deleted  {one['name']}" for one in done)))


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
