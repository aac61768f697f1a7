"""Where each client's own file is, by its own rules: pure but for a look at what is there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ppmctl import user_dirs
from ppmctl.client_config.index_target import Here, IndexTarget, Scope
from ppmctl.errors import UsageError

# What a client can be told by a file, the usual place first.
SCOPES: dict[str, tuple[Scope, ...]] = {
    "pip": ("user", "venv"),
    "uv": ("user", "project"),
    "poetry": ("project",),
    "pdm": ("project",),
    "pipenv": ("project",),
    "hatch": ("user",),
    "twine": ("user",),
    "netrc": ("user",),
}
# What can be edited, and not only printed.
WRITABLE = ("pip", "uv", "poetry", "twine", "netrc")
# Variables that win over a client's file.
OVERRULE = {
    "pip": ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"),
    "uv": ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"),
    "twine": ("TWINE_REPOSITORY", "TWINE_REPOSITORY_URL"),
}


def meant(client: str, target: IndexTarget, given: Scope | None) -> Scope:
    """The scope that is given, or is usual. UsageError where an index can't be known that way."""
    if client == "uv" and target.form == "explicit" and given == "user":
        raise UsageError(
            "uv takes from an explicit index what a project sends there, and only if the project names the index.",
            hint="--project, or another --form.",
        )
    if given is None and client == "uv" and target.form != "single":
        return "project"  # where the names are that are sent there
    return given or SCOPES[client][0]


def path(client: str, scope: Scope, here: Here, *, is_there: Callable[[Path], bool] = Path.exists) -> Path:
    """The file that `client` reads for `scope`; a project's in the current folder, or the next above that has one.

    UsageError where it has none for that.
    """
    if scope not in SCOPES.get(client, ()):
        known = ", ".join(f"--{each}" for each in SCOPES.get(client, ()))
        raise UsageError(f"{client} has no file of its own for --{scope}.", hint=f"It has: {known}." if known else "")
    if scope == "project":
        name = "Pipfile" if client == "pipenv" else "pyproject.toml"
        return user_dirs.above(here.cwd, name) or here.cwd / name
    if client == "pip":
        return _pip_of_venv(here) if scope == "venv" else _pip_of_user(here, is_there)
    if client == "uv":
        named = here.environ.get("UV_CONFIG_FILE")
        return here.cwd / named if named else _config(here) / "uv" / "uv.toml"
    if client == "hatch":
        return _hatch(here)
    if client == "netrc":
        return here.cwd / user_dirs.netrc(here.environ, here.home)
    return here.home / ".pypirc"


def unread(client: str, here: Here) -> str | None:
    """Why `client` reads no file at all in this environment, if it is so."""
    if client == "pip" and here.environ.get("PIP_CONFIG_FILE") == os.devnull:
        return f"PIP_CONFIG_FILE is {os.devnull}: pip reads no file at all, until that is unset."
    if client == "uv" and here.environ.get("UV_NO_CONFIG", "").lower() in ("1", "true", "yes", "on"):
        return "UV_NO_CONFIG is set: uv reads no file at all, until that is unset."
    return None


def _pip_of_user(here: Here, is_there: Callable[[Path], bool]) -> Path:
    named = here.environ.get("PIP_CONFIG_FILE")
    if named and named != os.devnull:
        return here.cwd / named
    library = here.home / "Library" / "Application Support" / "pip"
    if here.platform == "darwin":  # where XDG_CONFIG_HOME means nothing to pip
        return (library if is_there(library) else here.home / ".config" / "pip") / "pip.conf"
    return _config(here) / "pip" / "pip.conf"


def _pip_of_venv(here: Here) -> Path:
    venv = here.environ.get("VIRTUAL_ENV")
    if not venv:
        raise UsageError(
            "No virtual environment is active: VIRTUAL_ENV is not set.", hint="Activate it: . .venv/bin/activate"
        )
    return here.cwd / venv / "pip.conf"


def _config(here: Here) -> Path:
    return user_dirs.config(here.environ, here.home)


def _hatch(here: Here) -> Path:
    if named := here.environ.get("HATCH_CONFIG"):
        return here.cwd / named
    if here.platform == "darwin":
        return here.home / "Library" / "Application Support" / "hatch" / "config.toml"
    return _config(here) / "hatch" / "config.toml"
