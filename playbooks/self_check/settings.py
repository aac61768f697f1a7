"""What the index is meant to be, as its inventory says, and how it is looked at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

# One project for all runs: what was in an index once keeps its folder there and the names of its files, so that they
# are never looked for elsewhere. The versions tell runs apart.
PROJECT = "ppm-self-check"
READER, PUBLISHER = "reader", "publisher"


@dataclass(frozen=True, kw_only=True)
class Credential:
    """A name and its secret, which no repr shows."""

    name: str
    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`tls` to `upstream_url`, `ppm_tls` and so on of the inventory. `scheme` is what clients use to reach it.

    `address`: where to connect, "" to ask the DNS. `authorities`: files in PEM of certificate authorities that count
    besides the system's. `served`: the certificates (PEM) that the host has for nginx, "" where they are not known.
    `python`: the program whose pip installs the probe.
    """

    domain: str
    tls: str
    scheme: str
    hsts_max_age: int
    read_access: str
    upstream: str
    upstream_url: str
    private_names: tuple[str, ...]
    address: str
    authorities: tuple[str, ...]
    served: str
    python: str
    version: str  # of the probe, unlike that of any other run

    @property
    def has_own_tls(self) -> bool:
        """Whether it is this host's nginx that speaks TLS, and not a proxy before it."""
        return self.tls != "none"

    @property
    def is_public(self) -> bool:
        return self.read_access == "public"


def is_private(name: str, patterns: Sequence[str]) -> bool:
    """Whether a normalised name is one of `ppm_private_names`."""
    return any(fnmatchcase(name, _normalised(pattern)) for pattern in patterns)


def example_of(pattern: str, nonce: str) -> str | None:
    """A name that a pattern of `ppm_private_names` covers and nobody has: None where the pattern leaves no room."""
    if "*" not in pattern:
        return None
    name = re.sub(r"\[(!?)(.)[^]]*\]", lambda match: "z" if match[1] else match[2], pattern)
    name = _normalised(name.replace("?", "x").replace("*", f"x{nonce}x")).strip("-")
    return name if is_private(name, [pattern]) else None


def _normalised(pattern: str) -> str:
    return re.sub(r"[-_.]+", "-", pattern).lower()
