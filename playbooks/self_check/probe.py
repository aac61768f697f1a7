"""The release that is published, installed and removed again: a wheel made in memory."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import secrets
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime

from self_check.settings import PROJECT

MODULE = PROJECT.replace("-", "_")
_EPOCH = (2020, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A wheel, the METADATA in it, and the text that its one module consists of."""

    version: str
    filename: str
    content: bytes
    metadata: bytes
    module: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def path(self) -> str:
        return f"/packages/{PROJECT}/{self.filename}"


def version_at(now: datetime) -> str:
    """A version that no other run has, and that says when it was made (UTC)."""
    return f"{int(f'{now:%Y%m%d}')}.{int(f'{now:%H%M%S}')}.{secrets.randbelow(10**6)}"


def made_at(version: str) -> datetime | None:
    """When the probe of that version was made; None where it is none."""
    match = re.fullmatch(r"(\d{8})\.(\d{1,6})\.\d+(?:\.post1)?", version)
    return datetime.strptime(f"{match[1]}{match[2]:0>6}", "%Y%m%d%H%M%S").replace(tzinfo=UTC) if match else None


def make(version: str) -> Probe:
    """A wheel of that version, different each time it is made."""
    module = f'"""Made by ppm\'s self-check; it can go at any time."""\n\nMARK = "{secrets.token_hex(16)}"\n'.encode()
    info = f"{MODULE}-{version}.dist-info"
    metadata = (
        f"Metadata-Version: 2.1\nName: {PROJECT}\nVersion: {version}\n"
        "Summary: Made by ppm's self-check; it can go at any time\n"
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
            archive.writestr(zipfile.ZipInfo(path, _EPOCH), data)
    return Probe(
        version=version,
        filename=f"{MODULE}-{version}-py3-none-any.whl",
        content=packed.getvalue(),
        metadata=metadata,
        module=module,
    )


def form(probe: Probe) -> tuple[dict[str, str], bytes]:
    """The headers and the body of its upload, in the form that twine and uv send."""
    fields = {
        ":action": "file_upload",
        "protocol_version": "1",
        "metadata_version": "2.1",
        "name": PROJECT,
        "version": probe.version,
        "filetype": "bdist_wheel",
        "pyversion": "py3",
        "sha256_digest": probe.sha256,
    }
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="content"; filename="{probe.filename}"\r\n'
    parts += [f"{head}Content-Type: application/octet-stream\r\n\r\n".encode(), probe.content, b"\r\n"]
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, body


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
