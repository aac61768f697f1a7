"""`ppmctl env`: lock, outdated, install, check: what needs a resolver or a virtual environment on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from ppmctl import output
from ppmctl.cli.env_place import found, named, remote, report, settle
from ppmctl.cli.options import json_option
from ppmctl.cli.place import index_options
from ppmctl.errors import EXIT_FAILED, PpmError, UsageError

if TYPE_CHECKING:
    from ppmctl.environments.format import Revision
    from ppmctl.environments.installing import By
    from ppmctl.environments.remote import Remote
    from ppmctl.environments.resolver import Wanted
    from ppmctl.environments.tools import Tools

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
@click.argument("name")
@click.option("--python", help="The oldest Python that it is for.  [default: as before, or the one here]")
@click.option(
    "--platform", help="The one platform that it is for, as uv names it, or all.  [default: as before, or all]"
)
@click.option("--upgrade", is_flag=True, help="Take the newest of everything; else what was locked stays if it fits.")
@index_options
@json_option
def lock(
    name: str,
    python: str | None,
    platform: str | None,
    upgrade: bool,
    index: str | None,
    credential_file: Path | None,
    as_json: bool,
) -> None:
    """Lock NAME: find the versions and hashes of all that its list needs, and keep them in a new revision.

    uv resolves against the index and the one that it sends on to. `install --locked` takes just these files.
    """
    from ppmctl.environments import change, resolver
    from ppmctl.environments import lock as locks

    name = named(name)
    with remote(index, credential_file) as environments, _tools(environments) as tools:
        before = _last_locked(environments, name)
        old = before.lock if before is not None else None
        wanted = _wanted(before, python, platform)
        resolved: dict[tuple[str, ...], str] = {}

        def locked(revision: Revision) -> str:
            # once for each list: others may change it meanwhile
            if revision.requirements not in resolved:
                output.say(f"Locking {output.count(len(revision.requirements), 'requirement')} for {_said(wanted)}")
                text = resolver.resolve(revision.requirements, wanted, tools, keep=None if upgrade else old)
                # an index may say more of a file at one time than at another: sizes, say
                resolved[revision.requirements] = old if old and locks.is_same(old, text) else text
            return resolved[revision.requirements]

        done = change.change(
            environments, name, lambda groups: groups, change=f"lock for {_said(wanted)}", settle=settle, lock=locked
        )
    report(done, as_json=as_json, nothing="A new lock would be the same.")


@click.command()
@click.argument("name")
@index_options
@json_option
def outdated(name: str, index: str | None, credential_file: Path | None, as_json: bool) -> None:
    """Show what a new lock of NAME would change: a line a package."""
    from ppmctl.environments import change, resolver
    from ppmctl.environments import lock as locks

    name = named(name)
    with remote(index, credential_file) as environments, _tools(environments) as tools:
        _history, latest = change.latest(environments, name)
        before = _last_locked(environments, name)
        if before is None or before.lock is None:
            raise PpmError(f"{name} was never locked, so nothing is out of date.", hint=f"ppmctl env lock {name}")
        if before.number != latest.number:
            output.say(f"The last lock is that of revision {before.number}; the list is that of {latest.number}.")
        new = resolver.resolve(latest.requirements, _wanted(before, None, None), tools)
    old = locks.read(before.lock, where="The lock")
    moves = [
        (move.name, ", ".join(move.before), ", ".join(move.after))
        for move in locks.moves(old, locks.read(new, where="The new lock"))
    ]
    if as_json:
        output.as_json([{"name": name, "locked": old or None, "new": new or None} for name, old, new in moves])
        return
    if moves:
        output.table(("NAME", "LOCKED", "NEW"), moves)
    output.say(f"{output.count(len(moves), 'package')} would change." if moves else "Nothing would change.")


@click.command()
@click.argument("name", metavar="NAME[@REV]")
@_where_options
@click.option("--locked", is_flag=True, help="Just the versions of its lock, each file held against its hash.")
@click.option("--exact", is_flag=True, help="Remove what is there besides.")
@click.option("--with", "by", type=click.Choice(["uv", "pip"]), help="What installs.  [default: uv if it is here]")
@index_options
def install(
    name: str,
    into: Path | None,
    here: bool,
    locked: bool,
    exact: bool,
    by: str | None,
    index: str | None,
    credential_file: Path | None,
) -> None:
    """Install NAME into a virtual environment, which is made where it is not there; prints its folder.

    Everything comes from the index and the one that it sends on to, whatever else pip and uv are set up for.
    """
    from ppmctl.environments import installing

    folder = _folder(into, here=here)
    with remote(index, credential_file) as environments, _tools(environments) as tools:
        _entry, revision = found(environments, name)
        if revision.lock and not locked:
            output.say(f"Revision {revision.number} is locked: --locked installs just what was locked.")
        installing.install(revision, folder, tools, locked=locked, exact=exact, by=cast("By | None", by))
    output.say(f"{revision.name}@{revision.number} is in {folder}.")
    output.data(str(folder))


@click.command()
@click.argument("name", metavar="NAME[@REV]")
@_where_options
@click.option("--locked", is_flag=True, help="Hold it against the versions of the lock.")
@click.option("--exact", is_flag=True, help="Name what is there besides, too.")
@index_options
@json_option
def check(
    name: str,
    into: Path | None,
    here: bool,
    locked: bool,
    exact: bool,
    index: str | None,
    credential_file: Path | None,
    as_json: bool,
) -> int:
    """Does a virtual environment agree with NAME? Prints what is missing, differs or is too much, and is 1 then."""
    from ppmctl.environments import agreement, venv
    from ppmctl.environments import lock as locks

    folder = _folder(into, here=here)
    python = venv.python_of(folder)
    if python is None:
        hint = f"ppmctl env install {name} --into {folder}"
        raise UsageError(f"There is no virtual environment {folder}.", hint=hint)
    with remote(index, credential_file) as environments:
        _entry, revision = found(environments, name)
    if locked and revision.lock is None:
        raise UsageError(f"Revision {revision.number} is not locked.", hint=f"ppmctl env lock {revision.name}")
    held = locks.read(revision.lock, where="The lock") if locked and revision.lock else None
    differences = agreement.compare(revision.requirements, venv.content(python), lock=held, exact=exact)
    if as_json:
        keys = ("state", "name", "wanted", "found", "why")
        output.as_json([{key: getattr(item, key) or None for key in keys} for item in differences])
    else:
        for item in differences:
            there = f"{item.name} {item.found}".rstrip() if item.found else ""
            wanted = f"{item.wanted}{f' (for {item.why})' if item.why else ''}"
            said = f"{there}, not {wanted}" if there and item.wanted else there or wanted
            output.data(f"{item.state:7}  {said}")
    agrees = "agrees with" if not differences else "differs from"
    output.say(f"{folder} {agrees} {revision.name}@{revision.number}.")
    return EXIT_FAILED if differences else 0


@contextmanager
def _tools(environments: Remote) -> Iterator[Tools]:
    from ppmctl.environments import tools

    credential = environments.transport.credential
    with tools.tools(environments.address, credential, environ=os.environ, home=Path.home()) as found:
        yield found


def _folder(into: Path | None, *, here: bool) -> Path:
    from ppmctl.environments import venv

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
    from ppmctl.environments import lock as locks
    from ppmctl.environments import resolver

    old = locks.read(before.lock, where="The lock") if before is not None and before.lock else None
    if platform is None:
        platform = old.platform if old is not None else ""
    return resolver.Wanted(
        python=python or (old.python if old is not None else "") or resolver.this_python(),
        platform="" if platform == "all" else platform,
    )


def _said(wanted: Wanted) -> str:
    return f"Python {wanted.python} on {wanted.platform or 'all platforms'}"


COMMANDS = (lock, outdated, install, check)
