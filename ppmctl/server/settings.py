"""The settings of a server: the table of them, and the values from flags, variables, `ROOT/ppm.yml` and defaults."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from ppmctl import regular_file, yaml_text
from ppmctl.distributions import name_glob
from ppmctl.distributions.environment_revision import environment_of
from ppmctl.errors import UsageError
from ppmctl.index.layout import Volume
from ppmctl.secret import masked
from ppmctl.server import addresses

_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_OTHER_VARIABLES = ("PPM_ROOT", "PPM_BOOT_ID")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting of a server: NAME in ppm.yml, PPM_NAME in the environment, --name as a flag."""

    name: str
    default: Any
    help: str
    parse: Callable[[Any], Any]
    metavar: str
    example: str = ""
    flag: str = ""
    many: bool = False

    @property
    def variable(self) -> str:
        return f"PPM_{self.name.upper()}"

    @property
    def option(self) -> str:
        return "--" + (self.flag or self.name).replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The settings of one server. `max_upload_size` is in bytes; `upstream_url` is None for the public index."""

    volume: Volume
    host: str
    port: int
    read_access: str
    upstream: str
    upstream_url: str | None
    private_names: tuple[str, ...]
    public_names: str = "admin"
    registration: str = "invite"
    max_upload_size: int
    threads: int

    @property
    def is_local(self) -> bool:
        """Return whether the server listens at a path (host: unix:PATH), for a web server in front of it."""
        return self.host.startswith("unix:")

    @property
    def public_reads(self) -> bool:
        return self.read_access == "public"

    def is_private(self, project: str) -> bool:
        """Return whether the public index is never asked for a project; names of environments are always private."""
        return any(fnmatchcase(project, glob) for glob in self.private_names) or environment_of(project) is not None


def parse_size(value: Any) -> int:
    """Return a size in bytes, from a number or a text such as 500M or 4 GiB. Raise ValueError."""
    match = _SIZE.fullmatch(str(value).strip())
    if match is None or int(match[1]) == 0:
        raise ValueError("it must be a size such as 500M or 4G")
    return int(match[1]) * _SIZES[match[2].upper()]


def _choice(value: Any, *, choices: Sequence[str]) -> str:
    if value not in choices:
        raise ValueError(f"it must be {' or '.join(choices)}")
    return str(value)


def _number(value: Any, *, low: int, high: int) -> int:
    if isinstance(value, bool) or not str(value).strip().isdecimal() or not low <= int(value) <= high:
        raise ValueError(f"it must be a whole number from {low} to {high}")
    return int(value)


def _names(value: Any) -> tuple[str, ...]:
    names = list(filter(None, re.split(r"[\s,]+", value))) if isinstance(value, str) else value
    if not isinstance(names, Sequence):
        raise ValueError("it must be a list of name patterns")
    for name in names:
        if reason := name_glob.problem(name) if isinstance(name, str) else "it is not a text":
            raise ValueError(f"{_shown(name)} is not a pattern of names such as acme-*: {reason}")
    return tuple(map(name_glob.normalise, names))


SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="host",
        default="127.0.0.1",
        parse=addresses.listen_address,
        metavar="ADDRESS",
        help="The address to listen on, or unix:PATH. 0.0.0.0 means all: put TLS in front of it first.",
    ),
    Setting(
        name="port",
        default=8080,
        parse=partial(_number, low=1, high=65535),
        metavar="PORT",
        help="The TCP port to listen on.",
    ),
    Setting(
        name="read_access",
        default="authenticated",
        parse=partial(_choice, choices=("authenticated", "public")),
        metavar="authenticated|public",
        help="Who may install: everybody with a credential, or everybody who reaches the server.",
    ),
    Setting(
        name="upstream",
        default="redirect",
        parse=partial(_choice, choices=("redirect", "none")),
        metavar="redirect|none",
        help="The answer for a project that the index does not have: a redirect to the public index, or 404."
        " With redirect, clients need only this index.",
    ),
    Setting(
        name="upstream_url",
        default=None,
        parse=addresses.index_url,
        metavar="URL",
        example="https://mirror.example/simple/",
        help="The Simple API to redirect to. By default the public index.",
    ),
    Setting(
        name="private_names",
        default=(),
        parse=_names,
        metavar="GLOB",
        example="[acme-*, billing]",
        flag="private_name",
        many=True,
        help="Names that are never redirected, not even before their first release."
        " Patterns with * ? [], compared with normalised names.",
    ),
    Setting(
        name="public_names",
        default="admin",
        parse=partial(_choice, choices=("admin", "allow", "deny")),
        metavar="admin|allow|deny",
        help="Who may upload the first file of one of the most used names of the public index: an admin, every"
        " publisher, or nobody. An admin can allow single names to every publisher: ppmctl package claim NAME.",
    ),
    Setting(
        name="registration",
        default="invite",
        parse=partial(_choice, choices=("invite", "open")),
        metavar="invite|open",
        help="Who gets an account on the web page /join: anyone with the code of an invite; or everyone, who may"
        " then read what a reader reads.",
    ),
    Setting(
        name="max_upload_size",
        default="4G",
        parse=parse_size,
        metavar="SIZE",
        help="The largest upload that is accepted, in bytes or as 500M, 4G.",
    ),
    Setting(
        name="threads",
        default=16,
        parse=partial(_number, low=2, high=512),
        metavar="N",
        help="The number of requests that are processed at the same time.",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Value:
    """The parsed value of a setting, and where it comes from. None is the default of a setting without one."""

    name: str
    value: Any
    origin: str


def server_settings(
    root: Path, *, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> ServerSettings:
    """Return the settings of the server of the volume at `root`.

    A flag overrides a variable (PPM_…), which overrides ppm.yml, which overrides the default. `flags` are by name;
    None and empty lists count as not given. Raise UsageError with the setting and the origin of its value.
    """
    values = {setting.name: setting.value for setting in values_of(root, flags=flags, environ=environ)}
    return ServerSettings(volume=Volume(root=root.absolute()), **values)


def values_of(
    root: Path, *, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Value, ...]:
    """Return each setting with its origin, as for `server_settings`."""
    environ = os.environ if environ is None else environ
    path = Volume(root=root.absolute()).settings
    written = _read_file(path)
    return tuple(_value(setting, (flags or {}).get(setting.name), environ, written, path) for setting in SETTINGS)


def _value(setting: Setting, given: Any, environ: Mapping[str, str], written: Mapping[str, Any], path: Path) -> Value:
    value, origin = setting.default, "its default"
    if given is not None and given != ():
        value, origin = given, setting.option
    elif environ.get(setting.variable):
        value, origin = environ[setting.variable], setting.variable
    elif written.get(setting.name) is not None:
        value, origin = written[setting.name], f"{setting.name} in {path}"
    elif value is None:
        return Value(name=setting.name, value=None, origin=origin)
    try:
        return Value(name=setting.name, value=setting.parse(value), origin=origin)
    except ValueError as exc:
        raise UsageError(f"{origin} is {_shown(value)}: {exc}.", hint="ppmctl serve --help") from None


def _shown(value: Any) -> str:
    """Return a value for a message, without the secret that it may have."""
    return repr(masked(value)) if isinstance(value, str) else masked(repr(value))


def unknown_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the unknown PPM_ variables, each with the most similar known one, or ""."""
    known = [setting.variable for setting in SETTINGS]
    unknown = sorted(name for name in environ if name.startswith("PPM_") and name not in (*known, *_OTHER_VARIABLES))
    return {name: next(iter(difflib.get_close_matches(name, known, n=1)), "") for name in unknown}


def settings_file() -> str:
    """Return the text of a new ppm.yml: every setting with its explanation and its default, commented out."""
    lines = ["# Settings of this index's server. A flag of `ppmctl serve` or a PPM_… variable overrides them.", ""]
    for setting in SETTINGS:
        lines += [f"# {setting.help}", f"#{setting.name}: {setting.example or setting.default}", ""]
    return "\n".join(lines)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        written = yaml_text.load(regular_file.read_text(path))
    except FileNotFoundError:
        return {}
    except yaml_text.InvalidYaml as exc:
        raise UsageError(exc.in_file(path)) from None  # its cause may quote a secret
    except OSError as exc:
        raise UsageError(f"{path} can't be read: {exc.strerror or exc}.") from exc
    except UnicodeError:
        raise UsageError(f"{path} can't be read: it is not UTF-8.") from None  # the cause quotes a part of it
    if written is None:
        return {}
    known = [setting.name for setting in SETTINGS]
    names = f"The names: {', '.join(known)}."
    if not isinstance(written, dict):
        raise UsageError(f"{path} must be a mapping of setting names to values.", hint=names)
    for name in written:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            raise UsageError(
                f"{path} has an unknown setting {_shown(name)}.",
                hint=f"Did you mean {near[0]!r}?" if near else names,
            )
    return written
