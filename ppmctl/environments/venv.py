"""Find, make and read virtual environments on this machine."""

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

# Runs in the environment with its Python, and prints the values for markers (PEP 508) and what is installed.
_ASK = """
import json, os, platform, sys
from importlib import metadata
def full(info):
    kind = info.releaselevel
    return "%d.%d.%d" % info[:3] + ("" if kind == "final" else kind[0] + str(info.serial))
def values(dist):
    return dist.metadata["Name"], dist.version, dist.requires or [], dist.read_text("direct_url.json")
print(json.dumps({"environment": {
    "implementation_name": sys.implementation.name, "implementation_version": full(sys.implementation.version),
    "os_name": os.name, "platform_machine": platform.machine(), "platform_release": platform.release(),
    "platform_system": platform.system(), "platform_version": platform.version(),
    "python_full_version": platform.python_version(), "python_version": "%d.%d" % sys.version_info[:2],
    "platform_python_implementation": platform.python_implementation(), "sys_platform": sys.platform,
}, "installed": [values(dist) for dist in metadata.distributions() if dist.metadata["Name"]]}))
"""


@dataclass(frozen=True, kw_only=True)
class Installed:
    """An installed distribution: `requires` is from its metadata, `url` from its direct_url.json, or ""."""

    name: str
    version: str
    requires: tuple[str, ...] = ()
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Content:
    """The content of a virtual environment by normalised name; `environment` has the values for markers."""

    installed: Mapping[str, Installed]
    environment: Mapping[str, str]


def active(environ: Mapping[str, str]) -> Path:
    """Return the active virtual environment. Raise UsageError if there is none."""
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if environ.get(variable):
            return Path(environ[variable])
    raise UsageError("No virtual environment is active.", hint="Activate one, or name its folder: --into DIR")


def python_of(folder: Path) -> Path | None:
    """Return the Python of the environment in `folder`, None if that is missing or empty. Raise UsageError."""
    try:
        if not folder.exists() or not any(folder.iterdir()):
            return None
        is_one = any((folder / mark).exists() for mark in _MARKS)
    except OSError as exc:
        raise UsageError(f"{folder} can't be read: {exc.strerror}.") from exc
    python = next((path for path in (folder / "bin/python", folder / "Scripts/python.exe") if path.exists()), None)
    if not is_one or python is None:
        raise UsageError(
            f"{folder} is not empty, and not a virtual environment.", hint="Name another folder: --into DIR"
        )
    return python.absolute()


def make(folder: Path, *, uv: Path | None, tools: Tools) -> Path:
    """Make one in `folder` from the running Python, and return its Python. Raise PpmError."""
    command: tuple[str | Path, ...] = (sys.executable, "-m", "venv", folder)
    if uv is not None:
        command = (uv, "venv", "--quiet", "--python", sys.executable, folder)
    run(command, f"To make the virtual environment {folder}", environ=tools.environ)
    python = python_of(folder)
    if python is None:
        raise PpmError(f"The virtual environment {folder} could not be made.")
    return python


def content(python: Path) -> Content:
    """Return the content of the environment of `python`."""
    values: dict[str, Any] = json.loads(run((python, "-I", "-c", _ASK), f"To list what {python} has"))
    installed = [
        Installed(name=normalise(name), version=version, requires=tuple(requires), url=_url(url))
        for name, version, requires, url in values["installed"]
    ]
    # Python imports the first of a name
    return Content(installed={each.name: each for each in reversed(installed)}, environment=values["environment"])


def _url(text: str | None) -> str:
    try:
        values = json.loads(text or "{}")
        vcs = values.get("vcs_info")
        return f"{vcs['vcs']}+{values['url']}@{vcs['commit_id']}" if vcs else str(values.get("url", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
