"""Pack the application of this checkout as a release: an archive that is named by its content."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: release
short_description: the release of this checkout
description: Packs the files that pip needs to install ppmctl. The same content gives the same archive and id.
"""

CHECKOUT = Path(__file__).resolve().parents[2]
_MTIME = 631152000  # 1990: constant, and late enough for a wheel
_FILES = ("pyproject.toml", "README.md", "LICENSE")


class LookupModule(LookupBase):
    """Returns a dictionary: id, version, and the paths of the archive and the lock on the controlling machine."""

    def run(self, terms: Any, variables: Any = None, **kwargs: Any) -> list[dict[str, str]]:
        try:
            return [release(CHECKOUT)]
        except OSError as exc:
            raise AnsibleError(f"This checkout of ppm is not complete: {exc}") from exc


def release(checkout: Path) -> dict[str, str]:
    """Pack the application of a checkout into the user's cache, and return it as the lookup does."""
    content = {name: (checkout / name).read_bytes() for name in _FILES}
    for path in sorted((checkout / "ppmctl").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            content[path.relative_to(checkout).as_posix()] = path.read_bytes()
    lock = (checkout / "locks" / "server.txt").read_bytes()
    digest = hashlib.sha256()
    for name, data in [*content.items(), ("lock", lock)]:
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    match = re.search(rb'^__version__ = "([^"]+)"', content["ppmctl/__init__.py"], re.MULTILINE)
    if match is None:
        raise AnsibleError("ppmctl/__init__.py has no version.")
    version = match[1].decode()
    name = f"{version}-{digest.hexdigest()[:12]}"
    archive = _cache() / f"ppmctl-{name}.tar.gz"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        _write(archive, f"ppmctl-{version}", content)
    return {"id": name, "version": version, "archive": str(archive), "lock": str(checkout / "locks" / "server.txt")}


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ppm" / "releases"


def _write(archive: Path, top: str, content: dict[str, bytes]) -> None:
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, data in content.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(data)
            member.mode = 0o644
            member.mtime = _MTIME
            tar.addfile(member, io.BytesIO(data))
    with tempfile.NamedTemporaryFile(dir=archive.parent, delete=False) as temporary:
        temporary.write(packed.getvalue())
    Path(temporary.name).replace(archive)
