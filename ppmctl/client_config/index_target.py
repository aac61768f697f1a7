"""Configuration for the programs that use an index. Each module is pure: an index → the text to paste, the edits."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit

from ppmctl.client.index_url import Address
from ppmctl.errors import UsageError

# The only index; one beside the public one; one that is asked for the packages that are sent there alone.
Form = Literal["single", "extra", "explicit"]
Scope = Literal["user", "project", "venv"]

ALL = (
    *("pip", "uv", "poetry", "pdm", "hatch", "pipenv", "twine"),
    *("netrc", "env", "docker", "github", "gitlab"),
)
# What a client can do, the form for an index beside the public one last.
FORMS: Mapping[str, tuple[Form, ...]] = {
    "pip": ("single", "extra"),
    "uv": ("single", "extra", "explicit"),
    "poetry": ("single", "extra", "explicit"),
    "pdm": ("single", "extra", "explicit"),
    "hatch": ("single", "extra"),
    "pipenv": ("single", "explicit"),
    "env": ("single", "extra"),
    "docker": ("single", "extra"),
    "github": ("single", "extra"),
    "gitlab": ("single", "extra"),
}


@dataclass(frozen=True, kw_only=True)
class IndexTarget:
    """An index as a client is to know it: under `name`, in a `form`; `ca` is the file of the authorities to trust.

    `username` is whose configuration it is, where that is known; `in_keyring` if the system's keyring is where that
    user's secret is to be found. There is no secret in here, so none can get into a configuration.
    """

    name: str
    address: Address
    form: Form = "single"
    username: str | None = None
    in_keyring: bool = False
    ca: str | None = None

    @property
    def simple(self) -> str:
        """The URL for who reads, with the name in it where that is what a keyring is asked for."""
        if not self.in_keyring or self.username is None:
            return self.address.simple
        scheme, _, rest = self.address.simple.partition("://")
        return f"{scheme}://{quote(self.username, safe='')}@{rest}"

    @property
    def variable(self) -> str:
        """The name as it is a part of the names of variables."""
        return re.sub(r"[^A-Z0-9]", "_", self.name.upper())

    @property
    def untrusted(self) -> str | None:
        """The host and port that pip passes over unless it is told to trust them: plain HTTP, not this machine."""
        address = self.address
        return None if address.is_encrypted or address.is_loopback else urlsplit(address.base).netloc

    def publishing_secret(self, variables: str) -> str:
        """Say where a client that publishes finds the secret: in the keyring, or, in CI, in these `variables`."""
        if self.in_keyring:
            return "the secret is in the keyring, where `ppmctl login` put it"
        user = sh(self.username or "USER")
        return f"the secret: keyring set {sh(self.address.upload)} {user}; in CI {variables}"


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """What to paste, and what else there is to say about it, a paragraph a line of `says`."""

    text: str
    says: tuple[str, ...] = field(default=())


@dataclass(frozen=True, kw_only=True)
class Here:
    """The machine whose files are meant: what decides where a client looks for its own."""

    environ: Mapping[str, str]
    home: Path
    cwd: Path
    platform: str = "linux"  # as sys.platform has it

    def shown(self, path: Path) -> str:
        """A path as a person writes it: from the home folder, or in the current one."""
        if path.parent == self.cwd:
            return path.name
        return f"~/{path.relative_to(self.home).as_posix()}" if path.is_relative_to(self.home) else str(path)


def form_for(client: str, *, given: Form | None, passes_on: bool) -> Form:
    """The form for a client: the one that is given, or the safest one for an index that passes other names on or not.

    UsageError where the client can't do what is given. Who does not install has no choice.
    """
    forms = FORMS.get(client)
    if forms is None:
        return "single"
    if given is None:
        return "single" if passes_on else forms[-1]
    if given not in forms:
        raise UsageError(f"{client} has no {given} form.", hint=f"It can do: {', '.join(forms)}.")
    return given


def sh(words: str) -> str:
    """A text as one word of a shell's."""
    return shlex.quote(words)


def toml(value: str | bool) -> str:
    """A text as a TOML string, or a truth value."""
    if isinstance(value, bool):
        return str(value).lower()
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
