"""A revision → a virtual environment on this machine that holds it, by uv or pip."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ppmctl import events
from ppmctl.distributions.environment_revision import LOCK, REQUIREMENTS, Revision
from ppmctl.environments import check, tools, venv
from ppmctl.environments import lock as locks
from ppmctl.environments.lock import Lock
from ppmctl.environments.tools import Tools
from ppmctl.errors import PpmError, UsageError

By = Literal["uv", "pip"]


def install(
    revision: Revision, folder: Path, using: Tools, *, locked: bool, exact: bool, by: By | None = None
) -> None:
    """Install `revision` into the virtual environment in `folder`, which is made if it is missing.

    With `locked` the versions of its lock, each file compared with its hash; with `exact` what else is there is
    removed. By uv if that is here, unless `by` says. UsageError and PpmError where that can't be done.
    """
    if locked and revision.lock is None:
        raise UsageError(
            f"Revision {revision.number} of {revision.name} is not locked.",
            hint=f"ppmctl env lock {revision.name}  locks it; ppmctl env log  shows older revisions: NAME@REV",
        )
    lock = locks.read(revision.lock, where=LOCK) if locked and revision.lock is not None else None
    uv = None if by == "pip" else tools.need_uv("That") if by == "uv" else tools.find_uv()
    python = venv.python_of(folder)
    if python is None:
        events.note(f"Making the virtual environment {folder}")
        python = venv.make(folder, uv=uv, tools=using)
    if uv is None:
        _by_pip(python, revision, lock, using, exact=exact)
        return
    command: tuple[str | Path, ...] = (uv, "pip", "install", *(("--exact",) if exact else ()), "-r")
    source = using.write(REQUIREMENTS, revision.requirements)
    options: tuple[str | Path, ...] = ("--python", python, *using.uv_index())
    if lock is not None:
        source = using.write(LOCK, revision.lock or "")
        options += ("--preview-features", "pylock")  # uv would warn of it
        if exact:
            command = (uv, "pip", "sync", "--allow-empty-requirements")
    tools.run((*command, source, *options), f"To install {revision.name}", environ=using.environ, is_shown=True)


def _by_pip(python: Path, revision: Revision, lock: Lock | None, using: Tools, *, exact: bool) -> None:
    pip = tools.pip_for(python)
    lines, options = list(revision.requirements), ["--index-url", using.address.simple]
    if lock is not None:
        _require_python(python, lock, revision)
        lines, options = list(lock.lines()), [*options, "--require-hashes", "--no-deps"]
    if lines:
        source = using.write(REQUIREMENTS, lines)
        command: tuple[str | Path, ...] = (*pip, "install", *options, "-r", source)
        tools.run(command, f"To install {revision.name}", environ=using.environ, is_shown=True)
    extra = check.extras(revision.requirements, venv.content(python), lock=lock) if exact else []
    if extra:
        command = (*pip, "uninstall", "--yes", *extra)
        tools.run(command, "To remove what is there besides", environ=using.environ, is_shown=True)


def _require_python(python: Path, lock: Lock, revision: Revision) -> None:
    """PpmError where a lock is for other Pythons: pip is told nothing of that, uv reads it in the lock."""
    from packaging.specifiers import SpecifierSet

    here = venv.content(python).environment["python_full_version"].rstrip("+")  # 3.13.0+ is not quite a release
    if not SpecifierSet(lock.requires_python).contains(here, prereleases=True):
        raise PpmError(
            f"The lock of revision {revision.number} is for Python {lock.requires_python}, and this is {here}.",
            hint=f"ppmctl env lock {revision.name} --python {'.'.join(here.split('.')[:2])}  locks it for this one.",
        )
