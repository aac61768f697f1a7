"""The commands and settings that install a project with each client, as `ppmctl client-config` prints them."""

from __future__ import annotations

from dataclasses import dataclass

from ppmctl.client_config import pip, printed
from ppmctl.client_config.index_target import IndexTarget, sh
from ppmctl.client_config.printed import Printed

_CLIENTS = ("pip", "uv", "poetry", "pdm")


@dataclass(frozen=True, kw_only=True)
class Install:
    """How a client installs a project. `is_setup_first`: the command needs `setup` in the client's file."""

    command: str
    setup: Printed
    is_setup_first: bool


def of(requirement: str, base: str, *, redirects: bool) -> tuple[Install, ...]:
    """Return how to install a requirement from the index at the URL `base`.

    `redirects`: whether the index redirects other names to the public one.
    """
    setups = printed.for_user(_CLIENTS, base, username=None, redirects=redirects)
    return tuple(_install(setup, sh(requirement)) for setup in setups)


def _install(setup: Printed, requirement: str) -> Install:
    command = _command(setup.client, setup.target, requirement)
    return Install(command=command, setup=setup, is_setup_first=setup.target.address.base not in command)


def _command(client: str, target: IndexTarget, requirement: str) -> str:
    is_single = target.form == "single"
    if client == "pip":
        options = " ".join(f"--{name} {sh(value)}" for name, value in pip.wanted(target).items())
        return f"pip install {options} {requirement}"
    if client == "uv":
        option = "--default-index" if is_single else "--index"
        return f"uv add {option} {sh(f'{target.name}={target.simple}')} {requirement}"
    if client == "poetry" and not is_single:
        return f"poetry add --source {target.name} {requirement}"
    return f"{client} add {requirement}"
