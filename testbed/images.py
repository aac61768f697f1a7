"""Build the images of testbed/images/; their tags are hashes of everything that goes into them."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

from testbed import debian, machine
from testbed.engine import Engine, Missing, Refusal, Unbuildable
from testbed.errors import BedError
from testbed.place import PACKAGE

PREFIX = "ppm-testbed"


def image(engine: Engine, name: str, release: int) -> str:
    """Return the tag of image `name` (a folder of testbed/images/) on Debian `release`; build it if it is missing.

    The caller holds `lease.turn`.
    """
    base = debian.base(engine, release)
    context = _context(PACKAGE / "images" / name)
    digest = hashlib.sha256(f"{base} {release}".encode() + context).hexdigest()[:12]
    repository = f"{PREFIX}-{name}-{release}"
    tag = f"{repository}:{digest}"
    try:
        engine.api.images.get(tag)
    except Missing:
        _build(engine, tag, release, context)
        _remove_other_tags(engine, repository, tag)
    return tag


def _context(folder: Path) -> bytes:
    """Return the build context of `folder` as a tar archive; the same content gives the same bytes."""
    from_folder = [
        machine.File(path=str(path.relative_to(folder)), content=path.read_bytes(), mode=path.stat().st_mode & 0o755)
        for path in folder.rglob("*")
        if path.is_file()
    ]
    from_machine = [
        machine.File(path=f"machine/{file.path}", content=file.content, mode=file.mode) for file in machine.files()
    ]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as tar:
        empty = tarfile.TarInfo("machine")
        empty.type, empty.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(empty)
        for file in sorted(from_folder + from_machine):
            member = tarfile.TarInfo(file.path)
            member.size, member.mode = len(file.content), file.mode
            tar.addfile(member, io.BytesIO(file.content))
    return archive.getvalue()


def _build(engine: Engine, tag: str, release: int, context: bytes) -> None:
    try:
        engine.api.images.build(
            fileobj=io.BytesIO(context),
            custom_context=True,
            tag=tag,
            buildargs={"RELEASE": str(release)},
            rm=True,
            forcerm=True,
            labels={PREFIX: ""},
        )
    except Unbuildable as exc:
        log = "".join(str(line.get("stream", line.get("error", ""))) for line in exc.build_log)
        raise BedError(f"The image {tag} can't be built", hint=log[-3000:]) from exc


def _remove_other_tags(engine: Engine, repository: str, tag: str) -> None:
    """Remove the images of earlier definitions; one that is in use stays until the next time."""
    for old in engine.api.images.list(name=repository):
        for other in old.tags:
            if other != tag:
                try:
                    engine.api.images.remove(other)
                except Refusal:
                    continue
