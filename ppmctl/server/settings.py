"""The settings of a server: the table of them, and the values from flags, variables, `ROOT/ppm.yml` and defaults."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ppmctl import regular_file, yaml_text
from ppmctl.access.audit_rotation import Limits
from ppmctl.distributions.environment_revision import environment_of
from ppmctl.errors import UsageError
from ppmctl.index.layout import Volume
from ppmctl.server.setting_table import SETTINGS, Setting, shown

_OTHER_VARIABLES = (
    *("PPM_ROOT", "PPM_BOOT_ID", "PPM_STOP_AFTER"),
    *("PPM_BACKUP_REPOSITORY", "PPM_BACKUP_PASSWORD_FILE", "PPM_BACKUP_SCRATCH", "PPM_WEBHOOKS"),
)
_OTHER_PARTS = ("webhooks",)  # of ppm.yml; see ppmctl.webhooks.config


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The settings of one server. Sizes are in bytes; `upstream_url` is None for the public index."""

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
    audit_max_size: int = Limits.size
    audit_keep_files: int = Limits.files
    audit_keep_days: int = Limits.days

    @property
    def audit_limits(self) -> Limits:
        return Limits(size=self.audit_max_size, files=self.audit_keep_files, days=self.audit_keep_days)

    metrics: str = "credential"
    certificate: Path | None = None
    backups: str = "none"
    storage: str | None = None
    storage_redirect: bool = False
    cache_max_size: int | None = None

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
        raise UsageError(f"{origin} is {shown(value)}: {exc}.", hint="ppmctl serve --help") from None


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
    known = [*(setting.name for setting in SETTINGS), *_OTHER_PARTS]
    names = f"The names: {', '.join(known)}."
    if not isinstance(written, dict):
        raise UsageError(f"{path} must be a mapping of setting names to values.", hint=names)
    for name in written:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            raise UsageError(
                f"{path} has an unknown setting {shown(name)}.",
                hint=f"Did you mean {near[0]!r}?" if near else names,
            )
    return written
