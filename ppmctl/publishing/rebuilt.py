"""Is a file that the index has under the same name the same release, built another time?

Builds write times into archives, so a release that broke off and is built again (by a CI job, in a new clone) has
other bytes and the same content. What the index has is then left as it is, and is what counts.
"""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import IO

from ppmctl import archives, dists, events
from ppmctl.download import Source
from ppmctl.errors import PpmError
from ppmctl.publishing.plans import Plan, Step

_LARGER = 1 << 20  # bytes; archives whose sizes differ by more are not of the same content
_EXECUTABLE = 0o111
_CHUNK = 1 << 20


def settle(plan: Plan, source: Source) -> Plan:
    """The plan, with each conflict that is one of time stamps alone as "same": `source` has the index's files."""
    if not plan.conflicts:
        return plan
    with tempfile.TemporaryDirectory(prefix="ppmctl-compare-") as folder:
        return Plan(steps=tuple(_settled(step, source, Path(folder)) for step in plan.steps))


def _settled(step: Step, source: Source, folder: Path) -> Step:
    listed = step.listed
    if step.state != "conflict" or listed is None or listed.sha256 is None:
        return step
    if listed.size is not None and abs(listed.size - step.file.size) > _LARGER:
        return step
    try:
        there = source.download(listed, folder).path
        dists.inspect(there, step.file.filename)
        if not same_content(step.file.path, there):
            return step
    except (PpmError, *archives.UNREADABLE):
        return step  # what can't be compared is a conflict
    events.note(
        f"{step.file.filename} was built again from the same content; the file that is in the index stays"
        f" (sha256 {listed.sha256})."
    )
    return replace(step, state="same")


def same_content(one: Path, other: Path) -> bool:
    """Whether two archives of one kind have the same members with the same content, whenever they were packed."""
    return _members(one) == _members(other)


def _members(path: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path, "r|gz") as tar:
            for item in tar:
                if not item.isdir():
                    content = tar.extractfile(item) if item.isfile() else None
                    digest = _digest(content) if content is not None else ""
                    found[item.name] = (item.type, item.linkname, bool(item.mode & _EXECUTABLE), digest)
        return found
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                with archive.open(info) as content:
                    found[info.filename] = (bool(info.external_attr >> 16 & _EXECUTABLE), _digest(content))
    return found


def _digest(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := content.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
