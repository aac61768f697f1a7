"""Make small distributions: real archives with real metadata."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EPOCH = (2026, 1, 1, 0, 0, 0)


def metadata(name: str, version: str, *, metadata_version: str = "2.1", **fields: str) -> bytes:
    """Return the text of a METADATA file; `requires_python=">=3.9"` becomes Requires-Python, and so on."""
    lines = [f"Metadata-Version: {metadata_version}", f"Name: {name}", f"Version: {version}"]
    for key, value in fields.items():
        lines.append(f"{'-'.join(part.capitalize() for part in key.split('_'))}: {value}")
    return ("\n".join(lines) + "\n\nMade by a test.\n").encode()


def wheel(
    name: str,
    version: str,
    *,
    tag: str = "py3-none-any",
    files: Mapping[str, bytes] | None = None,
    meta: bytes | None = None,
    **fields: str,
) -> tuple[str, bytes]:
    """Return a wheel as (filename, content). `files` are its modules; `meta` replaces its metadata."""
    distribution = name.replace("-", "_")
    info = f"{distribution}-{version}.dist-info"
    members = dict(files if files is not None else {f"{distribution.replace('.', '_')}.py": b"here = True\n"})
    members[f"{info}/METADATA"] = meta if meta is not None else metadata(name, version, **fields)
    members[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
    record = "".join(f"{path},sha256={_digest(content)},{len(content)}\n" for path, content in members.items())
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    return f"{distribution}-{version}-{tag}.whl", zip_of(members)


def sdist(name: str, version: str, *, meta: bytes | None = None, **fields: str) -> tuple[str, bytes]:
    """Return an sdist as (filename, content)."""
    top = f"{name.replace('-', '_')}-{version}"
    members = {f"{top}/PKG-INFO": meta if meta is not None else metadata(name, version, **fields)}
    return f"{top}.tar.gz", tar_of(members)


def zip_of(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in members.items():
            archive.writestr(zipfile.ZipInfo(path, EPOCH), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def tar_of(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in members.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)


def attestations(made: tuple[str, bytes], **changes: Any) -> str:
    """Return a list with an attestation of what `wheel` or `sdist` made, unsigned; `changes` are of its statement."""

    def encoded(content: bytes) -> str:
        return base64.b64encode(content).decode()

    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": made[0], "digest": {"sha256": hashlib.sha256(made[1]).hexdigest()}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": None,
    } | changes
    attestation = {
        "version": 1,
        "verification_material": {"certificate": encoded(b"DER"), "transparency_entries": [{"logIndex": "1"}]},
        "envelope": {"statement": encoded(json.dumps(statement).encode()), "signature": encoded(b"signature")},
    }
    return json.dumps([attestation])


def write(folder: Path, made: tuple[str, bytes]) -> Path:
    """Write what `wheel` or `sdist` made into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / made[0]
    path.write_bytes(made[1])
    return path


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
