"""`ppmctl env`: lock, outdated, install, check: what needs a resolver or a virtual environment on this machine."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import click

from ppmctl import output
from ppmctl.cli.env_options import found, name_argument, of_index, report, revision_argument, settle
from ppmctl.cli.options import Answer
from ppmctl.distributions.environment_revision import Revision
from ppmctl.environments import check as check_module
from ppmctl.environments import install as install_module
from ppmctl.environments import lock as locks
from ppmctl.environments import resolver, update, venv
from ppmctl.environments import tools as programs
from ppmctl.environments.install import By
from ppmctl.environments.remote import Remote
from ppmctl.environments.resolver import Wanted
from ppmctl.environments.tools import Tools
from ppmctl.errors import EXIT_FAILED, PpmError, UsageError

_LOOKED_AT = 50  # revisions, for one that is locked


def _where_options(command: Any) -> Any:
    into = click.option(
        "--into",
        type=click.Path(path_type=Path, file_okay=False),
        help="The folder of the virtual environment.  [default: .venv]",
    )
    here = click.option("--here", is_flag=True, help="The virtual environment that is active.")
    return into(here(command))


@click.command()
@name_argument
@click.option("--python", help="The oldest Python that it is for.  [default: as before, or the one here]")
@click.option(
    "--platform", help="The one platform that it is for, as uv names it, or all.  [default: as before, or all]"
)
@click.option("--upgrade", is_flag=True, help="Take the newest of everything; else what was locked stays if it fits.")
@of_index
def lock(environments: Remote, name: str, python: str | None, platform: str | None, upgrade: bool) -> Answer:
    """Lock NAME: find the versions and hashes of all that its list needs, and keep them in a new revision.

    uv resolves against the index and the one that it sends on to. `install --locked` takes just these files.
    """
    before = _last_locked(environments, name)
    old = before.lock if before is not None else None
    wanted = _wanted(before, python, platform)
    resolved: dict[tuple[str, ...], str] = {}
    said = f"Python {wanted.python} on {wanted.platform or 'all platforms'}"

    def locked(revision: Revision) -> str:
        # once for each list: others may change it meanwhile
        if revision.requirements not in resolved:
            output.say(f"Locking {output.count(len(revision.requirements), 'requirement')} for {said}")
            text = _resolved(revision, wanted, tools, keep=None if upgrade else old)
            # an index may say more of a file at one time than at another: sizes, say
            resolved[revision.requirements] = old if old and locks.is_same(old, text) else text
        return resolved[revision.requirements]

    with _tools(environments) as tools:
        done = update.change(
            environments, name, lambda groups: groups, change=f"lock for {said}", settle=settle, lock=locked
        )
    return report(done, nothing="A new lock would be the same.")


@click.command()
@name_argument
@of_index
def outdated(environments: Remote, name: str) -> Answer:
    """Show what a new lock of NAME would change: a line a package."""
    _history, latest = update.latest(environments, name)
    before = _last_locked(environments, name)
    if before is None or before.lock is None:
        raise PpmError(f"{name} was never locked, so nothing is out of date.", hint=f"ppmctl env lock {name}")
    if before.number != latest.number:
        output.say(f"The last lock is that of revision {before.number}; the list is that of {latest.number}.")
    with _tools(environments) as tools:
        new = _resolved(latest, _wanted(before, None, None), tools)
    old = locks.read(before.lock, where="The lock")
    moves = [
        (move.name, ", ".join(move.before), ", ".join(move.after))
        for move in locks.moves(old, locks.read(new, where="The new lock"))
    ]

    def show() -> None:
        if moves:
            output.table(("NAME", "LOCKED", "NEW"), moves)
        output.say(f"{output.count(len(moves), 'package')} would change." if moves else "Nothing would change.")

    return Answer([{"name": name, "locked": old or None, "new": new or None} for name, old, new in moves], show)


@click.command()
@revision_argument
@_where_options
@click.option("--locked", is_flag=True, help="Just the versions of its lock, each file held against its hash.")
@click.option("--exact", is_flag=True, help="Remove what is there besides.")
@click.option("--with", "by", type=click.Choice(["uv", "pip"]), help="What installs.  [default: uv if it is here]")
@of_index
def install(
    environments: Remote, name: str, into: Path | None, here: bool, locked: bool, exact: bool, by: str | None
) -> Answer:
    """Install NAME into a virtual environment, which is made where it is not there; prints its folder.

    Everything comes from the index and the one that it sends on to, whatever else pip and uv are set up for.
    """
    folder = _folder(into, here=here)
    _entry, revision = found(environments, name)
    if revision.lock and not locked:
        output.say(f"Revision {revision.number} is locked: --locked installs just what was locked.")
    with _tools(environments) as tools:
        install_module.install(revision, folder, tools, locked=locked, exact=exact, by=cast("By | None", by))

    def show() -> None:
        output.say(f"{revision.name}@{revision.number} is in {folder}.")
        output.data(str(folder))

    value = {"name": revision.name, "revision": revision.number, "folder": folder, "locked": locked}
    return Answer(value, show)


@click.command()
@revision_argument
@_where_options
@click.option("--locked", is_flag=True, help="Hold it against the versions of the lock.")
@click.option("--exact", is_flag=True, help="Name what is there besides, too.")
@of_index
def check(environments: Remote, name: str, into: Path | None, here: bool, locked: bool, exact: bool) -> Answer:
    """Does a virtual environment agree with NAME? Prints what is missing, differs or is too much, and is 1 then."""
    folder = _folder(into, here=here)
    python = venv.python_of(folder)
    if python is None:
        hint = f"ppmctl env install {name} --into {folder}"
        raise UsageError(f"There is no virtual environment {folder}.", hint=hint)
    _entry, revision = found(environments, name)
    if locked and revision.lock is None:
        raise UsageError(f"Revision {revision.number} is not locked.", hint=f"ppmctl env lock {revision.name}")
    held = locks.read(revision.lock, where="The lock") if locked and revision.lock else None
    differences = check_module.compare(revision.requirements, venv.content(python), lock=held, exact=exact)
    agrees = "agrees with" if not differences else "differs from"

    def show() -> None:
        for item in differences:
            there = f"{item.name} {item.found}".rstrip() if item.found else ""
            wanted = f"{item.wanted}{f' (for {item.why})' if item.why else ''}"
            said = f"{there}, not {wanted}" if there and item.wanted else there or wanted
            output.data(f"{item.state:7}  {said}")

    keys = ("state", "name", "wanted", "found", "why")
    return Answer(
        [{key: getattr(item, key) or None for key in keys} for item in differences],
        show,
        exit_code=EXIT_FAILED if differences else 0,
        notes=[f"{folder} {agrees} {revision.name}@{revision.number}."],
    )


def _resolved(revision: Revision, wanted: Wanted, tools: Tools, *, keep: str | None = None) -> str:
    with output.progress(f"Locking {revision.name}"):
        return resolver.resolve(revision.requirements, wanted, tools, keep=keep)


def _tools(environments: Remote) -> AbstractContextManager[Tools]:
    credential = environments.transport.credential
    return programs.tools(environments.address, credential, environ=os.environ, home=Path.home())


def _folder(into: Path | None, *, here: bool) -> Path:
    if here and into is not None:
        raise UsageError("--into and --here are two places.", hint="Give one of them.")
    return venv.active(os.environ) if here else into or venv.DEFAULT


def _last_locked(environments: Remote, name: str) -> Revision | None:
    """The latest revision with a lock, among the last ones."""
    history = environments.history(name)
    entries = [entry for entry in history.entries if entry.deleted is None] if history is not None else []
    for entry in reversed(entries[-_LOOKED_AT:]):
        revision = environments.read(entry)
        if revision.lock is not None:
            return revision
    return None


def _wanted(before: Revision | None, python: str | None, platform: str | None) -> Wanted:
    old = locks.read(before.lock, where="The lock") if before is not None and before.lock else None
    if platform is None:
        platform = old.platform if old is not None else ""
    return resolver.Wanted(
        python=python or (old.python if old is not None else "") or resolver.this_python(),
        platform="" if platform == "all" else platform,
    )


COMMANDS = (lock, outdated, install, check)
