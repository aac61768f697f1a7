"""People with a credential of an index, and what `ppmctl env` says to them."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from ppmctl import cli
from support.clients import Machine, machine, run
from support.servers import Server, ppmctl


def user(server: Server, name: str, home: Path, role: str = "publisher") -> Machine:
    """The machine of somebody with a credential of that role: PPMCTL_INDEX and a netrc."""
    secret = ppmctl("user", "add", name, "--role", role, "--root", str(server.root)).stdout.strip()
    there = machine(home)
    (there.home / ".netrc").write_text(f"machine 127.0.0.1 login {name} password {secret}\n")
    (there.home / ".netrc").chmod(0o600)
    return Machine(home=there.home, environ={**there.environ, "PPMCTL_INDEX": server.url})


# what these start writes to the process's own stderr
_APART = ("install", "lock", "outdated", "check")


def env(who: Machine, *arguments: str | Path, expect: int = 0, **environ: str) -> str:
    """What `ppmctl env` says to somebody; on stderr too where it fails. In this process: there are many of them."""
    if arguments[0] in _APART:
        return run(who, "env", *arguments, expect=expect, **environ)
    out, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(errors):
        for name in os.environ:
            patch.delenv(name)
        for name, value in {**who.environ, **environ}.items():
            patch.setenv(name, value)
        patch.chdir(who.home)
        patch.setattr(sys, "stdin", io.StringIO())
        code = cli.run(["env", *(str(argument) for argument in arguments)])
    said = out.getvalue()
    assert code == expect, f"{arguments} exited {code}:\n{said}\n{errors.getvalue()}"
    return said if expect == 0 else said + errors.getvalue()


def shown(who: Machine, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(env(who, "show", name, "--json"))
    return found


def listing(who: Machine, name: str) -> list[str]:
    """The requirements of an environment."""
    return list(shown(who, name)["requirements"])


def log(who: Machine, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(env(who, "log", name, "--json"))
    return found
