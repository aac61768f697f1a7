"""Count the requests in logs: each line once, whatever happens to the logs and to the process that counts."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ppmctl import files
from ppmctl.downloads import database, log_file
from ppmctl.downloads.log_file import Block, LogFile, Position
from ppmctl.downloads.tally import Tally
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume
from ppmctl.index.one_step import one_step

log = logging.getLogger(__name__)

EVERY = 60.0  # seconds
PAUSE = 0.1  # seconds between two blocks in a server, whose requests go first
_MOST_LOGS = 1_000  # whose positions are remembered
_DAYS_EACH = 400  # for so long each day is counted by itself, then each month
_DAY = 86_400  # seconds
_RECORDED_EVERY = 600  # seconds
# seconds without a run, after which requests are taken for lost though their log is there: the clock was wrong
_LONGEST_PAUSE = 30 * _DAY


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What a run has counted: lines, those of another form, and the logs that could not be read, with the reason."""

    lines: int
    broken: int
    unreadable: tuple[str, ...]


class Counter:
    """Counts the logs of a volume, or others. Only one process counts at a time."""

    def __init__(self, volume: Volume, logs: Iterable[Path] = (), *, pause: float = 0.0) -> None:
        self._volume = volume
        self._logs = tuple(logs) or (volume.requests,)
        self._pause = pause
        self._was_unreadable: tuple[str, ...] = ()

    def run(self, *, every: float = EVERY, stop: threading.Event | None = None) -> None:
        """Count now and then every `every` seconds, until `stop` is set. An error is logged once."""
        stop, failed = stop or threading.Event(), ""
        while not stop.is_set():
            try:
                counted = self.count()
                failed = ""
            except Exception as exc:  # a bug too: requests must go on being counted
                if failed != str(exc):
                    is_expected = isinstance(exc, PpmError | OSError)
                    log.error("Downloads can't be counted, trying again: %s", exc, exc_info=not is_expected)
                failed = str(exc)
            else:
                if counted is not None and counted.unreadable != self._was_unreadable:
                    self._was_unreadable = counted.unreadable
                    for problem in counted.unreadable:
                        log.warning("Requests can't be counted: %s", problem)
            stop.wait(every)

    def count(self) -> Counted | None:
        """Count all new lines. Return None if another process is counting. Raise PpmError, or OSError."""
        if not self._volume.locks.is_dir():  # the server creates it
            return None
        held = files.try_lock(self._volume.downloads_lock)
        if held is None:
            return None
        try:
            return self._count()
        finally:
            os.close(held)

    def _count(self) -> Counted:
        paths = [path for log in self._logs for path in log_file.found(log)]
        if not paths:
            return Counted(lines=0, broken=0, unreadable=())
        tally, unreadable, unread = Tally(), [], 0.0
        with database.writing(self._volume) as connection:
            positions = _Positions(connection)
            for path in paths:
                try:
                    self._count_file(connection, positions, tally, path)
                except FileNotFoundError:  # renamed since it was listed: the next run counts it
                    continue
                except log_file.DAMAGED as exc:
                    tally.forget_ids()
                    reason = getattr(exc, "strerror", None) or str(exc)
                    unreadable.append(f"{path}: {reason}")
                    unread = max(unread, time.time() if path in self._logs else _changed(path))
            if tally.lines:
                _add_up_old_days(connection)
                positions.drop_old()
            if tally.lines or not positions.are_another_counters:
                _record_run(connection, is_continued=positions.is_continued, unread=unread)
        return Counted(lines=tally.lines, broken=tally.broken, unreadable=tuple(unreadable))

    def _count_file(self, connection: sqlite3.Connection, positions: _Positions, tally: Tally, path: Path) -> None:
        status = path.stat()
        if positions.is_unchanged(f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"):
            return
        with log_file.opened(path) as file:
            known = positions.of(file)
            start, newer_than = 0, b""
            if known is not None:
                start = known.position
                was_cut = (file.size is not None and file.size < start) or not file.has_tail(known)
                if was_cut:
                    if not known.identity.startswith(f"{file.place}:"):
                        return  # a copy of a part of a log
                    start, newer_than = 0, known.time
            for block in file.blocks(start):
                lines = list(_newer(block.lines, newer_than)) if newer_than else block.lines
                with one_step(connection):
                    tally.add(lines)
                    tally.broken += block.broken
                    tally.store(connection)
                    known = positions.move(known, file, block, newer_than)
                if self._pause:
                    threading.Event().wait(self._pause)
            if known is not None:
                positions.finish(known, file)


def _newer(lines: list[bytes], time: bytes) -> Iterator[bytes]:
    return (line for line in lines if line.partition(b"\t")[0] > time)


class _Positions:
    """The positions in all logs that were counted, in the database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        columns = ("id", "head", "position", "tail", "time", "identity")
        rows = connection.execute("SELECT id, head, position, tail, time, identity FROM logs")
        self._by_head = {row[1]: Position(**dict(zip(columns, row, strict=True))) for row in rows}
        now = f"{time.time():.3f}".encode()
        # a later time than now is that of a clock that was ahead
        order = {each.id: (each.time <= now, each.time, each.id) for each in self._by_head.values()}
        self._latest = max(order, key=lambda number: order[number], default=None)
        self._met: set[int] = set()

    @property
    def is_continued(self) -> bool:
        """Return whether the log is still there that was read last; newer ones are there too."""
        return self._latest in self._met

    @property
    def are_another_counters(self) -> bool:
        """Return whether the logs are known, but another counter of the volume reads the log that is in use."""
        return bool(self._met) and not self.is_continued

    def is_unchanged(self, identity: str) -> bool:
        known = [position for position in self._by_head.values() if position.identity == identity]
        self._meet(*known)
        return bool(known)

    def of(self, file: LogFile) -> Position | None:
        known = self._by_head.get(file.head)
        self._meet(*[known] if known else [])
        return known

    def _meet(self, *known: Position) -> None:
        self._met.update(position.id for position in known)

    def move(self, known: Position | None, file: LogFile, block: Block, newer_than: bytes) -> Position:
        """Store that a log was counted up to the end of a block, and return the position."""
        last = block.lines[-1].partition(b"\t")[0][:20] if block.lines else b""
        time = max(last, newer_than) if last.replace(b".", b"").isdigit() else (known.time if known else b"")
        identity = known.identity if known else f"{file.place}:"
        (number,) = self._connection.execute(
            "INSERT INTO logs (head, position, tail, time, identity, seen) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (head) DO UPDATE SET position = excluded.position, tail = excluded.tail,"
            " time = excluded.time, seen = excluded.seen RETURNING id",
            (file.head, block.end, block.tail, time, identity, database.today()),
        ).fetchone()
        made = Position(id=number, head=file.head, position=block.end, tail=block.tail, time=time, identity=identity)
        self._by_head[file.head] = made
        return made

    def finish(self, known: Position, file: LogFile) -> None:
        """Remember that a file was read to its end, so that it is not opened again before it changes."""
        if known.identity == file.identity:
            return
        query = "UPDATE logs SET identity = ?, seen = ? WHERE id = ?"
        self._connection.execute(query, (file.identity, database.today(), known.id))

    def drop_old(self) -> None:
        """Forget the logs that were not seen for longest, if there are too many."""
        query = "DELETE FROM logs WHERE id NOT IN (SELECT id FROM logs ORDER BY seen DESC, id DESC LIMIT ?)"
        self._connection.execute(query, (_MOST_LOGS,))


def _changed(path: Path) -> float:
    """Return when a file was changed last; now if that can't be found out."""
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()


def _record_run(connection: sqlite3.Connection, *, is_continued: bool, unread: float) -> None:
    """Store that all logs were read now, and whether requests were lost since the last run.

    `unread` is when a log that can't be read was changed last. For a day it may be repaired, so nothing is stored.
    """
    now = int(time.time())
    known = database.counted(connection)
    first, last = known or (now, now)
    pause = now - last
    is_unread = unread > last - _RECORDED_EVERY  # an older one was counted when it could be read
    if is_unread and now - unread < _DAY:
        return
    if is_unread or pause > (_LONGEST_PAUSE if is_continued else _DAY):
        days = max(pause // _DAY, 1)
        log.warning("Downloads were not counted for %d days: what was installed then is not known.", days)
        first = now
    if known is None or abs(pause) >= _RECORDED_EVERY:
        with one_step(connection):
            connection.execute("DELETE FROM counted")
            connection.execute("INSERT INTO counted VALUES (?, ?)", (min(first, now), now))


def _add_up_old_days(connection: sqlite3.Connection) -> None:
    """Add up the days of each month that is long past, so that the file grows by months, not by days."""
    oldest = database.today() - _DAYS_EACH
    month = database.number_of(database.day_of(oldest).replace(day=1))  # this month and later ones stay
    connection.create_function("month_of", 1, _month_of, deterministic=True)
    (pending,) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM downloads WHERE day < ? AND day != month_of(day))", (month,)
    ).fetchone()
    if not pending:
        return
    with one_step(connection):
        connection.execute(
            "CREATE TEMP TABLE added AS SELECT file, month_of(day) AS day, client, what, sum(number) AS number"
            " FROM downloads WHERE day < ? GROUP BY 1, 2, 3, 4",
            (month,),
        )
        connection.execute("DELETE FROM downloads WHERE day < ?", (month,))
        connection.execute("INSERT INTO downloads SELECT * FROM temp.added")
        connection.execute("DROP TABLE temp.added")


def _month_of(day: int) -> int:
    return database.number_of(database.day_of(day).replace(day=1))
