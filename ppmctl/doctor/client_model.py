"""What is known of a program that installs from indexes: which it asks, in which order, and where that is written.

A URL in a configuration may hold a secret: it is shown by `hidden` alone.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ppmctl import user_dirs
from ppmctl.client import discovery, login_store
from ppmctl.client.credential import SECRET_VARIABLES
from ppmctl.client.index_url import Address, base_url
from ppmctl.client.netrc_file import entries
from ppmctl.client.simple_api import Index, parse_names
from ppmctl.client_config.toml_tables import lookup
from ppmctl.doctor.finding import Finding, State, Visit
from ppmctl.errors import PpmError, UsageError

# How a program asks the visited index: as the only one; before others, which are not asked for what it has; for what
# is named to come from it; beside others, of which the highest version wins; or not at all.
Form = Literal["single", "first", "explicit", "extra", "none"]

PATIENCE = 30.0  # seconds for a program to say how it is configured
_USERINFO = re.compile(r"(?<=://)[^/@\s\"']+(?=@)")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A value as one place has it: an option `name` of `file`, or a variable of the environment where that is None.

    `undo` is what to type, or to do, for it to be there no more.
    """

    name: str
    value: str = field(repr=False)
    file: Path | None = None
    undo: str

    @property
    def is_true(self) -> bool:
        """As pip and uv read a switch."""
        return self.value.strip().lower() in ("y", "yes", "t", "true", "on", "1")

    @property
    def place(self) -> str:
        return self.name if self.file is None else f"{self.name} in {self.file}"


@dataclass(frozen=True, kw_only=True)
class Source:
    """An index that a program asks: its URL, and the setting that has it; None for what it asks if nothing is set."""

    url: str = field(repr=False)
    setting: Setting | None
    is_ours: bool = False

    @property
    def shown(self) -> str:
        return f"{hidden(self.url)} ({self.setting.place if self.setting else 'its default'})"


@dataclass(frozen=True, kw_only=True)
class Client:
    """A program that is installed, with all that it is told: for each option settings, of which the first is obeyed.

    `sources` are the indexes that it asks, `form` is how it asks the visited one.
    """

    name: str
    command: tuple[str, ...]
    version: str
    python: str = ""
    settings: Mapping[str, Sequence[Setting]]
    sources: tuple[Source, ...]
    form: Form

    def setting(self, name: str) -> Setting | None:
        """The one that is obeyed."""
        return next(iter(self.settings.get(name, ())), None)

    @property
    def called(self) -> str:
        return f"{self.name} {self.version} ({shlex.join(self.command)})"

    @property
    def others(self) -> tuple[Source, ...]:
        return tuple(source for source in self.sources if not source.is_ours)

    def finding(self, state: State, found: str, mend: str = "", *, check: str = "") -> Finding:
        """Return what was found of it, by a check of its own name or `check`; `found` begins with a verb."""
        return Finding(check or self.name, state, f"{self.called} {found}", mend)

    def unchecked(self, host: str, trusted: Setting) -> Finding:
        """Return that `trusted` keeps it from checking the index's certificate."""
        said = "whoever is in between can read the credential and change what is installed"
        return self.finding("fail", f"does not check who {host} is, because of {trusted.place}: {said}", trusted.undo)

    def switched_off(self) -> Iterator[Finding]:
        """Find that it asks no index at all."""
        off = self.setting("no-index")
        if off is not None and off.is_true:
            yield self.finding("fail", f"asks no index at all, because of {off.place}", off.undo)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a program did; `code` is None if it took too long."""

    code: int | None
    output: str


def hidden(text: str) -> str:
    """`text` with *** for whatever is before the @ of a URL in it."""
    return _USERINFO.sub("***", text)


def bare(url: str) -> str:
    """A URL without what is before its @."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", url)


def is_index(url: str, address: Address) -> bool:
    """Whether a client's URL is that of the index at `address`."""
    try:
        return base_url(bare(url), where="") == address.base
    except UsageError:
        return False


def source_of(setting: Setting, visit: Visit, url: str = "") -> Source:
    """Return the index that a setting has, or that which it has `url` of."""
    url = url or setting.value
    return Source(url=url, setting=setting, is_ours=is_index(url, visit.address))


def found(names: Sequence[str], environ: Mapping[str, str], *, without: Path | None = None) -> list[Path]:
    """The programs by one of these names on PATH, one a folder; one that is in several places is one.

    Those in the folder `without` are passed over.
    """
    programs: dict[Path, Path] = {}
    for folder in environ.get("PATH", "").split(os.pathsep):
        for name in names:
            path = Path(folder or ".", name)
            if path.parent != without and path.is_file() and os.access(path, os.X_OK):
                programs.setdefault(path.resolve(), path)
                break
    return list(programs.values())


def run(command: Sequence[str], visit: Visit, *, patience: float = PATIENCE, typed: str = "", **environ: str) -> Ran:
    """Run a program where the user is, with `typed` on its stdin and the user's environment; both its outputs."""
    kept = {name: value for name, value in visit.environ.items() if name not in SECRET_VARIABLES}
    try:
        done = subprocess.run(
            list(command),
            cwd=visit.cwd,
            env={**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONDONTWRITEBYTECODE": "1", **environ},
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Ran(code=None, output=f"no end after {patience:.0f} seconds")
    except OSError as exc:
        return Ran(code=-1, output=exc.strerror or str(exc))
    return Ran(code=done.returncode, output=done.stdout)


def last_line(ran: Ran) -> str:
    """What a program said at its end, in one printable line."""
    lines = [line.strip() for line in ran.output.splitlines() if line.strip()]
    said = hidden(lines[-1]) if lines else f"exit code {ran.code}"
    return "".join(letter for letter in said if letter.isprintable())[:300].rstrip(".")


def table_of(path: Path | None, *names: str) -> Mapping[str, Any]:
    """Return a table of a TOML file; an empty one where there is no such, or the file can't be read."""
    try:
        table = lookup(tomllib.loads(path.read_text(encoding="utf-8")), names) if path else {}
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}


def variable(environ: Mapping[str, str], name: str) -> Setting | None:
    """The setting that a variable of the environment is, if it is there and not empty."""
    value = environ.get(name, "")
    return Setting(name=name, value=value, undo=f"unset {name}") if value else None


def configure(client: str, visit: Visit, *, form: str = "") -> str:
    """The command that makes a client ask the visited index."""
    return f"ppmctl client-config {client} --index {visit.address.base}{f' --form {form}' if form else ''} --write"


def take_up(client: Client, visit: Visit, *, form: str = "") -> str:
    """What makes a client ask the visited index, also where variables have it ask others."""
    undone = [source.setting.undo for source in client.others if source.setting and source.setting.file is None]
    return "; ".join(dict.fromkeys([*undone, configure(client.name, visit, form=form)]))


def names(visit: Visit, index: Index) -> list[str]:
    """The normalised names of the projects that the visited index has; it is asked for the list once."""
    listed = visit.listed
    if listed.status != 200:
        return index.names()
    return parse_names(listed.body, content_type=listed.content_type, url=listed.url)


def make_single(client: str, visit: Visit) -> str:
    """What makes the visited index the only one that a client asks."""
    command = configure(client, visit, form="single")
    offer = None
    with contextlib.suppress(PpmError), visit.connect_as_nobody() as transport:
        offer = discovery.discover(visit.address, transport)
    if offer is not None and offer.upstream != "redirect":
        return f"On the index ppm_upstream: redirect, so that it passes other names on; then {command}"
    return command


def only_in_keyring(visit: Visit) -> str:
    """Who is logged in to the index with a secret that a client finds in the keyring alone; ""."""
    login = login_store.read(visit.environ, visit.home).at(visit.address.base)
    if login is None or not login.keyring or login.netrc:
        return ""
    try:
        text = user_dirs.netrc(visit.environ, visit.home).read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        return login.username
    return "" if any(entry.host in (visit.address.host, "") for entry in entries(text)) else login.username
