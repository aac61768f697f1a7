"""Build a small wheel for every platform, in memory: the same bytes for the same members."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping

_WHEEL = b"Wheel-Version: 1.0\nGenerator: ppmctl\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip archive can have


def members(info: str, metadata: bytes, others: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the content of each member by its name: the files of `info`, the .dist-info folder, and `others`."""
    named = {f"{info}/METADATA": metadata, f"{info}/WHEEL": _WHEEL, **others}
    record = "".join(f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in named.items())
    return named | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}


def pack(contents: Mapping[str, bytes]) -> bytes:
    """Return the archive with these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            member = zipfile.ZipInfo(name, _EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3
            member.external_attr = 0o100644 << 16
            archive.writestr(member, content)
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
