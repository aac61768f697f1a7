"""What the commands of `ppmctl env` have in common: the index, an environment's name with its revision, questions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ppmctl import output
from ppmctl.cli.options import Answer, answers
from ppmctl.cli.package_source import connected, index_options
from ppmctl.distributions import environment_revision as formats
from ppmctl.distributions.environment_revision import Revision
from ppmctl.environments import name_lookup, update
from ppmctl.environments.merge import Conflict
from ppmctl.environments.remote import Entry, Remote
from ppmctl.environments.requirement import Requirement, doubles, group
from ppmctl.environments.update import Changed
from ppmctl.errors import UsageError

check_option = click.option(
    "--no-check", is_flag=True, help="Do not ask whether the index, or the one that it sends on to, has the names."
)
shared_option = click.option("--shared", is_flag=True, help="Let every publisher change it, not its owner alone.")


def of_index(command: Callable[..., Answer]) -> Callable[..., int]:
    """Call a command with the environments of the index that its options name, and print its answer."""

    @wraps(command)
    def called(*, index: str | None, credential_file: Path | None, **options: Any) -> Answer:
        with connected(index, credential_file) as (address, transport):
            return command(Remote(address, transport), **options)

    answered: Callable[..., int] = index_options(answers(called))
    return answered


def named(text: str) -> str:
    """Return the normalised name of an environment; UsageError for what can't be one, and for NAME@REV."""
    if "@" in text:
        raise UsageError(f"{text!r}: a revision does not change.", hint="Give the name of the environment alone.")
    name = formats.normalise(text)
    if name.startswith(formats.PREFIX):
        raise UsageError(
            f"{text!r} is what pip calls it.", hint=f"The environment's name is {name.removeprefix(formats.PREFIX)}."
        )
    return name


# an environment that is changed: its name alone
name_argument = click.argument("name", callback=lambda _context, _parameter, text: named(text))
# one that is read: the latest revision, or the one that is named
revision_argument = click.argument("name", metavar="NAME[@REV]")


def reference(text: str) -> tuple[str, int | None]:
    """Return NAME or NAME@REV as a name and a number; UsageError for what is neither."""
    name, at, number = text.partition("@")
    if at and not (number.isascii() and number.isdecimal() and int(number) > 0):
        raise UsageError(
            f"{text!r}: a revision is a whole number from 1.", hint=f"All of them: ppmctl env log {name}"
        )
    return named(name), int(number) if at else None


def found(environments: Remote, text: str) -> tuple[Entry, Revision]:
    """Return the revision that NAME (the latest) or NAME@REV means; PpmError where there is none."""
    name, number = reference(text)
    history = environments.history(name) if number is not None else None
    if history is None or number is None:
        history, revision = update.latest(environments, name)
        return history.entry(revision.number), revision
    entry = history.entry(number)
    return entry, environments.read(entry)


def asked(environments: Remote, requirements: Sequence[Requirement]) -> None:
    """See that the index has what is named. PpmError with what was perhaps meant; what can't be asked is said."""
    names = sorted({requirement.name for requirement in requirements if not requirement.url})
    with output.progress("Names"):
        answer = name_lookup.look_up(names, environments.index, environments.transport)
    if answer.unsure:
        output.say(f"Not checked: {', '.join(name for name, _why in answer.unsure)}. {answer.unsure[0][1]}")
    if answer.missing:
        raise answer.error()


def once(requirements: Sequence[Requirement]) -> dict[str, tuple[str, ...]]:
    """Return the requirements by package; of two about one package the later counts, which is reported."""
    for before, after in doubles(requirements):
        output.say(f"{before.text} and {after.text} are about one package: {after.text} counts.")
    return group(requirements)


def settle(conflicts: tuple[Conflict, ...]) -> frozenset[str]:
    """Ask whose side to take; without a terminal PpmError."""
    if not sys.stdin.isatty():
        return update.refuse(conflicts)
    output.say(update.CONFLICT)
    ours = set()
    for conflict in conflicts:
        output.say(conflict.text)
        if click.confirm(f"Take yours of {conflict.name}?", err=True):
            ours.add(conflict.name)
    return frozenset(ours)


def report(changed: Changed, *, nothing: str = "") -> Answer:
    """Return what came of a change: the revision; for people also what is in it, or why there is no new one."""
    after, told = changed.after, []
    if changed.left:
        output.say(f"{', '.join(changed.left)}: what the other wanted stays.")
        nothing = "Nothing else was to be changed."
    if not changed.is_new:
        told.append(f"{nothing} Revision {after.number} is the latest.")
    elif changed.races:
        races = output.count(changed.races, "time")
        told.append(f"Others changed it meanwhile ({races}); their changes are in it.")
    if changed.is_new and changed.before is not None and changed.before.lock and not after.lock:
        told.append(f"The lock was of revision {changed.before.number}: ppmctl env lock {after.name}")

    def show() -> None:
        output.say(*told)
        output.data(f"{after.name}@{after.number}")

    value = {"name": after.name, "revision": after.number, "changed": changed.is_new, "change": after.change}
    return Answer(value, show)
