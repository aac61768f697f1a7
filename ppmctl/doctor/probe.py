"""A small release that is published to check an index: a wheel made in memory, of a project that no team has."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from ppmctl.distributions import small_wheel

# one project for all probes, because an index keeps a project's folder and the names of its files for good
PROJECT = "ppm-self-check"
MODULE = PROJECT.replace("-", "_")


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A wheel, the METADATA in it, and the text of its one module."""

    version: str
    filename: str
    content: bytes
    metadata: bytes
    module: bytes

    @property
    def sha256(self) -> str:
        """Return the hash of the wheel."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def path(self) -> str:
        """Return the path of its URL."""
        return f"/packages/{PROJECT}/{self.filename}"


def make(version: str) -> Probe:
    """Return a wheel of that version, with other content each time."""
    summary = "Made to check an index; it can be removed at any time"
    module = f'"""{summary}."""\n\nMARK = "{secrets.token_hex(16)}"\n'.encode()
    metadata = f"Metadata-Version: 2.1\nName: {PROJECT}\nVersion: {version}\nSummary: {summary}\n".encode()
    members = small_wheel.members(f"{MODULE}-{version}.dist-info", metadata, {f"{MODULE}.py": module})
    return Probe(
        version=version,
        filename=f"{MODULE}-{version}-py3-none-any.whl",
        content=small_wheel.pack(members),
        metadata=metadata,
        module=module,
    )
