"""What the commands of `ppmctl env` share: the index, an environment's name and revision, questions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ppmctl import output
from ppmctl.cli import suggestions
from ppmctl.cli.options import Answer, answers
from ppmctl.cli.package_source import connected, index_options
from ppmctl.distributions import environment_revision as formats
from ppmctl.distributions.environment_revision import Revision
from ppmctl.environments import name_lookup, update
from ppmctl.environments.merge import CONFLICT, Conflict
from ppmctl.environments.name_lookup import Lookup
from ppmctl.environments.remote import Entry, Remote
from ppmctl.environments.requirement import Requirement, doubles, group
from ppmctl.environments.update import Changed
from ppmctl.errors import UsageError

check_option = click.option(
    "--no-check", is_flag=True, help="Do not check that the index, or the one it redirects to, has the packages."
)
shared_option = click.option("--shared", is_flag=True, help="Let every publisher change it, not only its owner.")


def of_index(command: Callable[..., Answer]) -> Any:
    """Call a command with the environments of the index that its options name, and print its answer."""

    @wraps(command)
    def called(*, index: str | None, credential_file: Path | None, **options: Any) -> Answer:
        with connected(index, credential_file) as (address, transport):
            return command(Remote(address, transport), **options)

    return index_options(answers(called))


def parse_name(text: str) -> str:
    """Return the normalised name of an environment. Raise UsageError for an invalid name, and for NAME@REV."""
    if "@" in text:
        raise UsageError(f"{text!r}: a revision can't be changed.", hint="Give only the name of the environment.")
    return formats.named(text)


# for commands that change an environment, and for those that read a revision
name_argument = click.argument(
    "name", callback=lambda _context, _parameter, text: parse_name(text), shell_complete=suggestions.environments
)
revision_argument = click.argument("name", metavar="NAME[@REV]", shell_complete=suggestions.environments)


def parse_reference(text: str) -> tuple[str, int | None]:
    """Return the name and the number of NAME or NAME@REV. Raise UsageError for anything else."""
    name, at, number = text.partition("@")
    if at and not (number.isascii() and number.isdecimal() and int(number) > 0):
        hint = f"To list them: ppmctl env log {name}"
        raise UsageError(f"{text!r}: a revision is a whole number from 1.", hint=hint)
    return parse_name(name), int(number) if at else None


def read_revision(environments: Remote, text: str) -> tuple[Entry, Revision]:
    """Return the revision NAME@REV, or the latest for NAME. Raise PpmError where it does not exist."""
    name, number = parse_reference(text)
    history = environments.history(name) if number is not None else None
    if history is None or number is None:
        history, revision = update.latest(environments, name)
        return history.entry(revision.number), revision
    entry = history.entry(number)
    return entry, environments.read(entry)


def look_up(environments: Remote, requirements: Sequence[Requirement]) -> Lookup:
    """Return which of the packages the index has; report what can't be checked."""
    names = sorted({requirement.name for requirement in requirements if not requirement.url})
    with output.progress("Names"):
        answer = name_lookup.look_up(names, environments.index, environments.transport)
    if answer.unsure:
        output.say(f"Not checked: {', '.join(name for name, _why in answer.unsure)}. {answer.unsure[0][1]}")
    return answer


def check_packages(environments: Remote, requirements: Sequence[Requirement]) -> None:
    """Check that the index has the packages. Raise PpmError with similar names."""
    answer = look_up(environments, requirements)
    if answer.missing:
        raise answer.error()


def group_once(requirements: Sequence[Requirement]) -> dict[str, tuple[str, ...]]:
    """Return the requirements by package; the later of two about one package wins, which is reported."""
    for before, after in doubles(requirements):
        output.say(f"{before.text} and {after.text} are about one package: {after.text} is used.")
    return group(requirements)


def settle(conflicts: tuple[Conflict, ...]) -> frozenset[str]:
    """Ask which side of each conflict to use, and return the names for which it is the user's own.

    Raise PpmError without a terminal.
    """
    if not sys.stdin.isatty():
        return update.refuse(conflicts)
    output.say(CONFLICT)
    ours = set()
    for conflict in conflicts:
        output.say(conflict.text)
        if click.confirm(f"Use your change of {conflict.name}?", err=True):
            ours.add(conflict.name)
    return frozenset(ours)


def report(changed: Changed, *, unchanged: str = "") -> Answer:
    """Return the answer about a change: the revision, and notes; `unchanged` says why there is no new one."""
    after, notes = changed.after, []
    if changed.left:
        output.say(f"{', '.join(changed.left)}: the other change stays.")
        unchanged = "There was nothing else to change."
    if not changed.is_new:
        notes.append(f"{unchanged} Revision {after.number} is the latest.")
    elif changed.races:
        races = output.count(changed.races, "time")
        notes.append(f"Others changed it in the meantime ({races}); their changes are included.")
    if changed.is_new and changed.before is not None and changed.before.lock and not after.lock:
        notes.append(f"The lock was for revision {changed.before.number}: ppmctl env lock {after.name}")

    def show() -> None:
        output.say(*notes)
        output.data(f"{after.name}@{after.number}")

    value = {"name": after.name, "revision": after.number, "changed": changed.is_new, "change": after.change}
    return Answer(value, show)
