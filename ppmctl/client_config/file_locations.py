"""Find each client's own file, by the rules of that client."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ppmctl import user_dirs
from ppmctl.client_config.index_target import CLIENTS, IndexTarget, Machine, Scope
from ppmctl.errors import UsageError

# client → the variable that names another file, and the file's usual name
_OF_USER = {
    "pip": ("PIP_CONFIG_FILE", "pip.conf"),
    "uv": ("UV_CONFIG_FILE", "uv.toml"),
    "hatch": ("HATCH_CONFIG", "config.toml"),
}


def choose_scope(client: str, target: IndexTarget, given: Scope | None) -> Scope:
    """Return the given scope, or the client's default. Raise UsageError where the form does not fit it."""
    if client == "uv" and target.form == "explicit" and given == "user":
        raise UsageError(
            "uv uses an explicit index only for packages that name it, and only in projects that define the index.",
            hint="Use --project, or another --form.",
        )
    if given is None and client == "uv" and target.form != "single":
        return "project"  # the packages that name the index are listed there
    return given or CLIENTS[client].scopes[0]


def path(client: str, scope: Scope, machine: Machine, *, exists: Callable[[Path], bool] = Path.exists) -> Path:
    """Return the file that a client reads for a scope; a project's is in the current folder or the next one above.

    Raise UsageError where the client has no file for the scope.
    """
    scopes = CLIENTS[client].scopes
    if scope not in scopes:
        known = ", ".join(f"--{each}" for each in scopes)
        raise UsageError(f"{client} has no file of its own for --{scope}.", hint=f"It has: {known}." if known else "")
    if scope == "project":
        name = "Pipfile" if client == "pipenv" else "pyproject.toml"
        return user_dirs.above(machine.cwd, name) or machine.cwd / name
    if scope == "venv":
        return _venv(machine) / "pip.conf"
    if client == "netrc":
        return machine.cwd / user_dirs.netrc(machine.environ, machine.home)
    return _of_user(client, machine, exists) if client in _OF_USER else machine.home / ".pypirc"


def _of_user(client: str, machine: Machine, exists: Callable[[Path], bool]) -> Path:
    variable, name = _OF_USER[client]
    named, folder = machine.environ.get(variable), machine.config
    if named and (client, named) != ("pip", os.devnull):
        return machine.cwd / named
    if machine.platform == "darwin" and client != "uv":
        library = machine.home / "Library" / "Application Support"
        # there pip ignores XDG_CONFIG_HOME
        folder = library if client == "hatch" or exists(library / client) else machine.home / ".config"
    return folder / client / name


def _venv(machine: Machine) -> Path:
    venv = machine.environ.get("VIRTUAL_ENV")
    if not venv:
        hint = "Activate it: . .venv/bin/activate"
        raise UsageError("No virtual environment is active: VIRTUAL_ENV is not set.", hint=hint)
    return machine.cwd / venv


def why_unread(client: str, machine: Machine) -> str | None:
    """Return why a client reads no file at all in this environment; None if it does."""
    if client == "pip" and machine.environ.get("PIP_CONFIG_FILE") == os.devnull:
        return f"PIP_CONFIG_FILE is {os.devnull}: pip reads no file until you unset it."
    if client == "uv" and machine.environ.get("UV_NO_CONFIG", "").lower() in ("1", "true", "yes", "on"):
        return "UV_NO_CONFIG is set: uv reads no file until you unset it."
    return None
