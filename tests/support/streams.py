"""Distributions of any size, quickly made, for streams of uploads."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import zipfile
from dataclasses import dataclass

from support import wheels
from support.evidence import sha256


@dataclass(frozen=True, kw_only=True)
class Made:
    """A distribution that a test uploads."""

    project: str
    version: str
    filename: str
    content: bytes

    @property
    def sha256(self) -> str:
        return sha256(self.content)

    @property
    def file(self) -> tuple[str, bytes]:
        return self.filename, self.content


def some_size(chance: random.Random, *, largest: int = 3 << 20) -> int:
    """Return a size from 1 KB to `largest` bytes, with an even distribution of magnitudes."""
    return int(1024 * (largest / 1024) ** chance.random())


def dist(chance: random.Random, project: str, version: str, *, kind: str = "wheel", size: int = 1024) -> Made:
    """Make a wheel or an sdist with about `size` random bytes: no two are equal."""
    name = project.replace("-", "_")
    payload = chance.randbytes(size)
    if kind == "wheel":
        filename, content = wheels.wheel(project, version)
        buffer = io.BytesIO(content)
        with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
            archive.writestr(zipfile.ZipInfo(f"{name}/payload.bin", wheels.EPOCH), payload)
        return Made(project=project, version=version, filename=filename, content=buffer.getvalue())
    top = f"{name}-{version}"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, member in {"PKG-INFO": wheels.metadata(project, version), "payload.bin": payload}.items():
            info = tarfile.TarInfo(f"{top}/{path}")
            info.size = len(member)
            archive.addfile(info, io.BytesIO(member))
    content = gzip.compress(buffer.getvalue(), compresslevel=0, mtime=0)
    return Made(project=project, version=version, filename=f"{top}.tar.gz", content=content)
