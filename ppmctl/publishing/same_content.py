"""Recognise a file that was built again from the same content as the file in the index.

Builds write times into archives, so a release that is built again (by a CI job, in a new clone) has other bytes and
the same content. The file in the index then counts as the release.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import IO

from ppmctl import events
from ppmctl.client.download import Source
from ppmctl.distributions import archive, inspection
from ppmctl.errors import PpmError
from ppmctl.publishing import contents
from ppmctl.publishing.plan import Plan, Step

_MAX_DIFFERENCE = 1 << 20  # bytes; archives of the same content differ less in size
_CHUNK = 1 << 20


def accept_rebuilt(plan: Plan, source: Source) -> Plan:
    """Return the plan with "same" for conflicts that differ only in time stamps; `source` has the index's files."""
    if not plan.conflicts:
        return plan
    with tempfile.TemporaryDirectory(prefix="ppmctl-compare-") as folder:
        return replace(plan, steps=tuple(_compared(step, source, Path(folder)) for step in plan.steps))


def _compared(step: Step, source: Source, folder: Path) -> Step:
    listed = step.listed
    if step.state != "conflict" or listed is None or listed.sha256 is None:
        return step
    if listed.size is not None and abs(listed.size - step.file.size) > _MAX_DIFFERENCE:
        return step
    try:
        downloaded = source.download(listed, folder).path
        inspection.inspect(downloaded, step.file.filename)
        if not same_content(step.file.path, downloaded):
            return step
    except (PpmError, *archive.UNREADABLE):
        return step  # what can't be compared is a conflict
    events.note(
        f"{step.file.filename} was built again from the same content; the index keeps its file"
        f" (sha256 {listed.sha256})."
    )
    return replace(step, state="same")


def same_content(one: Path, other: Path) -> bool:
    """Return whether two archives of one kind have the same members with the same content, without their times."""
    return _digests(one) == _digests(other)


def _digests(path: Path) -> dict[str, tuple[object, str]]:
    return {name: (form, _digest(content)) for name, _size, form, content in contents.open_members(path)}


def _digest(content: IO[bytes] | None) -> str:
    digest = hashlib.sha256()
    while content is not None and (chunk := content.read(_CHUNK)):
        digest.update(chunk)
    return digest.hexdigest()
