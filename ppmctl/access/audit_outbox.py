"""Read the audit log from a place on, over all rotations: the outbox of webhooks, and of the bucket with storage."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from ppmctl.access import audit_files
from ppmctl.access.audit_files import AuditFile
from ppmctl.errors import NOT_SUCH_JSON
from ppmctl.index import project_folder
from ppmctl.index.layout import Volume

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place between two lines. `file` is the name of a file's content, and `time` that of the line before.

    Without `file` it is the beginning, or, with `time`, behind all lines of that time and before.
    """

    file: str = ""
    offset: int = 0
    time: str = ""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the audit log, and the places before and behind it."""

    text: bytes
    before: str
    after: Place


def end(volume: Volume) -> Place:
    """Return the place behind the last line, which a power cut can't undo."""
    last = Place()
    with audit_files.opened(volume, compressed=False) as opened:
        for each in opened[-1:]:
            size = each.file.seek(0, 2)
            os.fsync(each.file.fileno())
            last = Place(file=each.name, offset=size, time=project_folder.now())
    return last


def after(volume: Volume, place: Place, *, most: int) -> list[Line]:
    """Return up to `most` lines behind `place`, which a power cut can't undo. Raise PpmError, or OSError.

    If the log lacks the place and has nothing newer, an empty line leads to the end, so that this is found once.
    """
    with audit_files.opened(volume) as opened:
        lines = list(islice(_after(volume, opened, place), most))
        for each in opened:
            if any(line.after.file == each.name for line in lines):
                os.fsync(each.file.fileno())  # else a stored place could be behind the end of the file
        return lines


def _after(volume: Volume, opened: list[AuditFile], place: Place) -> Iterator[Line]:
    names = [each.name for each in opened]
    start = names.index(place.file) if place.file in names else 0
    is_there = place.file in names and _has(opened[start], place)
    is_lost, is_new = bool(place.file and not is_there and opened), False
    if is_lost:
        log.error("The audit of %s lacks the part that was sent last; going on after %s.", volume.root, place.time)
    for each in opened[start:]:
        offset = place.offset if is_there and each.name == place.file else 0
        with audit_files.reading(each.path):
            each.file.seek(offset)
            for text in each.file:
                if not text.endswith(b"\n"):  # it is being written; later files wait too
                    break
                before, offset = f"{each.name}-{offset}", offset + len(text)
                time = _time(text)
                if not is_there and time and time <= place.time:
                    continue
                behind = Place(file=each.name, offset=offset, time=time or place.time)
                is_new = True
                yield Line(text=text, before=before, after=behind)
            else:
                continue
            break
    if is_lost and not is_new:
        yield Line(text=b"", before="", after=Place(file=each.name, offset=offset, time=place.time))


def _has(audit: AuditFile, place: Place) -> bool:
    """Return whether the place is the end of a line; not so if the file was cut or restored since it was stored."""
    with audit_files.reading(audit.path):
        audit.file.seek(max(place.offset - 1, 0))
        return place.offset == 0 or audit.file.read(1) == b"\n"


def _time(text: bytes) -> str:
    try:
        time = datetime.fromisoformat(json.loads(text)["time"]).astimezone(UTC)
    except NOT_SUCH_JSON:
        return ""
    return f"{time:%Y-%m-%dT%H:%M:%S.%fZ}"
