"""Users with a credential of an index, and runs of `ppmctl env` on their machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.clients import Machine, machine, run
from support.servers import Server, ppmctl


def user(server: Server, name: str, home: Path, role: str = "publisher") -> Machine:
    """Make the machine of a new user with this role, with PPMCTL_INDEX and a netrc."""
    secret = ppmctl("user", "add", name, "--role", role, "--root", str(server.root)).stdout.strip()
    desk = machine(home)
    (desk.home / ".netrc").write_text(f"machine 127.0.0.1 login {name} password {secret}\n")
    (desk.home / ".netrc").chmod(0o600)
    return Machine(home=desk.home, environ={**desk.environ, "PPMCTL_INDEX": server.url})


def env(who: Machine, *arguments: str | Path, expect: int = 0, **environ: str) -> str:
    """Run `ppmctl env` and return its output, with stderr if it fails."""
    return run(who, "env", *arguments, expect=expect, **environ)


def shown(who: Machine, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(env(who, "show", name, "--json"))
    return document


def listing(who: Machine, name: str) -> list[str]:
    """Return the requirements of an environment."""
    return list(shown(who, name)["requirements"])


def log(who: Machine, name: str) -> list[dict[str, Any]]:
    revisions: list[dict[str, Any]] = json.loads(env(who, "log", name, "--json"))
    return revisions
