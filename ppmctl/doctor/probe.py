"""A small release that an index is tried with: a wheel made in memory, of a project that no team has."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from ppmctl.client.upload import wheel_form
from ppmctl.distributions import small_wheel

# One project for all probes: what was in an index once keeps its folder there and the names of its files.
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
        """Return where an index has it."""
        return f"/packages/{PROJECT}/{self.filename}"

    @property
    def form(self) -> Any:
        """Return its upload as clients send it, a requests_toolbelt MultipartEncoder."""
        fields = {"metadata_version": "2.1", "name": PROJECT, "version": self.version}
        return wheel_form(self.filename, self.content, fields)


def make(version: str) -> Probe:
    """Return a wheel of that version, different each time it is made."""
    module = f'"""Made to try an index; it can go at any time."""\n\nMARK = "{secrets.token_hex(16)}"\n'.encode()
    metadata = (
        f"Metadata-Version: 2.1\nName: {PROJECT}\nVersion: {version}\n"
        "Summary: Made to try an index; it can go at any time\n"
    ).encode()
    members = small_wheel.members(f"{MODULE}-{version}.dist-info", metadata, {f"{MODULE}.py": module})
    return Probe(
        version=version,
        filename=f"{MODULE}-{version}-py3-none-any.whl",
        content=small_wheel.pack(members),
        metadata=metadata,
        module=module,
    )
