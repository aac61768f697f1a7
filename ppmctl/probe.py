"""A small release that an index is tried with: a wheel made in memory, of a project that no team has."""

from __future__ import annotations

import base64
import hashlib
import io
import secrets
import zipfile
from dataclasses import dataclass
from typing import Any

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
        from ppmctl.publishing.upload import wheel_form

        fields = {"metadata_version": "2.1", "name": PROJECT, "version": self.version}
        return wheel_form(self.filename, self.content, fields)


def make(version: str) -> Probe:
    """Return a wheel of that version, different each time it is made."""
    module = f'"""Made to try an index; it can go at any time."""\n\nMARK = "{secrets.token_hex(16)}"\n'.encode()
    info = f"{MODULE}-{version}.dist-info"
    metadata = (
        f"Metadata-Version: 2.1\nName: {PROJECT}\nVersion: {version}\n"
        "Summary: Made to try an index; it can go at any time\n"
    ).encode()
    members = {
        f"{MODULE}.py": module,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: ppm\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in members.items())
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, data in members.items():
            archive.writestr(path, data)
    return Probe(
        version=version,
        filename=f"{MODULE}-{version}-py3-none-any.whl",
        content=packed.getvalue(),
        metadata=metadata,
        module=module,
    )


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
