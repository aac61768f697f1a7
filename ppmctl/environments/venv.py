"""A virtual environment on this machine: found, made, and what is in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppmctl.distributions.distribution import normalise
from ppmctl.environments.tools import Tools, run
from ppmctl.errors import PpmError, UsageError

DEFAULT = Path(".venv")
_MARKS = ("pyvenv.cfg", "conda-meta")

# Runs in that environment, whatever its Python is: what markers ask for (PEP 508), and what is installed.
_ASK = """
import json, os, platform, sys
from importlib import metadata
def full(info):
    kind = info.releaselevel
    return "%d.%d.%d" % info[:3] + ("" if kind == "final" else kind[0] + str(info.serial))
def one(found):
    return {"name": found.metadata["Name"], "version": found.version, "requires": found.requires or [],
            "url": found.read_text("direct_url.json")}
print(json.dumps({"environment": {
    "implementation_name": sys.implementation.name, "implementation_version": full(sys.implementation.version),
    "os_name": os.name, "platform_machine": platform.machine(), "platform_release": platform.release(),
    "platform_system": platform.system(), "platform_version": platform.version(),
    "python_full_version": platform.python_version(), "python_version": "%d.%d" % sys.version_info[:2],
    "platform_python_implementation": platform.python_implementation(), "sys_platform": sys.platform,
}, "installed": [one(found) for found in metadata.distributions() if found.metadata["Name"]]}))
"""


@dataclass(frozen=True, kw_only=True)
class Installed:
    """One that is installed: `requires` as its metadata say, `url` where it came from if that was said, or ""."""

    name: str
    version: str
    requires: tuple[str, ...] = ()
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Content:
    """What is in a virtual environment, by normalised name; `environment` is what markers are held against."""

    installed: Mapping[str, Installed]
    environment: Mapping[str, str]


def active(environ: Mapping[str, str]) -> Path:
    """The one that is active here; UsageError where none is."""
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if environ.get(variable):
            return Path(environ[variable])
    raise UsageError("No virtual environment is active here.", hint="Activate one, or name its folder: --into DIR")


def python_of(folder: Path) -> Path | None:
    """The Python of the environment in `folder`, or None where there is no such folder, or it is empty.

    UsageError where it holds something else.
    """
    try:
        if not folder.exists() or not any(folder.iterdir()):
            return None
        is_one = any((folder / mark).exists() for mark in _MARKS)
    except OSError as exc:
        raise UsageError(f"{folder} can't be read: {exc.strerror}.") from exc
    python = next((path for path in (folder / "bin/python", folder / "Scripts/python.exe") if path.exists()), None)
    if not is_one or python is None:
        raise UsageError(
            f"{folder} is a folder with something in it, and no virtual environment.", hint="Name another: --into DIR"
        )
    return python.absolute()


def make(folder: Path, *, uv: Path | None, tools: Tools) -> Path:
    """Make one in `folder`, of the Python that runs here; its Python. PpmError with what went wrong."""
    command: tuple[str | Path, ...] = (sys.executable, "-m", "venv", folder)
    if uv is not None:
        command = (uv, "venv", "--quiet", "--python", sys.executable, folder)
    run(command, f"To make {folder} a virtual environment", environ=tools.environ)
    python = python_of(folder)
    if python is None:
        raise PpmError(f"{folder} can't be made into a virtual environment.")
    return python


def content(python: Path) -> Content:
    """What is in the environment of `python`."""
    values: dict[str, Any] = json.loads(run((python, "-I", "-c", _ASK), f"To ask {python} what it has"))
    found = [
        Installed(
            name=normalise(one["name"]),
            version=one["version"],
            requires=tuple(one["requires"]),
            url=_url(one["url"]),
        )
        for one in values["installed"]
    ]
    # the first of a name is what is imported
    return Content(installed={one.name: one for one in reversed(found)}, environment=values["environment"])


def _url(text: str | None) -> str:
    try:
        values = json.loads(text or "{}")
        vcs = values.get("vcs_info")
        return f"{vcs['vcs']}+{values['url']}@{vcs['commit_id']}" if vcs else str(values.get("url", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
