"""A revision → a virtual environment on this machine that holds it, by uv or pip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ppmctl import events
from ppmctl.environments import agreement, lock, programs, venv
from ppmctl.environments.format import LOCK, REQUIREMENTS, Revision
from ppmctl.environments.programs import Programs
from ppmctl.errors import PpmError, UsageError

By = Literal["uv", "pip"]


@dataclass(frozen=True, kw_only=True)
class Installation:
    """Where a revision was installed; `is_new` if the environment was made for it."""

    folder: Path
    is_new: bool
    by: By


def install(
    revision: Revision, folder: Path, tools: Programs, *, locked: bool, exact: bool, by: By | None = None
) -> Installation:
    """Install `revision` into the virtual environment in `folder`, which is made where it is not there.

    With `locked` the versions of its lock, each file held against its hash; with `exact` what is there besides goes.
    By uv where that is here, unless `by` says. UsageError and PpmError where that can't be done.
    """
    if locked and revision.lock is None:
        raise UsageError(
            f"Revision {revision.number} of {revision.name} is not locked.",
            hint=f"ppmctl env lock {revision.name}  locks it; ppmctl env log  shows older revisions: NAME@REV",
        )
    uv = None if by == "pip" else programs.need_uv("That") if by == "uv" else programs.find_uv()
    python = venv.python_of(folder)
    is_new = python is None
    if python is None:
        events.note(f"Making the virtual environment {folder}")
        python = venv.make(folder, uv=uv, environ=tools.environ)
    if uv is not None:
        _by_uv(uv, python, revision, tools, locked=locked, exact=exact)
    else:
        _by_pip(python, revision, tools, locked=locked, exact=exact)
    return Installation(folder=folder, is_new=is_new, by="uv" if uv is not None else "pip")


def _by_uv(uv: Path, python: Path, revision: Revision, tools: Programs, *, locked: bool, exact: bool) -> None:
    command: tuple[str | Path, ...] = (uv, "pip", "install", *(("--exact",) if exact else ()), "-r")
    if locked and exact:
        command = (uv, "pip", "sync", "--allow-empty-requirements")
    preview = ("--preview-features", "pylock") if locked else ()  # uv would warn of it
    options = ("--python", python, *preview, *tools.uv_index())
    tools.run(
        (*command, _source(revision, tools, locked=locked), *options), f"To install {revision.name}", is_shown=True
    )


def _by_pip(python: Path, revision: Revision, tools: Programs, *, locked: bool, exact: bool) -> None:
    pip = programs.pip_for(python)
    options: Sequence[str] = ()
    source = tools.folder / REQUIREMENTS
    if locked:
        found = lock.read((revision.lock or "").encode(), where=LOCK)
        _see_that_it_is_for(python, found, revision)
        tools.write(REQUIREMENTS, "".join(f"{line}\n" for line in found.lines()))
        options = ("--require-hashes", "--no-deps")
    else:
        source = _source(revision, tools, locked=False)
    if source.read_text(encoding="utf-8").strip():
        tools.run(
            (*pip, "install", *options, "-r", source, *tools.pip_index()),
            f"To install {revision.name}",
            is_shown=True,
        )
    if exact:
        _remove_the_rest(pip, python, revision, tools, locked=locked)


def _see_that_it_is_for(python: Path, found: lock.Lock, revision: Revision) -> None:
    """PpmError where a lock is for other Pythons: pip is told nothing of that, uv reads it in the lock."""
    from packaging.specifiers import SpecifierSet

    here = venv.content(python).environment["python_full_version"].rstrip("+")  # 3.13.0+ is not quite a release
    if not SpecifierSet(found.requires_python).contains(here, prereleases=True):
        raise PpmError(
            f"The lock of revision {revision.number} is for Python {found.requires_python}, and this is {here}.",
            hint=f"ppmctl env lock {revision.name} --python {'.'.join(here.split('.')[:2])}  locks it for this one.",
        )


def _remove_the_rest(pip: Sequence[str], python: Path, revision: Revision, tools: Programs, *, locked: bool) -> None:
    content = venv.content(python)
    needed = agreement.needed(revision.requirements, content)
    if locked:
        needed = {pin.name for pin in lock.read((revision.lock or "").encode(), where=LOCK).pins}
    extra = [item.name for item in agreement.extras(content, needed)]
    if extra:
        tools.run((*pip, "uninstall", "--yes", *extra), "To remove what is there besides", is_shown=True)


def _source(revision: Revision, tools: Programs, *, locked: bool) -> Path:
    if locked:
        if revision.lock is None:
            raise PpmError("There is no lock.")
        return tools.write(LOCK, revision.lock)
    return tools.write(REQUIREMENTS, "".join(f"{text}\n" for text in revision.requirements))
