"""The search index: a row and the texts of each project in one SQLite file, for searches and lists of projects.

It is derived from the projects' folders, and is made again where it is missing or damaged. Writers take turns by a
lock; readers need none. docs/decisions.md has the reasons.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import astuple, dataclass
from typing import Literal, TypeVar

from ppmctl import files
from ppmctl.errors import PpmError, UsageError
from ppmctl.index import search_database, search_query, search_row
from ppmctl.index.one_step import one_step
from ppmctl.index.search_database import Unusable
from ppmctl.index.search_query import Scope
from ppmctl.index.search_row import Listed as Listed  # the rows that other modules get from here
from ppmctl.index.search_row import Row
from ppmctl.index.statistics import Holding, Statistics
from ppmctl.index.store import Store

log = logging.getLogger(__name__)

Result = TypeVar("Result")
MayRead = Callable[[str], bool] | None  # whether a project may be shown; None for all of them
ALL = -1  # as a limit

_HINT = "To make it again: ppmctl index rebuild"
_READY_WITHIN = 1.0  # seconds that a reader waits for an index that is being made
_SEARCH_WITHIN = 2.0  # seconds
_LOOK_EVERY = 10_000  # operations of a search: whether its time is over
_AT_ONCE = 50  # projects in a transaction; readers wait for the millisecond in which it is written


class Unavailable(PpmError):
    """The search index can't be read or written now."""

    status = 503


@dataclass(frozen=True, kw_only=True)
class Totals:
    """The number of projects, and of the files that their pages list, with the sum of their sizes in bytes."""

    projects: int
    files: int
    size: int


class SearchIndex:
    """The search index of a volume, for any number of threads and processes at once.

    Raise Unavailable (503) where it is missing or damaged, or can't be read or written; it is then as before.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._volume = store.volume
        self._path = store.volume.search

    # reading

    def search(self, text: str, *, may_read: MayRead = None, limit: int, offset: int = 0) -> tuple[list[Listed], int]:
        """Return the projects with every word of `text`, the best match first, and the number of all that match.

        A word is found in names, summaries, keywords and descriptions, there as the beginning of a word too. All
        projects match a text without anything in it. Raise UsageError for a text over a limit.
        """
        words = search_query.words_of(text)
        if words is None:
            return self.projects(order="name", may_read=may_read, limit=limit, offset=offset)
        if not words:
            return [], 0
        return self._read(
            lambda opened, scope: search_query.search(opened, scope, words, limit=limit, offset=offset),
            may_read,
            within=_SEARCH_WITHIN,
        )

    def projects(
        self, *, order: Literal["name", "newest"], may_read: MayRead = None, limit: int, offset: int = 0
    ) -> tuple[list[Listed], int]:
        """Return projects by name, or those with the newest files first, and the number of all."""
        return self._read(
            lambda opened, scope: search_query.projects(opened, scope, order, limit=limit, offset=offset), may_read
        )

    def totals(self, may_read: MayRead = None) -> Totals:
        """Return the numbers of all projects."""
        projects, number, size = self._read(search_query.totals, may_read)
        return Totals(projects=projects, files=number, size=size)

    def statistics(self, may_read: MayRead = None) -> Statistics:
        """Return the numbers of all projects, by name, and the uploads of files that are still here."""
        return self._read(
            lambda opened, scope: Statistics(
                holdings=tuple(search_query.holdings(opened, scope)), uploads=search_query.uploads(opened, scope)
            ),
            may_read,
        )

    def uploads(self) -> dict[str, int]:
        """Return the number of files by the month of their upload."""
        return self._read(search_query.uploads, None)

    def largest(self, number: int) -> list[Holding]:
        """Return the numbers of the projects with the largest files, the largest first."""
        return self._read(lambda opened, scope: list(search_query.holdings(opened, scope, largest=number)), None)

    def differing(self, among: Collection[str] | None = None) -> list[str]:
        """Return those of the projects (by default all) whose rows are not what their folders have now."""

        def query(connection: sqlite3.Connection, _scope: Scope) -> list[str]:
            names = among
            if names is None:
                stored = {name for (name,) in connection.execute("SELECT name FROM projects")}
                names = sorted(stored | set(self._store.projects()))
            return [
                name for name in names if search_query.stored(connection, name) != search_row.read(self._store, name)
            ]

        return self._read(query, None, repairs=False)

    # writing

    def update(self, project: str) -> None:
        """Read a project's folder again, and write its row, or remove it."""
        self.update_all([project])

    def refresh(self) -> int:
        """Update the rows that are out of date, and return their number."""
        return self.update_all(None)

    def update_all(self, projects: Collection[str] | None) -> int:
        """Update the rows of these projects, or with None those that are out of date; return their number.

        Make the index again if it is missing, damaged or not of this volume.
        """
        with self._writing():
            try:
                with contextlib.closing(search_database.opened(self._path, writes=True)) as connection:
                    if projects is None:
                        search_database.require_original(connection, self._path)
                        projects = self._out_of_date(connection)
                    self._write(connection, projects)
                return len(projects)
            except (Unusable, sqlite3.Error) as exc:
                if isinstance(exc, sqlite3.Error) and search_database.is_temporary(exc):
                    raise
                if self._path.exists():
                    log.warning("The search index %s is made again: %s.", self._path, exc)
            return self._make()

    def rebuild(self) -> int:
        """Make the index again, and return the number of projects. Until it is whole, the old one is read."""
        with self._writing():
            return self._make()

    def _make(self) -> int:
        projects = self._store.projects()
        with search_database.created(self._path) as connection:
            self._write(connection, projects)
        return len(projects)

    def _out_of_date(self, connection: sqlite3.Connection) -> list[str]:
        connection.execute("SELECT 1 FROM texts LIMIT 1")  # fails without its tables
        stored: dict[str, int] = dict(connection.execute("SELECT name, serial FROM projects"))
        serials = {name: search_row.serial(self._volume, name) for name in self._store.projects()}
        changed = [name for name, serial in serials.items() if stored.get(name) != serial]
        return changed + sorted(stored.keys() - serials.keys())

    def _write(self, connection: sqlite3.Connection, projects: Collection[str]) -> None:
        """Read projects and write their rows. Raise the last OSError at the end, after all others are written."""
        names, failure = list(projects), None
        remember = len(names) <= _AT_ONCE  # those of many projects would fill the memory
        for begin in range(0, len(names), _AT_ONCE):
            with one_step(connection):  # others change no row after the folder was read here
                for name in names[begin : begin + _AT_ONCE]:
                    try:
                        _replace(connection, name, search_row.read(self._store, name, remember=remember))
                    except OSError as exc:
                        failure = exc
        if failure is not None:
            raise failure

    # connections

    def _read(
        self,
        query: Callable[[sqlite3.Connection, Scope], Result],
        may_read: MayRead,
        *,
        within: float | None = None,
        repairs: bool = True,
    ) -> Result:
        """Return the result of a query, as in `_reading`.

        It is made again if the file was replaced meanwhile: SQLite would take the journal of the new file, which has
        the same name, for that of the old one, and read garbage.
        """
        while True:
            before = search_database.inode(self._path)
            try:
                with self._reading(may_read, within=within, repairs=repairs) as (connection, scope):
                    result = query(connection, scope)
                    if search_database.inode(self._path) == before:
                        return result
            except Unavailable:
                if search_database.inode(self._path) == before:
                    raise

    @contextlib.contextmanager
    def _reading(
        self, may_read: MayRead, *, within: float | None = None, repairs: bool = True
    ) -> Iterator[tuple[sqlite3.Connection, Scope]]:
        """Yield a connection, and the parameters by which a query keeps to what may be read.

        With `within` a query ends after these seconds. With `repairs` a missing or damaged index is made again.
        """
        before = search_database.inode(self._path)
        try:
            with contextlib.closing(self._opened(repairs=repairs)) as connection:
                connection.create_function("may_read", 1, may_read or bool, deterministic=True)
                if within is not None:
                    until = time.monotonic() + within
                    connection.set_progress_handler(lambda: time.monotonic() > until, _LOOK_EVERY)
                yield connection, {"reads_all": may_read is None}
        except sqlite3.Error as exc:
            if search_database.is_interruption(exc):
                raise UsageError("This search takes too long: use fewer or longer words.") from exc
            if repairs and search_database.is_damage(exc) and search_database.inode(self._path) == before:
                search_database.discard(self._path)
                self._store.changes.add_any()
                log.error("The search index %s is damaged, and is made again: %s", self._path, exc)
            raise Unavailable(f"The search index can't be read: {exc}.", hint=_HINT) from exc

    def _opened(self, *, repairs: bool) -> sqlite3.Connection:
        until = time.monotonic() + (_READY_WITHIN if repairs else 0)
        while True:
            try:
                return search_database.opened(self._path)
            except Unusable as exc:
                if repairs:
                    self._store.changes.add_any()  # the thread of a server makes it
                if time.monotonic() >= until:
                    message = "The search index is being made; try again in a few seconds."
                    raise Unavailable(message, hint=_HINT) from exc
            time.sleep(0.05)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock of writers."""
        self._volume.locks.mkdir(exist_ok=True)
        with files.lock(self._volume.search_lock):
            try:
                yield
            except sqlite3.Error as exc:
                raise Unavailable(f"The search index can't be written: {exc}.", hint=_HINT) from exc


def _replace(connection: sqlite3.Connection, name: str, row: Row | None) -> None:
    connection.execute("DELETE FROM texts WHERE rowid = (SELECT id FROM projects WHERE name = ?)", (name,))
    connection.execute("DELETE FROM projects WHERE name = ?", (name,))
    if row is None:
        return
    inserted = connection.execute(
        "INSERT INTO projects (name, version, summary, uploaded, files, size, status, serial, versions, uploads)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*astuple(row.listed), row.serial, row.versions, row.uploads),
    )
    connection.execute(
        "INSERT INTO texts (rowid, name, summary, keywords, description) VALUES (?, ?, ?, ?, ?)",
        (inserted.lastrowid, row.listed.name, row.listed.summary, row.keywords, row.description),
    )
