"""The table of a server's settings: names, defaults, explanations, and how a value is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ppmctl.distributions import name_glob
from ppmctl.secret import masked
from ppmctl.server import addresses

_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


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
    has_flag: bool = True

    @property
    def variable(self) -> str:
        return f"PPM_{self.name.upper()}"

    @property
    def option(self) -> str:
        return "--" + (self.flag or self.name).replace("_", "-")


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


def _switch(value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in ("true", "false"):
        raise ValueError("it must be true or false")
    return text == "true"


def _number(value: Any, *, low: int, high: int) -> int:
    if isinstance(value, bool) or not str(value).strip().isdecimal() or not low <= int(value) <= high:
        raise ValueError(f"it must be a whole number from {low} to {high}")
    return int(value)


def _path(value: Any) -> Path:
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError("it must be a path that begins with /")
    return Path(value)


def _names(value: Any) -> tuple[str, ...]:
    names = list(filter(None, re.split(r"[\s,]+", value))) if isinstance(value, str) else value
    if not isinstance(names, Sequence):
        raise ValueError("it must be a list of name patterns")
    for name in names:
        if reason := name_glob.problem(name) if isinstance(name, str) else "it is not a text":
            raise ValueError(f"{shown(name)} is not a pattern of names such as acme-*: {reason}")
    return tuple(map(name_glob.normalise, names))


def shown(value: Any) -> str:
    """Return a value for a message, without the secret that it may have."""
    return repr(masked(value)) if isinstance(value, str) else masked(repr(value))


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
    Setting(
        name="audit_max_size",
        default="50M",
        parse=parse_size,
        metavar="SIZE",
        help="The size at which audit.jsonl is rotated, or after 90 days.",
    ),
    Setting(
        name="audit_keep_files",
        default=20,
        parse=partial(_number, low=1, high=10_000),
        metavar="N",
        help="The number of rotated files of the audit that stay; the oldest are removed.",
    ),
    Setting(
        name="audit_keep_days",
        default=730,
        parse=partial(_number, low=1, high=36_500),
        metavar="DAYS",
        help="The number of days that a rotated file of the audit stays.",
    ),
    Setting(
        name="metrics",
        default="credential",
        parse=partial(_choice, choices=("credential", "loopback")),
        metavar="credential|loopback",
        help="Who may read /metrics: an admin, and a token with the role monitor; or also everyone on this machine.",
    ),
    Setting(
        name="certificate",
        default=None,
        parse=_path,
        metavar="PATH",
        example="/run/ppm/certificate.pem",
        help="A copy of the certificate that the web server in front sends, for its end in /metrics.",
    ),
    Setting(
        name="backups",
        default="none",
        parse=partial(_choice, choices=("none", "expected")),
        metavar="none|expected",
        help="Whether backups are made: then it is an error, in health and for monitoring, if there never was one.",
    ),
    Setting(
        name="storage",
        default=None,
        parse=addresses.bucket,
        metavar="ADDRESS",
        example="s3://bucket/prefix",
        has_flag=False,  # commands on the volume need it too
        help="The bucket that has all files (s3://, gs:// or az://). The volume is then a cache of it, and any number"
        " of servers can use the bucket.",
    ),
    Setting(
        name="storage_redirect",
        default="false",
        parse=_switch,
        metavar="true|false",
        help="Whether clients get large files that are not on the volume straight from the bucket, by a URL that"
        " works for 5 minutes.",
    ),
    Setting(
        name="cache_max_size",
        default=None,
        parse=parse_size,
        metavar="SIZE",
        example="100G",
        help="The size of the bucket's files that stay on the volume; those that were read longest ago are removed."
        " By default a tenth of the disk stays free, or 20 GiB of a large one.",
    ),
)
