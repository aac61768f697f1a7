"""The configuration of a client: which indexes it asks, in which order, and by which settings; and hints to
correct it. A client here is pip, uv or another program that installs or publishes.

A URL in a configuration may contain a secret: show it only by `masked`.
"""

from __future__ import annotations

import contextlib
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ppmctl import regular_file, user_dirs
from ppmctl.client import discovery, login_store
from ppmctl.client.netrc_file import entries
from ppmctl.client.simple_api import Index, parse_names
from ppmctl.client_config.toml_tables import lookup
from ppmctl.doctor.finding import Context, Finding, State
from ppmctl.doctor.index_url import is_same_index
from ppmctl.errors import PpmError
from ppmctl.secret import masked

# How a client asks the index. single: this index only. first: this one first, others for what it does not have.
# explicit: only for packages that are assigned to it. extra: together with others, which can win. none: not at all.
IndexUse = Literal["single", "first", "explicit", "extra", "none"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """An option `name` in `file`, or an environment variable if `file` is None. `undo` is how to remove it."""

    name: str
    value: str = field(repr=False)
    file: Path | None = None
    undo: str

    @property
    def place(self) -> str:
        return self.name if self.file is None else f"{self.name} in {self.file}"


@dataclass(frozen=True, kw_only=True)
class Source:
    """An index that a client asks, and the setting that names it: None for the client's default."""

    url: str = field(repr=False)
    setting: Setting | None
    is_ours: bool = False

    @property
    def shown(self) -> str:
        return f"{masked(self.url)} ({self.setting.place if self.setting else 'its default'})"


@dataclass(frozen=True, kw_only=True)
class Client:
    """A client that is installed. `settings` has for each option its settings: the first one wins.

    `sources` are the indexes that it asks, `use` is how it asks the one that is checked.
    """

    name: str
    command: tuple[str, ...]
    version: str
    python: str = ""
    settings: Mapping[str, Sequence[Setting]]
    sources: tuple[Source, ...]
    use: IndexUse

    def setting(self, name: str) -> Setting | None:
        """Return the setting of the option `name` that the client uses; None if it is not set."""
        return next(iter(self.settings.get(name, ())), None)

    @property
    def no_index(self) -> Setting | None:
        """Return the setting that keeps it from asking any index."""
        setting = self.setting("no-index")
        is_on = setting is not None and setting.value.strip().lower() in ("y", "yes", "t", "true", "on", "1")
        return setting if is_on else None

    @property
    def label(self) -> str:
        return f"{self.name} {self.version} ({shlex.join(self.command)})"

    @property
    def others(self) -> tuple[Source, ...]:
        return tuple(source for source in self.sources if not source.is_ours)

    def finding(self, state: State, predicate: str, hint: str = "", *, check: str = "") -> Finding:
        """Return a finding of the check `check`, by default the client's name; its message starts with the client."""
        return Finding(check or self.name, state, f"{self.label} {predicate}", hint)


def source_of(setting: Setting, context: Context, url: str = "") -> Source:
    """Return the index at `url`, by default the setting's whole value: one setting can name several indexes."""
    url = url or setting.value
    return Source(url=url, setting=setting, is_ours=is_same_index(url, context.address))


def variable(context: Context, name: str) -> Setting | None:
    """Return the setting of an environment variable, None if it is not set or empty."""
    value = context.environ.get(name, "")
    return Setting(name=name, value=value, undo=f"unset {name}") if value else None


def table_of(path: Path | None, *names: str) -> Mapping[str, Any]:
    """Return a table of a TOML file; {} if it does not exist or the file can't be read."""
    try:
        table = lookup(tomllib.loads(regular_file.read_text(path)), names) if path else {}
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}


def missing_file_predicate(setting: Setting, context: Context) -> str:
    """Return the predicate of a finding if a setting names a file that does not exist, else ""."""
    text = path = setting.value.strip()
    if text.startswith("~/") and (setting.file or setting.name.startswith("PIP_")):  # other clients do not expand ~
        path = f"{context.home}{text[1:]}"
    return "" if Path(context.cwd, path).exists() else f"has {setting.place} set to {text}, which does not exist"


def project_names(context: Context, index: Index) -> list[str]:
    """Return the normalised names of the index's projects; the list that was read before is used."""
    listed = context.listed
    if listed.status != 200:
        return index.names()
    return parse_names(listed.body, content_type=listed.content_type, url=listed.url)


def keyring_user(context: Context) -> str:
    """Return the user name of a login whose secret clients can find only in the keyring; else ""."""
    login = login_store.read(context.environ, context.home).at(context.address.base)
    if login is None or not login.keyring or login.netrc:
        return ""
    try:
        text = regular_file.read_text(user_dirs.netrc(context.environ, context.home))
    except (OSError, UnicodeError):
        return login.username
    return "" if any(entry.host in (context.address.host, "") for entry in entries(text)) else login.username


def configure_hint(client: str, context: Context, *, form: str = "") -> str:
    """Return the command to type so that a client asks the index."""
    return f"ppmctl client-config {client} --index {context.address.base}{f' --form {form}' if form else ''} --write"


def add_index_hint(client: Client, context: Context, *, form: str = "") -> str:
    """Return the commands to type so that a client asks the index; they unset variables that name others."""
    undo = [source.setting.undo for source in client.others if source.setting and source.setting.file is None]
    return "; ".join(dict.fromkeys([*undo, configure_hint(client.name, context, form=form)]))


def single_index_hint(client: str, context: Context) -> str:
    """Return what to do so that a client asks only this index."""
    command = configure_hint(client, context, form="single")
    document = None
    with contextlib.suppress(PpmError), context.connect(None) as transport:
        document = discovery.discover(context.address, transport)
    if document is not None and document.upstream != "redirect":
        return f"First set ppm_upstream: redirect on the index's machine, to redirect other names; then {command}"
    return command
