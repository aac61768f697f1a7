"""`ppmctl env`: the commands that need a resolver or a virtual environment: lock, outdated, install, check."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import click

from ppmctl import output
from ppmctl.cli.env_options import name_argument, of_index, read_revision, report, revision_argument, settle
from ppmctl.cli.options import Answer, exclusive
from ppmctl.distributions import lock as locks
from ppmctl.distributions.environment_revision import Revision
from ppmctl.environments import resolver, update, venv
from ppmctl.environments.check import compare
from ppmctl.environments.install import By
from ppmctl.environments.install import install as install_revision
from ppmctl.environments.merge import differences
from ppmctl.environments.remote import Remote
from ppmctl.environments.resolver import Wanted
from ppmctl.environments.tools import Tools, has_pip, tools
from ppmctl.errors import EXIT_FAILED, PpmError, UsageError

_MAX_READ = 50  # revisions, to find a locked one


def _venv_options(command: Any) -> Any:
    into = click.option(
        "--into",
        type=click.Path(path_type=Path, file_okay=False),
        help="The folder of the virtual environment.  [default: .venv]",
    )
    here = click.option("--here", is_flag=True, help="Use the active virtual environment.")
    return into(here(command))


@click.command()
@name_argument
@click.option("--python", help="The oldest Python version to support.  [default: as before, or the current one]")
@click.option("--platform", help="The only platform, by uv's name, or all.  [default: as before, or all]")
@click.option("--upgrade", is_flag=True, help="Lock the newest versions, instead of keeping locked ones that fit.")
@of_index
def lock(environments: Remote, name: str, python: str | None, platform: str | None, upgrade: bool) -> Answer:
    """Lock NAME: find versions and hashes of everything that it needs, and store them in a new revision.

    uv resolves against the index and the one it redirects to. `install --locked` installs exactly these files.
    """
    before = _last_locked(environments, name)
    old = before.lock if before is not None else None
    wanted = _wanted(before, python, platform)
    resolved: dict[tuple[str, ...], str] = {}
    goal = f"Python {wanted.python} on {wanted.platform or 'all platforms'}"

    def locked(revision: Revision) -> str:
        # once for each list, which others may change in the meantime
        if revision.requirements not in resolved:
            output.say(f"Locking {output.count(len(revision.requirements), 'requirement')} for {goal}")
            text = _resolved(revision, wanted, opened, keep=None if upgrade else old)
            # an index may send more details of a file at one time than at another, such as its size
            resolved[revision.requirements] = old if old and locks.is_same(old, text) else text
        return resolved[revision.requirements]

    with _tools(environments) as opened:
        done = update.change(
            environments, name, lambda groups: groups, change=f"lock for {goal}", settle=settle, lock=locked
        )
    return report(done, unchanged="A new lock would be the same.")


@click.command()
@name_argument
@of_index
def outdated(environments: Remote, name: str) -> Answer:
    """Show what a new lock of NAME would change, one line per package."""
    _history, latest = update.latest(environments, name)
    before = _last_locked(environments, name)
    if before is None or before.lock is None:
        raise PpmError(f"{name} was never locked, so nothing is outdated.", hint=f"ppmctl env lock {name}")
    if before.number != latest.number:
        output.say(f"The last lock is of revision {before.number}; the list is of revision {latest.number}.")
    with _tools(environments) as opened:
        new = _resolved(latest, _wanted(before, None, None), opened)
    moves = [
        (move.name, ", ".join(move.before), ", ".join(move.after))
        for move in differences(locks.read(before.lock).versions, locks.read(new, where="The new lock").versions)
    ]

    def show() -> None:
        if moves:
            output.table(("NAME", "LOCKED", "NEW"), moves)
        output.say(f"{output.count(len(moves), 'package')} would change." if moves else "Nothing would change.")

    return Answer([{"name": name, "locked": old or None, "new": new or None} for name, old, new in moves], show)


@click.command()
@revision_argument
@_venv_options
@click.option("--locked", is_flag=True, help="Install exactly the locked versions, and check the hash of each file.")
@click.option("--exact", is_flag=True, help="Remove all other packages.")
@click.option("--with", "by", type=click.Choice(["uv", "pip"]), help="The installer.  [default: uv if available]")
@of_index
def install(
    environments: Remote, name: str, into: Path | None, here: bool, locked: bool, exact: bool, by: str | None
) -> Answer:
    """Install NAME into a virtual environment, which is created if it is missing; print its folder.

    Uses only the index and the one it redirects to, whatever the configuration of pip and uv says.
    """
    folder = _folder(into, here=here)
    _entry, revision = read_revision(environments, name)
    if revision.lock and not locked:
        output.say(f"Revision {revision.number} is locked: --locked installs exactly the locked versions.")
    with _tools(environments) as opened:
        install_revision(revision, folder, opened, locked=locked, exact=exact, by=cast("By | None", by))

    def show() -> None:
        output.say(f"{revision.name}@{revision.number} is in {folder}.")
        output.data(str(folder))

    value = {"name": revision.name, "revision": revision.number, "folder": folder, "locked": locked}
    return Answer(value, show, notes=_about_pip(folder))


def _about_pip(folder: Path) -> list[str]:
    """Return how to install more into a virtual environment without pip, as uv makes it."""
    python = venv.python_of(folder)
    if python is None or has_pip(python):
        return []
    return [
        f"{folder} has no pip. For more packages: uv pip install --python {folder} NAME",
        f"To add pip: {python} -m ensurepip",
    ]


@click.command()
@revision_argument
@_venv_options
@click.option("--locked", is_flag=True, help="Compare with the locked versions.")
@click.option("--exact", is_flag=True, help="Also report all other packages.")
@of_index
def check(environments: Remote, name: str, into: Path | None, here: bool, locked: bool, exact: bool) -> Answer:
    """Compare a virtual environment with NAME, and print each difference. Exits with 1 if there is one."""
    folder = _folder(into, here=here)
    python = venv.python_of(folder)
    if python is None:
        hint = f"ppmctl env install {name} --into {folder}"
        raise UsageError(f"There is no virtual environment {folder}.", hint=hint)
    _entry, revision = read_revision(environments, name)
    if locked and revision.lock is None:
        raise UsageError(f"Revision {revision.number} is not locked.", hint=f"ppmctl env lock {revision.name}")
    lock = locks.read(revision.lock) if locked and revision.lock else None
    differences = compare(revision.requirements, venv.content(python), lock=lock, exact=exact)
    agrees = "agrees with" if not differences else "differs from"

    def show() -> None:
        for item in differences:
            installed = f"{item.name} {item.found}".rstrip() if item.found else ""
            wanted = f"{item.wanted}{f' (for {item.why})' if item.why else ''}"
            text = f"{installed}, not {wanted}" if installed and item.wanted else installed or wanted
            output.data(f"{item.state:7}  {text}")

    keys = ("state", "name", "wanted", "found", "why")
    return Answer(
        [{key: getattr(item, key) or None for key in keys} for item in differences],
        show,
        exit_code=EXIT_FAILED if differences else 0,
        notes=[f"{folder} {agrees} {revision.name}@{revision.number}."],
    )


def _resolved(revision: Revision, wanted: Wanted, opened: Tools, *, keep: str | None = None) -> str:
    with output.progress(f"Locking {revision.name}"):
        return resolver.resolve(revision.requirements, wanted, opened, keep=keep)


def _tools(environments: Remote) -> AbstractContextManager[Tools]:
    return tools(environments.address, environments.transport.credential, environ=os.environ, home=Path.home())


def _folder(into: Path | None, *, here: bool) -> Path:
    if here and into is not None:
        raise exclusive("--into", "--here")
    return venv.active(os.environ) if here else into or venv.DEFAULT


def _last_locked(environments: Remote, name: str) -> Revision | None:
    """Return the latest locked revision among the last ones."""
    history = environments.history(name)
    entries = [entry for entry in history.entries if entry.deleted is None] if history is not None else []
    for entry in reversed(entries[-_MAX_READ:]):
        revision = environments.read(entry)
        if revision.lock is not None:
            return revision
    return None


def _wanted(before: Revision | None, python: str | None, platform: str | None) -> Wanted:
    old = locks.read(before.lock) if before is not None and before.lock else None
    if platform is None:
        platform = old.platform if old is not None else ""
    return Wanted(
        python=python or (old.python if old is not None else "") or resolver.this_python(),
        platform="" if platform == "all" else platform,
    )


COMMANDS = (lock, outdated, install, check)
