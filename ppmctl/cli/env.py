"""`ppmctl env`: the commands that change an environment; `env_read` and `env_install` have the others."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from ppmctl import output
from ppmctl.cli import env_install, env_read, suggestions
from ppmctl.cli.env_options import (
    check_option,
    check_packages,
    group_once,
    look_up,
    name_argument,
    of_index,
    parse_name,
    parse_reference,
    read_revision,
    report,
    revision_argument,
    settle,
    shared_option,
)
from ppmctl.cli.env_read import owner_of
from ppmctl.cli.groups import Group
from ppmctl.cli.options import Answer, ask
from ppmctl.distributions.distribution import one_line
from ppmctl.environments import importers, update
from ppmctl.environments.imported import Imported, Left
from ppmctl.environments.importers import FORMS
from ppmctl.environments.merge import Groups
from ppmctl.environments.remote import Remote
from ppmctl.environments.requirement import Requirement, normal, parse_words
from ppmctl.environments.source import STDIN, Source
from ppmctl.environments.update import Changed
from ppmctl.errors import PpmError, UsageError


def _packages_argument(metavar: str, *, required: bool) -> Callable[[Any], Any]:
    def parsed(_context: click.Context, _parameter: click.Parameter, packages: tuple[str, ...]) -> list[Requirement]:
        return parse_words(packages)

    return click.argument(
        "packages",
        metavar=metavar,
        nargs=-1,
        required=required,
        callback=parsed,
        shell_complete=suggestions.projects,
    )


@click.group(cls=Group)
def env() -> None:
    """Create, change, lock and install shared environments.

    An environment is a list of requirements that a team stores in the index. Each change makes a new revision, and no
    change is lost if several people make one at the same time. NAME@REV is a revision, and NAME the latest. pip alone
    can install an environment: pip install ppm-env-NAME
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
    """Create the environment NAME with the requirements PKG (as for pip), or with none.

    You own it: others can install it, and change it if it is --shared.
    """
    groups = group_once(packages)
    if not no_check:
        check_packages(environments, packages)
    texts = [package.text for package in packages]
    message = update.described("create with", texts) if texts else "create"
    return report(update.create(environments, name, groups, change=message, shared=shared))


@env.command()
@name_argument
@_packages_argument("PKG...", required=True)
@check_option
@of_index
def add(environments: Remote, name: str, packages: list[Requirement], no_check: bool) -> Answer:
    """Add PKG to the environment NAME: numpy, 'numpy>=2', 'uvicorn[standard]', 'x @ https://host/x.whl'.

    Replaces requirements of the same package. Several with different markers can be added together.
    """
    added = group_once(packages)

    def edit(groups: Groups) -> Groups:
        for project, texts in added.items():
            if project in groups and groups[project] != texts:
                output.say(f"{', '.join(groups[project])} is replaced by {', '.join(texts)}.")
        return {**groups, **added}

    if not no_check:
        check_packages(environments, packages)
    message = update.described("add", [text for texts in added.values() for text in texts])
    done = update.change(environments, name, edit, change=message, settle=settle)
    return report(done, unchanged="It has all of that already.")


@env.command()
@name_argument
@_packages_argument("PKG...", required=True)
@of_index
def remove(environments: Remote, name: str, packages: list[Requirement]) -> Answer:
    """Remove PKG, given by name, from the environment NAME."""
    removed = sorted({package.name for package in packages})

    def edit(groups: Groups) -> Groups:
        missing = [project for project in removed if project not in groups]
        if missing:
            hint = _similar(missing, sorted(groups))
            raise PpmError(f"{name} has no {', '.join(missing)}. Nothing was changed.", hint=hint)
        return {project: texts for project, texts in groups.items() if project not in removed}

    done = update.change(environments, name, edit, change=update.described("remove", removed), settle=settle)
    return report(done, unchanged="It has none of that.")


def _similar(missing: list[str], names: list[str]) -> str:
    from difflib import get_close_matches

    similar = [close for name in missing for close in get_close_matches(name, names, n=1)]
    return f"Is it {', '.join(similar)}?" if similar else "ppmctl env show NAME  shows its packages."


@env.command("import")
@click.argument("file")
@click.option("--name", help="The name of the environment. Default: the name in the file.")
@click.option("--format", "form", type=click.Choice(FORMS), help="The format. Default: according to the file's name.")
@click.option("--extra", "extras", multiple=True, help="Also import this extra of the file. May be repeated.")
@click.option("--group", "groups", multiple=True, help="Also import this group of the file. May be repeated.")
@click.option("--partial", is_flag=True, help="Leave out what an environment can't store, without a question.")
@click.option("--replace", is_flag=True, help="If the environment exists, replace its list with that of the file.")
@shared_option
@check_option
@of_index
def import_(
    environments: Remote,
    file: str,
    name: str | None,
    form: str | None,
    extras: tuple[str, ...],
    groups: tuple[str, ...],
    partial: bool,
    replace: bool,
    shared: bool,
    no_check: bool,
) -> Answer:
    """Create an environment from FILE: requirements.txt, pyproject.toml, environment.yml, pylock.toml and others.

    FILE is a path, a URL, or - for stdin; it may also be a Pipfile, Pipfile.lock or setup.cfg. What an environment
    can't store is listed with its line, and left out if you agree or with --partial; else nothing is stored.
    """
    stdin = sys.stdin.buffer if sys.stdin is not None else None  # it was closed
    imported = importers.read(
        file, form=form, extras=extras, groups=groups, transport=environments.transport, stdin=stdin
    )
    if not (name or imported.name):
        raise UsageError("The environment needs a name.", hint="Give it with --name.")
    name = parse_name(name or imported.name)
    output.say(*imported.notes)
    if not no_check:
        _leave_missing(environments, imported)
    _agree(imported.left, file, partial=partial)
    requirements, lock = group_once(imported.requirements), None if imported.left else imported.lock
    message = update.clipped(f"import {one_line(Source(name=file).filename) or 'a list'}")
    history = environments.history(name) if replace else None
    if history is not None and history.latest is not None:
        done = _replace(environments, name, requirements, message, lock)
        if shared and not done.after.shared:
            output.say(f"{name} stays unshared: --shared is only for a new environment.")
    else:
        done = update.create(environments, name, requirements, change=message, shared=shared, lock=lock)
    answer = report(done, unchanged="It has exactly that already.")
    return dataclasses.replace(answer, value={**answer.value, "left_out": imported.left})


def _leave_missing(environments: Remote, imported: Imported) -> None:
    """Leave out the requirements on projects that the index does not have."""
    answer = look_up(environments, imported.requirements)
    for requirement in imported.requirements:
        if requirement.name in answer.missing and not requirement.url:
            similar = answer.suggestions.get(requirement.name)
            why = f"the index has no project {requirement.name}{f'; is it {similar}?' if similar else ''}"
            if requirement.name in imported.guessed:
                why += "; a package of conda can have another name there"
            imported.leave(requirement.text, requirement.where, f"{why} (--no-check imports it as it is).")
    imported.requirements = [each for each in imported.requirements if each.url or each.name not in answer.missing]


def _agree(left: Sequence[Left], file: str, *, partial: bool) -> None:
    """List what is left out, and ask whether to go on, unless `partial`. Raise UsageError without a terminal."""
    if not left:
        return
    lines = [each.sentence for each in left]
    count = f"{len(left)} {'entry' if len(left) == 1 else 'entries'}"
    if not partial and (file == STDIN or sys.stdin is None or not sys.stdin.isatty()):
        raise UsageError(
            f"An environment can't store {count} of {Source(name=file)}:\n    " + "\n    ".join(lines),
            hint="Nothing was stored. --partial leaves them out.",
        )
    output.say(f"An environment can't store {count}, which {'is' if len(left) == 1 else 'are'} left out:", *lines)
    if not partial and not click.confirm("Import the others?", err=True):
        raise PpmError("Nothing was stored.")


def _replace(environments: Remote, name: str, groups: Groups, message: str, lock: str | None) -> Changed:
    """Replace the list of an environment, with the lock of the new list."""
    lock_of = update.lock_of(groups, lock)
    return update.change(environments, name, lambda _groups: groups, change=message, settle=settle, lock=lock_of)


@env.command()
@revision_argument
@click.argument("new", metavar="NEW", callback=lambda _context, _parameter, text: parse_name(text))
@shared_option
@of_index
def copy(environments: Remote, name: str, new: str, shared: bool) -> Answer:
    """Create the environment NEW, which you own, as a copy of NAME and its lock."""
    _entry, revision = read_revision(environments, name)
    message = f"copy {revision.name}@{revision.number}"
    groups = normal(revision.requirements)
    return report(update.create(environments, new, groups, change=message, shared=shared, lock=revision.lock))


@env.command()
@name_argument
@click.argument("revision", metavar="REV")
@of_index
def rollback(environments: Remote, name: str, revision: str) -> Answer:
    """Set the list of NAME to that of revision REV, in a new revision. Later revisions stay in the log."""
    name, number = parse_reference(f"{name}@{revision.removeprefix('@')}")
    update.latest(environments, name)  # raises if there is no such environment
    _entry, old = read_revision(environments, f"{name}@{number}")
    done = _replace(environments, name, normal(old.requirements), f"roll back to revision {number}", old.lock)
    return report(done, unchanged="It has exactly that list.")


@env.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=suggestions.environments)
@click.option("--mine", is_flag=True, help="Delete all environments that you own; lists them first.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@of_index
def delete(environments: Remote, names: tuple[str, ...], mine: bool, yes: bool) -> Answer:
    """Delete the environment NAME: it is not listed any more, and installers skip it unless they pin a revision.

    Its revisions stay in the log, and a new environment of that name continues their numbers.
    """
    if bool(names) == mine:
        raise UsageError("Which environments?", hint="Give their names, or --mine for all that you own.")
    if mine:
        owner = owner_of(environments)
        wanted = [entry.name for entry in environments.listing(owner)]
        if not wanted:
            return Answer([], lambda: output.say(f"{owner} has no environments."))
    else:
        wanted = list(dict.fromkeys(parse_name(name) for name in names))
    if not yes:
        _confirm(wanted)
    done = []
    for name in wanted:
        with output.progress(name) as step:
            count = environments.delete(name, step=step)
        # at once: the next one may fail
        output.say(f"{name} is deleted; {output.count(count, 'revision')} can still be installed by number.")
        done.append({"name": name, "revisions": count})
    return Answer(done, lambda: output.data(*(f"deleted  {each['name']}" for each in done)))


def _confirm(names: list[str]) -> None:
    output.say(f"To be deleted: {', '.join(names)}")
    question = f"Delete {output.count(len(names), 'environment')}?"
    if not ask(lambda: click.confirm(question, err=True), "confirm it; nothing was deleted"):
        raise PpmError("Nothing was deleted.")
