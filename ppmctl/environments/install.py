"""Install a revision of an environment into a virtual environment on this machine, with uv or pip."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ppmctl import events
from ppmctl.distributions import lock
from ppmctl.distributions.distribution import one_line
from ppmctl.distributions.environment_revision import LOCK, REQUIREMENTS, Revision
from ppmctl.distributions.lock import Lock
from ppmctl.environments import check, tools, venv
from ppmctl.environments.tools import Tools
from ppmctl.errors import PpmError, UsageError
from ppmctl.secret import masked

By = Literal["uv", "pip"]


def install(
    revision: Revision, folder: Path, using: Tools, *, locked: bool, exact: bool, by: By | None = None
) -> None:
    """Install `revision` into the virtual environment in `folder`, and make that if it is missing.

    With `locked` install the versions of its lock and check each file's hash; with `exact` remove everything else.
    uv installs if it is available, unless `by` is given. Raise UsageError and PpmError.
    """
    pinned = None
    if locked:
        if revision.lock is None:
            raise UsageError(
                f"Revision {revision.number} of {revision.name} is not locked.",
                hint=f"ppmctl env lock {revision.name}  locks it; ppmctl env log  shows older revisions: NAME@REV",
            )
        pinned = lock.read(revision.lock, where=LOCK)
    uv = None if by == "pip" else tools.require_uv("--with uv") if by == "uv" else tools.find_uv()
    python = venv.python_of(folder)
    if python is None:
        events.note(f"Making the virtual environment {folder}")
        python = venv.make(folder, uv=uv, tools=using)
    if uv is None:
        _by_pip(python, revision, pinned, using, exact=exact)
        return
    command: tuple[str | Path, ...] = (uv, "pip", "install", *(("--exact",) if exact else ()), "-r")
    source = using.write(REQUIREMENTS, revision.requirements)
    options: tuple[str | Path, ...] = ("--python", python, *using.uv_index())
    if pinned is not None:
        source = using.write(LOCK, revision.lock or "")
        options += ("--preview-features", "pylock")  # without it uv prints a warning
        if exact:
            command = (uv, "pip", "sync", "--allow-empty-requirements")
    tools.run((*command, source, *options), f"To install {revision.name}", environ=using.environ, is_shown=True)


def _by_pip(python: Path, revision: Revision, pinned: Lock | None, using: Tools, *, exact: bool) -> None:
    pip = tools.pip_for(python)
    lines, options = list(revision.requirements), ["--index-url", using.address.simple]
    if pinned is not None:
        _require_python(python, pinned, revision)
        _require_hashes(pinned)
        lines, options = list(pinned.lines()), [*options, "--require-hashes", "--no-deps"]
    if lines:
        command: tuple[str | Path, ...] = (*pip, "install", *options, "-r", using.write(REQUIREMENTS, lines))
        tools.run(command, f"To install {revision.name}", environ=using.environ, is_shown=True)
    extra = check.extras(revision.requirements, venv.content(python), lock=pinned) if exact else []
    if extra:
        command = (*pip, "uninstall", "--yes", *extra)
        tools.run(command, "To remove other packages", environ=using.environ, is_shown=True)


def _require_hashes(pinned: Lock) -> None:
    for pin in pinned.without_hash:
        raise PpmError(
            f"{pin.name} has no hash in the lock (it comes from {one_line(masked(pin.url))}).",
            hint="pip needs hashes for all packages or for none; uv does not: --with uv",
        )


def _require_python(python: Path, pinned: Lock, revision: Revision) -> None:
    """Raise PpmError if a lock is for other Pythons: uv reads that in the lock, but pip does not."""
    from packaging.specifiers import SpecifierSet

    own = venv.content(python).environment["python_full_version"].rstrip("+")  # 3.13.0+ is not a valid version
    if not SpecifierSet(pinned.requires_python).contains(own, prereleases=True):
        raise PpmError(
            f"The lock of revision {revision.number} is for Python {pinned.requires_python}, and this is {own}.",
            hint=f"ppmctl env lock {revision.name} --python {'.'.join(own.split('.')[:2])}  locks it for this one.",
        )
