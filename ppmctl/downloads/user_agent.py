"""Find out from a User-Agent which client sent a request, with which Python, and whether in CI.

A client can send anything, so only known names and the first two numbers of a version are taken.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_LONGEST = 4_096  # characters that are looked at: pip sends 600

# Programs that copy an index or its files for others, which then install them without asking this index.
MIRRORS = frozenset({"artifactory", "bandersnatch", "devpi", "minirepo", "nexus", "proxpi", "pulp"})
OTHER = "other"
# the name at the beginning of a User-Agent, in lower case, and the name that is counted
_NAMES = {
    "artifactory": "artifactory",
    "bandersnatch": "bandersnatch",
    "conda": "conda",
    "curl": "curl",
    "devpi": "devpi",
    "devpi-server": "devpi",
    "distribute": "setuptools",
    "flit": "flit",
    "hatch": "hatch",
    "micromamba": "conda",
    "minirepo": "minirepo",
    "nexus": "nexus",
    "pdm": "pdm",
    "pex": "pex",
    "pip": "pip",
    "pipenv": "pipenv",
    "pixi": "conda",
    "poetry": "poetry",
    "ppmctl": "ppmctl",
    "proxpi": "proxpi",
    "pulp": "pulp",
    "pulpcore": "pulp",
    "python-requests": "requests",
    "renovate": "renovate",
    "renovatebot": "renovate",
    "rye": "rye",
    "setuptools": "setuptools",
    "twine": "twine",
    "unearth": "pdm",
    "uv": "uv",
    "wget": "wget",
}
_BROWSER = "browser"
NAMES = frozenset({*_NAMES.values(), _BROWSER, OTHER})

_PRODUCT = re.compile(r"([A-Za-z][A-Za-z_-]{0,30})(?:/([^\s]{1,40}))?")
_VERSION = re.compile(r"v?([0-9]{1,4}(?:\.[0-9]{1,4})?)(?![0-9])", re.ASCII)
_PYTHON = re.compile(r"(?:CPython|PyPy|[Pp]ython(?:-urllib)?)/([23]\.[0-9]{1,2})", re.ASCII)
_SETUPTOOLS = re.compile(r"\b(?:setuptools|distribute)/([0-9.]+)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Client:
    """A kind of client: its name (of NAMES), its version and Python's as major.minor or "", and whether in CI."""

    name: str
    version: str = ""
    python: str = ""
    is_ci: bool = False

    @property
    def is_mirror(self) -> bool:
        return self.name in MIRRORS


def parse(agent: str) -> Client:
    """Return the client that sends this User-Agent. A client that is not known is `OTHER`, without versions."""
    agent = agent[:_LONGEST].strip()
    if agent.startswith("Mozilla/"):
        return Client(name=_BROWSER)
    product = _PRODUCT.match(agent)
    name = _NAMES.get(product[1].lower()) if product else None
    if product is None or name is None:
        setuptools = _SETUPTOOLS.search(agent)  # "Python-urllib/3.11 setuptools/68.1"
        if setuptools is None:
            return Client(name=OTHER)
        return Client(name="setuptools", version=_version(setuptools[1]), python=_python(agent))
    version = _version(product[2] or "")
    details = _details(agent)
    if details:
        python, is_ci = details.get("python"), details.get("ci") is True
        return Client(name=name, version=version, python=_python(f"Python/{python}"), is_ci=is_ci)
    return Client(name=name, version=version, python=_python(agent))


def _details(agent: str) -> dict[str, Any]:
    """Return the JSON object that pip, uv, pdm and hatch send after their name; {} without one."""
    start = agent.find("{")
    if start < 0:
        return {}
    try:
        values, _end = json.JSONDecoder().raw_decode(agent, start)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _version(text: str) -> str:
    match = _VERSION.match(text)
    return match[1] if match else ""


def _python(agent: str) -> str:
    match = _PYTHON.search(agent)
    return match[1] if match else ""
