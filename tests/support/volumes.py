"""Volumes with many files, quickly made: packages/ is written as the store writes it."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from ppmctl.access import accounts, htpasswd
from ppmctl.distributions import distribution
from ppmctl.index.layout import METADATA, RECORD, Volume
from ppmctl.index.project_folder import Record, now
from ppmctl.index.store import Store
from support import wheels

FILES_EACH = 10
_LINKS = 30_000  # of one file; ext4 allows 65,000


def project(number: int) -> str:
    return f"filler-{number:05}"


def filename(number: int, minor: int) -> str:
    return f"{project(number).replace('-', '_')}-1.{minor}-py3-none-any.whl"


def fill(root: Path, *, projects: int) -> Volume:
    """Make a volume of `projects` projects with FILES_EACH files each: `filler-00000` and so on. It has no pages.

    Each file has its own record, with the right size and hashes. All files are hard links to one wheel.
    """
    volume = Volume(root=root)
    volume.prepare()
    made = wheels.wheel("filler", "1.0", requires_python=">=3.9")[1]
    metadata = wheels.metadata("filler", "1.0", requires_python=">=3.9")
    sha256, core_metadata, upload_time = (
        hashlib.sha256(made).hexdigest(),
        hashlib.sha256(metadata).hexdigest(),
        now(),
    )
    content, beside = root / "filler.whl", root / "filler.metadata"
    for number in range(projects):
        if number % (_LINKS // FILES_EACH) == 0:
            for path, written in ((content, made), (beside, metadata)):
                path.unlink(missing_ok=True)
                path.write_bytes(written)
        folder = str(volume.project(project(number)))
        Path(folder).mkdir()
        for minor in range(FILES_EACH):
            path = f"{folder}/{filename(number, minor)}"
            record = Record(
                version=f"1.{minor}",
                size=len(made),
                sha256=sha256,
                upload_time=upload_time,
                uploaded_by="admin",
                requires_python=">=3.9",
                core_metadata=core_metadata,
            )
            with open(path + RECORD, "xb") as file:
                file.write(record.to_json())
            os.link(beside, path + METADATA)
            os.link(content, path)
    content.unlink()
    beside.unlink()
    return volume


def put(store: Store, made: tuple[str, bytes]) -> str:
    """Publish what `wheels.wheel` or `wheels.sdist` made, without a server, and return its filename."""
    filename, content = made
    with store.area.new_file() as received:
        received.write(content)
        received.finish()
        store.put(received, distribution.inspect(received.path, filename), by="alice")
    return filename


def reachable(folder: Path) -> None:
    """Give other users access to `folder`."""
    for parent in [folder, *folder.parents][:-1]:
        if not parent.stat().st_mode & stat.S_IXOTH:
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH)


def crowd(root: Path, count: int) -> None:
    """Add `count` users to a volume: `crowd-00000` and so on, all with one unknown secret."""
    volume = Volume(root=root)
    volume.credentials.mkdir(mode=0o750, exist_ok=True)
    stored = htpasswd.hash_of(htpasswd.new_secret())
    present = len(volume.htpasswd.read_text().splitlines()) if volume.htpasswd.exists() else 0
    names = [f"crowd-{number:05}" for number in range(present, present + count)]
    with volume.access.open("a") as entries, volume.htpasswd.open("a") as lines:
        entries.writelines(f'"{name}": {{"role": "reader", "created": ""}}\n' for name in names)
        lines.writelines(f"{name}:{stored}\n" for name in names)
    accounts.prune(volume)
