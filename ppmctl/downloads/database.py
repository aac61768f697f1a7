"""The SQLite file of the counts: its tables, and how it is opened and made.

It can't be made again from other files, so each transaction is synced to the disk. Counts and the positions in the
logs up to which they were counted change in one transaction, so a crash counts nothing twice and loses nothing.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume

_APPLICATION = 0x70706D64  # "ppmd", in the header of the file
_VERSION = 1  # of the tables
_LOCKED = 10.0  # seconds to wait for another process's transaction
_EPOCH = date(1970, 1, 1)
# what a row counts
INSTALL, MIRROR, METADATA = 0, 1, 2

# days are numbers since 1970-01-01; rows of old days are added up in the first day of their month
_TABLES = """
CREATE TABLE started (day INTEGER NOT NULL);
CREATE TABLE files (
    id INTEGER PRIMARY KEY, project TEXT NOT NULL, version TEXT NOT NULL, filename TEXT NOT NULL,
    last_install INTEGER, UNIQUE (project, filename)
);
CREATE TABLE clients (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL, python TEXT NOT NULL, ci INTEGER NOT NULL,
    UNIQUE (name, version, python, ci)
);
CREATE TABLE downloads (
    file INTEGER NOT NULL, day INTEGER NOT NULL, client INTEGER NOT NULL, what INTEGER NOT NULL,
    number INTEGER NOT NULL, PRIMARY KEY (file, day, client, what)
) WITHOUT ROWID;
CREATE TABLE traffic (
    kind TEXT NOT NULL, status INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (kind, status)
) WITHOUT ROWID;
CREATE TABLE logs (
    id INTEGER PRIMARY KEY, head BLOB NOT NULL UNIQUE, position INTEGER NOT NULL, tail BLOB NOT NULL,
    time BLOB NOT NULL, identity TEXT NOT NULL, seen INTEGER NOT NULL
);
CREATE TABLE parts (
    file INTEGER NOT NULL, agent BLOB NOT NULL, received INTEGER NOT NULL, seen INTEGER NOT NULL,
    PRIMARY KEY (file, agent)
) WITHOUT ROWID;
"""
# times in seconds: the last run that read all logs, and the first one since which no requests were lost
_COUNTED = "CREATE TABLE IF NOT EXISTS counted (first INTEGER NOT NULL, last INTEGER NOT NULL)"


def number_of(day: date) -> int:
    """Return the number by which a day is stored."""
    return (day - _EPOCH).days


def day_of(number: int) -> date:
    """Return the day of a stored number."""
    return _EPOCH + timedelta(days=number)


def today() -> int:
    """Return the number of the current day (UTC)."""
    return number_of(datetime.now(UTC).date())


@contextlib.contextmanager
def reading(volume: Volume) -> Iterator[sqlite3.Connection | None]:
    """Yield a connection for queries, or None if nothing was ever counted. Raise PpmError if the file is damaged."""
    path = volume.downloads
    if not path.exists():
        yield None
        return
    with _errors(path), contextlib.closing(_opened(path)) as connection:
        connection.execute("BEGIN")  # all queries see the same counts
        yield connection


@contextlib.contextmanager
def writing(volume: Volume) -> Iterator[sqlite3.Connection]:
    """Yield a connection for transactions; make the file if it is missing. Raise PpmError if it can't be used."""
    path = volume.downloads
    with _errors(path):
        if not path.exists():
            _create(path)
        with contextlib.closing(_opened(path)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(_COUNTED)
            yield connection


def counted(connection: sqlite3.Connection) -> tuple[int, int] | None:
    """Return the times of the first and the last run between which no requests were lost; None before any run."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'counted'").fetchone():
        return None  # an older release made the file
    times: tuple[int, int] | None = connection.execute("SELECT first, last FROM counted").fetchone()
    return times


def _create(path: Path) -> None:
    """Make an empty file with all tables, in one step; another process may do the same."""
    path.parent.mkdir(mode=0o750, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
    try:
        with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
            connection.executescript(_TABLES)
            connection.execute("INSERT INTO started VALUES (?)", (today(),))
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
    finally:
        new.unlink(missing_ok=True)


def _opened(path: Path) -> sqlite3.Connection:
    # "rw" for readers too, which undo what a killed writer left; it creates no file
    uri = f"file:{quote(os.fsencode(path.absolute()))}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=_LOCKED, isolation_level=None)
    try:
        connection.execute("PRAGMA temp_store = MEMORY")  # there need not be a folder for temporary files
        _require_own(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _require_own(connection: sqlite3.Connection, path: Path) -> None:
    found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    if found != [_APPLICATION, _VERSION]:
        raise PpmError(
            f"{path} is not a file with counts of this release of ppm.",
            hint="Use the release that wrote it, or restore the file from a backup.",
        )


@contextlib.contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into PpmError."""
    try:
        yield
    except sqlite3.Error as exc:
        raise PpmError(
            f"The counts of downloads in {path} can't be used: {exc}.",
            hint=f"If the file is damaged, restore it from a backup; or start again with: mv {path} {path}.damaged",
        ) from exc
