"""The SQLite file of the search index: its tables, how it is opened, made, and found to be damaged.

The journal is a rollback journal, without syncs. So a reader neither writes nor waits for a disk, and there is no
shared memory, which a truncated file turns into a signal that ends the process. docs/decisions.md has more.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

_APPLICATION = 0x70706D69  # "ppmi", in the header of the file
_VERSION = 2  # of the tables
_CACHE = 16_000  # KB of a transaction in memory; for a larger one readers wait from then on
_LOCKED = 5.0  # seconds to wait for a reader, or for the end of a transaction, which take milliseconds
_TABLES = """
CREATE TABLE made (inode INTEGER NOT NULL);
CREATE TABLE projects (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, version TEXT NOT NULL, summary TEXT NOT NULL,
    uploaded TEXT NOT NULL, files INTEGER NOT NULL, size INTEGER NOT NULL, status TEXT NOT NULL,
    serial INTEGER NOT NULL, versions INTEGER NOT NULL, uploads TEXT NOT NULL
);
CREATE INDEX numbers ON projects (name, files, size);
CREATE INDEX newest ON projects (uploaded DESC, name);
CREATE VIRTUAL TABLE texts USING fts5 (
    name, summary, keywords, description, prefix = '2 3', tokenize = 'unicode61 remove_diacritics 2'
);
"""
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_TEMPORARY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM})


class Unusable(Exception):
    """The file is missing, or is not the search index of this volume in the present form."""


def opened(path: Path, *, writes: bool = False) -> sqlite3.Connection:
    """Return a connection to the search index at `path`. Raise Unusable, or sqlite3.Error."""
    try:
        connection = _connect(path, writes=writes)
    except sqlite3.OperationalError as exc:
        if path.exists():
            raise
        raise Unusable("it does not exist") from exc
    try:
        _require(connection, "PRAGMA application_id", _APPLICATION)
        _require(connection, "PRAGMA user_version", _VERSION)
    except BaseException:
        connection.close()
        raise
    return connection


def require_original(connection: sqlite3.Connection, path: Path) -> None:
    """Raise Unusable for a copy: it can have been made while the file was changed, which SQLite does not notice."""
    _require(connection, "SELECT inode FROM made", inode(path))


def inode(path: Path) -> int | None:
    """Return a number that another file at `path` would not have while this one is open; None without a file."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _require(connection: sqlite3.Connection, query: str, value: int | None) -> None:
    if connection.execute(query).fetchone() != (value,):
        raise Unusable("it is another file, a copy, or of another release of ppm")


@contextlib.contextmanager
def created(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection to a new, empty index, which takes its place at `path` at the end. Only one process may.

    A reader of the old file reads it to the end.
    """
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        os.fchmod(descriptor, 0o644)
        inode = os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)
    try:
        with contextlib.closing(_connect(new, writes=True)) as connection:
            connection.execute("PRAGMA journal_mode = OFF")  # what is left after an error is thrown away
            connection.executescript(_TABLES)
            connection.execute("INSERT INTO made VALUES (?)", (inode,))
            yield connection
            connection.execute("INSERT INTO texts (texts) VALUES ('optimize')")
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        _drop_journal(path)
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def discard(path: Path) -> None:
    """Remove the index."""
    _drop_journal(path)
    path.unlink(missing_ok=True)


def _drop_journal(path: Path) -> None:
    """Remove what a killed writer left, before the file: it must never be applied to the next one."""
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)


def is_damage(exc: sqlite3.Error) -> bool:
    """Return whether an error means that the content of the file is damaged."""
    return _code(exc) in _DAMAGE


def is_temporary(exc: sqlite3.Error) -> bool:
    """Return whether an error is none of this file: another file would be no better."""
    return _code(exc) in _TEMPORARY


def is_interruption(exc: sqlite3.Error) -> bool:
    """Return whether an error means that a time limit has ended the query."""
    return _code(exc) == sqlite3.SQLITE_INTERRUPT


def _code(exc: sqlite3.Error) -> int:
    return int(getattr(exc, "sqlite_errorcode", 0)) & 0xFF  # the other bits are details


def _connect(path: Path, *, writes: bool) -> sqlite3.Connection:
    # "rw" for readers too, which undo what a killed writer left; it creates no file
    uri = f"file:{quote(os.fsencode(path.absolute()))}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=_LOCKED, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA temp_store = MEMORY")  # there need not be a folder for temporary files
    if writes:
        connection.execute(f"PRAGMA cache_size = -{_CACHE}")
    return connection
