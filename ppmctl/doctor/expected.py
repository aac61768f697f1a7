"""The configuration that an index should have, from the inventory of its host: `ppmctl doctor --expect`."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import get_args

from ppmctl.distributions.distribution import normalise
from ppmctl.errors import UsageError
from ppmctl.index.discovery import ReadAccess, Upstream

_CHOICES = {
    "tls": ("letsencrypt", "provided", "selfsigned", "none"),
    "read_access": get_args(ReadAccess),
    "upstream": get_args(Upstream),
}
SITE = "Run site.yml again to repair it; with --check --diff it first shows what differs."


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Variables of the inventory without their prefix ppm_ (roles/*/README.md), and how to check them.

    `certificate` is the one in the host's files, PEM, "" if unknown. `address` replaces what the DNS has, unless it
    is "". `publish` is the version of the probe to publish, "" for none; `python` has the pip that installs it, ""
    for ppmctl's own. `removed` are versions that were removed: then nothing else is checked.
    """

    tls: str
    read_access: str
    upstream: str
    upstream_url: str = ""
    private_names: tuple[str, ...] = ()
    hsts_max_age: int = 0
    certificate: str = ""
    address: str = ""
    publish: str = ""
    python: str = ""
    removed: tuple[str, ...] = ()

    @property
    def has_own_tls(self) -> bool:
        """Return whether the host's own nginx speaks TLS, and not a proxy in front of it."""
        return self.tls != "none"

    @property
    def is_public(self) -> bool:
        """Return whether reading needs no credential."""
        return self.read_access == "public"

    def is_private(self, name: str) -> bool:
        """Return whether the index never looks for a normalised name on another index."""
        return any(fnmatchcase(name, normalise(glob)) for glob in self.private_names)

    def free_name(self) -> str:
        """Return a name that no project has, and that is not private if there is one."""
        names = [f"{start}{secrets.token_hex(8)}" for start in "abcdefghijklmnopqrstuvwxyz"]
        return next((name for name in names if not self.is_private(name)), names[0])

    def private_examples(self) -> dict[str, str]:
        """Return for each glob of private names that has a * a matching name that no project has."""
        examples = {}
        for glob in self.private_names:
            name = re.sub(r"\[(!?)(.)[^]]*\]", lambda match: "z" if match[1] else match[2], glob)
            name = normalise(name.replace("?", "x").replace("*", f"x{secrets.token_hex(4)}x")).strip("-")
            if "*" in glob and self.is_private(name):
                examples[glob] = name
        return examples


def parse(text: str) -> Expected:
    """Return the configuration in a JSON object; UsageError if it has other keys or values."""
    try:
        values = json.loads(text)
        values |= {name: tuple(map(str, values.get(name, ()))) for name in ("private_names", "removed")}
        values["hsts_max_age"] = int(values.get("hsts_max_age", 0))
        expected = Expected(**values)
    except (ValueError, TypeError, AttributeError) as exc:
        known = ", ".join(field.name for field in fields(Expected))
        raise UsageError(f"--expect is not a JSON object with the expected keys: {exc}.", hint=known) from exc
    for name, choices in _CHOICES.items():
        if getattr(expected, name) not in choices:
            raise UsageError(f"{name} is {getattr(expected, name)!r}: it must be {' or '.join(choices)}.")
    return expected
