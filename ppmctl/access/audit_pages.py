"""Read the newest entries of the audit log, a page at a time, at a limited cost however long the log is.

Files that logrotate has compressed are left out: `ppmctl audit` reads them too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import IO

from ppmctl.access import audit_files, audit_query
from ppmctl.access.audit_query import Entry, Selection
from ppmctl.errors import UsageError
from ppmctl.index.layout import Volume

MAX_READ = 4 << 20  # bytes of the log for one page, about 20,000 lines
_BLOCK = 64 << 10  # bytes; longer than every line
_BEFORE = re.compile(r"([0-9a-f]{16})-([0-9]{1,18})", re.ASCII)
_DISORDER = timedelta(days=1)  # that lines of one node may be out of order, since clocks are set


@dataclass(frozen=True, kw_only=True)
class AuditPage:
    """Some entries, newest first. `before` continues with older lines, "" at the beginning of the log.

    The page may have fewer entries than its limit although older ones exist, because of the limit of the cost.
    """

    entries: tuple[Entry, ...]
    before: str


def read(
    volume: Volume, selection: Selection, *, limit: int, before: str = "", max_read: int = MAX_READ
) -> AuditPage:
    """Return up to `limit` selected entries that are older than `before`, which an earlier page had.

    Raise UsageError for a `before` that no page had, and PpmError if a file can't be read.
    """
    entries: list[Entry] = []
    count, place = 0, ""
    for place, line in _lines(volume, before):
        count += len(line) + 1
        entry = audit_query.parse(line)
        # behind lines of other nodes there may be newer ones: a new node takes them over a part at a time
        is_old = entry is not None and selection.since is not None and entry.time < selection.since - _DISORDER
        if entry is not None and is_old and not entry.is_elsewhere:
            return AuditPage(entries=tuple(entries), before="")
        if entry is not None and selection.has(entry):
            entries.append(entry)
        if len(entries) == limit or count >= max_read:
            return AuditPage(entries=tuple(entries), before=place)
    return AuditPage(entries=tuple(entries), before="")


def _lines(volume: Volume, before: str) -> Iterator[tuple[str, bytes]]:
    """Yield the lines, newest first, each with the place that continues behind it."""
    started = not before
    match = _BEFORE.fullmatch(before)
    if not started and match is None:
        raise UsageError(f"{before[:40]!r} is no place in the audit log.", hint="Start with the newest page.")
    with audit_files.opened(volume, compressed=False) as opened:
        for each in reversed(opened):
            with audit_files.reading(each.path):
                end = each.file.seek(0, 2)
                if not started:
                    if match is None or match[1] != each.name:
                        continue
                    started, end = True, min(int(match[2]), end)
                for offset, line in _backwards(each.file, end):
                    yield f"{each.name}-{offset}", line
    if not started:
        raise UsageError("That part of the audit log is gone.", hint="Start with the newest page.")


def _backwards(file: IO[bytes], end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file that lie in front of `end`, the last first, each with its offset."""
    rest = b""  # the end of a line that begins in an earlier block
    while end > 0:
        begin = max(0, end - _BLOCK)
        file.seek(begin)
        lines = (file.read(end - begin) + rest).split(b"\n")
        after = end + len(rest)
        for line in reversed(lines[1:]):
            after -= len(line)
            if line:
                yield after, line
            after -= 1
        rest, end = lines[0], begin
    if rest:
        yield 0, rest
