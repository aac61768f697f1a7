"""`ppmctl env`: the commands that change an environment; those that read and install are in the modules beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ppmctl import output
from ppmctl.cli import env_install, env_read
from ppmctl.cli.env_options import (
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
from ppmctl.cli.env_read import owner_of
from ppmctl.cli.options import Answer, ask
from ppmctl.environments import importers, name_lookup, update
from ppmctl.environments.imported import Imported
from ppmctl.environments.merge import Groups
from ppmctl.environments.remote import Remote
from ppmctl.environments.requirement import Requirement, normal, parse_words
from ppmctl.environments.update import Changed
from ppmctl.errors import PpmError, UsageError


def _parsed(_context: click.Context, _parameter: click.Parameter, packages: tuple[str, ...]) -> list[Requirement]:
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


for _command in (*env_read.COMMANDS, *env_install.COMMANDS):
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
    groups = once(packages)
    if not no_check:
        asked(environments, packages)
    texts = [package.text for package in packages]
    said = update.described("create with", texts) if texts else "create"
    return report(update.create(environments, name, groups, change=said, shared=shared))


@env.command()
@name_argument
@_packages_argument("PKG...", required=True)
@check_option
@of_index
def add(environments: Remote, name: str, packages: list[Requirement], no_check: bool) -> Answer:
    """Add PKG to the environment NAME: numpy, 'numpy>=2', 'uvicorn[standard]', 'x @ https://host/x.whl'.

    What is required of the same package already is replaced. Several that differ in their marker are kept together.
    """
    added = once(packages)

    def edit(groups: Groups) -> Groups:
        for project, texts in added.items():
            if project in groups and groups[project] != texts:
                output.say(f"{', '.join(groups[project])} is replaced by {', '.join(texts)}.")
        return {**groups, **added}

    if not no_check:
        asked(environments, packages)
    said = update.described("add", [text for texts in added.values() for text in texts])
    done = update.change(environments, name, edit, change=said, settle=settle)
    return report(done, nothing="All of that is in it already.")


@env.command()
@name_argument
@_packages_argument("PKG...", required=True)
@of_index
def remove(environments: Remote, name: str, packages: list[Requirement]) -> Answer:
    """Take PKG, by their names, out of the environment NAME."""
    gone = sorted({package.name for package in packages})

    def edit(groups: Groups) -> Groups:
        missing = [project for project in gone if project not in groups]
        if missing:
            raise PpmError(
                f"{name} has no {', '.join(missing)}. Nothing was changed.", hint=_similar(missing, sorted(groups))
            )
        return {project: texts for project, texts in groups.items() if project not in gone}

    done = update.change(environments, name, edit, change=update.described("remove", gone), settle=settle)
    return report(done, nothing="None of that is in it.")


def _similar(missing: list[str], names: list[str]) -> str:
    from difflib import get_close_matches

    meant = [close for name in missing for close in get_close_matches(name, names, n=1)]
    return f"Is it {', '.join(meant)}?" if meant else "ppmctl env show NAME  shows what is in it."


@env.command("import")
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
    imported = importers.read(file, extras=extras, groups=groups)
    if not (name or imported.name):
        raise UsageError("What is the environment to be called?", hint="Say it with --name.")
    name = named(name or imported.name)
    output.say(*imported.notes)
    kept = once(imported.requirements if no_check else _checked(environments, imported))
    said = update.clipped(f"import {file.name}")
    history = environments.history(name) if replace else None
    if history is not None and history.latest is not None:
        done = _become(environments, name, kept, said, imported.lock)
        if shared and not done.after.shared:
            output.say(f"{name} stays as it was made, not shared: --shared is for a new one.")
    else:
        done = update.create(environments, name, kept, change=said, shared=shared, lock=imported.lock)
    return report(done, nothing="It has just that already.")


def _checked(environments: Remote, imported: Imported) -> Sequence[Requirement]:
    """Return what is required, without what has a name of conda's that the index has not.

    PpmError where the index lacks anything else.
    """
    asked(environments, [found for found in imported.requirements if found.name not in imported.guessed])
    if not imported.guessed:
        return imported.requirements
    answer = name_lookup.look_up(sorted(imported.guessed), environments.index, environments.transport)
    for name in answer.missing:
        output.say(f"{name} was left out: conda has it, the index has not (--no-check takes it as it is).")
    return [found for found in imported.requirements if found.name not in answer.missing]


def _become(environments: Remote, name: str, groups: Groups, said: str, lock: str | None) -> Changed:
    """Make the list of an environment `groups`, with the lock of that list."""
    kept = update.lock_of(groups, lock)
    return update.change(environments, name, lambda _groups: groups, change=said, settle=settle, lock=kept)


@env.command()
@revision_argument
@click.argument("new", metavar="NEW", callback=lambda _context, _parameter, text: named(text))
@shared_option
@of_index
def copy(environments: Remote, name: str, new: str, shared: bool) -> Answer:
    """Make the environment NEW with what NAME has: one's own, to go on with. A lock is copied too."""
    _entry, revision = found(environments, name)
    said = f"copy {revision.name}@{revision.number}"
    groups = normal(revision.requirements)
    return report(update.create(environments, new, groups, change=said, shared=shared, lock=revision.lock))


@env.command()
@name_argument
@click.argument("revision", metavar="REV")
@of_index
def rollback(environments: Remote, name: str, revision: str) -> Answer:
    """Make the list of NAME what it was in revision REV, in a new revision. What it had since stays in the log."""
    name, number = reference(f"{name}@{revision.removeprefix('@')}")
    update.latest(environments, name)  # which is there, or says that it is not
    _entry, old = found(environments, f"{name}@{number}")
    said = f"roll back to revision {number}"
    groups = normal(old.requirements)
    done = _become(environments, name, groups, said, old.lock)
    return report(done, nothing="It is just that.")


@env.command()
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
    question = f"Delete {output.count(len(names), 'environment')}?"
    if not ask(lambda: click.confirm(question, err=True), "answer; nothing was deleted"):
        raise PpmError("Nothing was deleted.")
