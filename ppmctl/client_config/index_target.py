"""The clients that can be set up, and the index as they have to know it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit

from ppmctl import user_dirs
from ppmctl.client.index_url import Address
from ppmctl.errors import UsageError

# The only index; one in addition to the public one; one that is asked only for the packages that name it.
Form = Literal["single", "extra", "explicit"]
Scope = Literal["user", "project", "venv"]

DEFAULT_NAME = "internal"  # what clients call an index
sh = shlex.quote


@dataclass(frozen=True, kw_only=True)
class Client:
    """A program or service that can be set up.

    `forms`: those it supports, the one for an index in addition to the public one last; none if it installs nothing.
    `scopes`: those for which it has a file, the default first. `is_writable`: whether that file can be edited.
    `overrides`: variables that win over the file.
    """

    forms: tuple[Form, ...] = ()
    scopes: tuple[Scope, ...] = ()
    is_writable: bool = False
    overrides: tuple[str, ...] = ()


CLIENTS: Mapping[str, Client] = {
    "pip": Client(
        forms=("single", "extra"),
        scopes=("user", "venv"),
        is_writable=True,
        overrides=("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"),
    ),
    "uv": Client(
        forms=("single", "extra", "explicit"),
        scopes=("user", "project"),
        is_writable=True,
        overrides=("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"),
    ),
    "poetry": Client(forms=("single", "extra", "explicit"), scopes=("project",), is_writable=True),
    "pdm": Client(forms=("single", "extra", "explicit"), scopes=("project",)),
    "hatch": Client(forms=("single", "extra"), scopes=("user",)),
    "pipenv": Client(forms=("single", "explicit"), scopes=("project",)),
    "twine": Client(scopes=("user",), is_writable=True, overrides=("TWINE_REPOSITORY", "TWINE_REPOSITORY_URL")),
    "netrc": Client(scopes=("user",), is_writable=True),
    "env": Client(forms=("single", "extra")),
    "docker": Client(forms=("single", "extra")),
    "github": Client(forms=("single", "extra")),
    "gitlab": Client(forms=("single", "extra")),
}
WRITABLE = tuple(name for name, client in CLIENTS.items() if client.is_writable)


@dataclass(frozen=True, kw_only=True)
class IndexTarget:
    """An index as a client has to know it. It holds no secret, so none can get into a configuration.

    `name`: what the client calls it. `username`: the user's name there, if known. `in_keyring`: whether the system's
    keyring has that user's secret. `ca`: the file with the certificate authorities to trust.
    """

    name: str
    address: Address
    form: Form = "single"
    username: str | None = None
    in_keyring: bool = False
    ca: str | None = None

    @property
    def simple(self) -> str:
        """Return the URL for installing, with the user's name in it if a keyring is asked for that name."""
        if not self.in_keyring or self.username is None:
            return self.address.simple
        scheme, _, rest = self.address.simple.partition("://")
        return f"{scheme}://{quote(self.username, safe='')}@{rest}"

    @property
    def variable(self) -> str:
        """Return the name in the form that it has in names of variables."""
        return re.sub(r"[^A-Z0-9]", "_", self.name.upper())

    @property
    def untrusted(self) -> str | None:
        """Return the host and port that pip has to be told to trust: plain HTTP to another machine."""
        address = self.address
        return None if address.is_encrypted or address.is_loopback else urlsplit(address.base).netloc

    @property
    def netrc_login(self) -> str:
        """Return the command that stores the credential in netrc."""
        return f"ppmctl login {self.address.base} --netrc"

    def publishing_secret(self, variables: str) -> str:
        """Return where a client that publishes finds the secret: in the keyring, or, in CI, in these `variables`."""
        if self.in_keyring:
            return "the secret is in the keyring, stored by `ppmctl login`"
        user = sh(self.username or "USER")
        return f"the secret: keyring set {sh(self.address.upload)} {user}; in CI {variables}"


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """A text to paste, and notes about it, each a paragraph."""

    text: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What decides where a client looks for its own file."""

    environ: Mapping[str, str]
    home: Path
    cwd: Path
    platform: str = "linux"  # in the form of sys.platform

    @property
    def config(self) -> Path:
        """Return the user's configuration folder."""
        return user_dirs.config(self.environ, self.home)

    def shown(self, path: Path) -> str:
        """Return a path as a person writes it: relative to the current folder, or from the home folder."""
        if path.parent == self.cwd:
            return path.name
        return f"~/{path.relative_to(self.home).as_posix()}" if path.is_relative_to(self.home) else str(path)


def form_for(client: str, *, given: Form | None, redirects: bool) -> Form:
    """Return the given form, or the safest one for an index that redirects other names to the public one, or doesn't.

    Raise UsageError where the client doesn't support the given form. A client that installs nothing has no choice.
    """
    forms = CLIENTS[client].forms
    if given is None or not forms:
        return "single" if redirects or not forms else forms[-1]
    if given not in forms:
        raise UsageError(f"{client} has no {given} form.", hint=f"It supports: {', '.join(forms)}.")
    return given


def toml(value: str | bool) -> str:
    """Return a TOML string or boolean."""
    if isinstance(value, bool):
        return str(value).lower()
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
