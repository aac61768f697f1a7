"""Add up lines of logs, and store the sums.

Most lines are equal but for their time, so lines are added up as bytes first, and only the sums are parsed.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeVar

from ppmctl.downloads import database, request_line, user_agent
from ppmctl.downloads.database import INSTALL, METADATA, MIRROR
from ppmctl.downloads.request_line import Target
from ppmctl.downloads.user_agent import Client

T = TypeVar("T")

_MOST_CLIENTS = 2_000  # combinations of client, versions and CI; further ones are counted without versions
_MOST_PARTS = 1_000  # downloads that were interrupted and may be resumed
_CACHED = 20_000  # paths and User-Agents, the longest of which have so many bytes:
_LONGEST_CACHED = 1_024
_TAB = 9
_AHEAD = 2  # days that a time may be in the future, as another machine's

# day, whether all bytes were sent, and the rest of the line from the status on → how many lines
Sums = Counter[tuple[int, bool, bytes]]
Row = tuple[int, int, int, int]  # of downloads: file, day, client, what


class _Days(dict[bytes, int]):
    """The day of the first 8 digits of a time, which are hundreds of seconds: a day has 864 of them."""

    def __init__(self) -> None:
        super().__init__()
        self._last = database.today() + _AHEAD

    def __missing__(self, digits: bytes) -> int:
        if len(digits) != 8 or not digits.isdigit():
            raise ValueError(digits)
        day = int(digits) // 864
        if not 0 < day <= self._last:
            raise ValueError(digits)
        if len(self) > _CACHED:
            self.clear()
        self[digits] = day
        return day


class Tally:
    """Adds up lines, until `store` writes the sums in the caller's transaction."""

    def __init__(self) -> None:
        self.lines = self.broken = 0
        self._days = _Days()
        self._sums: Sums = Counter()
        self._parts: list[tuple[int, int, bytes]] = []  # day, bytes that were sent, rest of the line
        self._targets: dict[bytes, Target] = {}
        self._clients: dict[bytes, Client] = {}
        self._client_ids: dict[Client, int] = {}
        self._file_ids: dict[tuple[str, str], int] = {}

    def add(self, lines: Iterable[bytes]) -> None:
        """Add lines without their line breaks. Lines of another form are counted as broken."""
        days, sums, parts = self._days, self._sums, self._parts
        count = broken = 0
        for line in lines:
            count += 1
            try:
                time, sent, length, rest = line.split(b"\t", 3)
                day = days[time[:8]]
            except ValueError:
                broken += 1
                continue
            is_whole = sent == length
            sums[day, is_whole, rest] += 1
            # only an answer with a part of a file ends with a field, and only one that was cut off is not whole
            if (line[-1] != _TAB or not is_whole) and rest[:2] == b"20" and sent.isdigit() and len(sent) < 16:
                parts.append((day, int(sent), rest))
        self.lines += count - broken
        self.broken += broken

    def store(self, connection: sqlite3.Connection) -> None:
        """Write the sums and forget them."""
        traffic: Counter[tuple[str, int]] = Counter()
        downloads: Counter[Row] = Counter()
        for (day, is_whole, rest), number in self._sums.items():
            fields = rest.split(b"\t")
            if len(fields) != 5:
                self._spoil(number)
                continue
            status, method, path, agent, _range = fields
            target, answered = self._target(path), request_line.status(status)
            traffic[target.kind, answered] += number
            # 302: the bucket sends the file (storage_redirect), and does not report whether all of it
            is_sent = answered == 200 or (answered == 302 and target.kind == "file")
            if is_whole and is_sent and method == b"GET" and target.filename:
                downloads[self._row(connection, target, day, agent)] += number
        for row in self._resumed(connection):
            downloads[row] += 1
        self._write(connection, traffic, downloads)
        self._sums.clear()
        self._parts.clear()

    def forget_ids(self) -> None:
        """Forget the numbers of files and clients: a transaction that made them was not stored."""
        self._client_ids.clear()
        self._file_ids.clear()
        self._sums.clear()
        self._parts.clear()

    def _spoil(self, number: int) -> None:
        self.lines -= number
        self.broken += number

    def _write(
        self,
        connection: sqlite3.Connection,
        traffic: Counter[tuple[str, int]],
        downloads: Counter[Row],
    ) -> None:
        connection.executemany(
            "INSERT INTO traffic VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET number = number + excluded.number",
            [(*key, number) for key, number in traffic.items()],
        )
        connection.executemany(
            "INSERT INTO downloads VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET number = number + excluded.number",
            [(*key, number) for key, number in downloads.items()],
        )
        days = {file: day for file, day, _client, what in sorted(downloads) if what == INSTALL}
        connection.executemany(
            "UPDATE files SET last_install = max(coalesce(last_install, 0), ?) WHERE id = ?",
            [(day, file) for file, day in days.items()],
        )
        if downloads:
            first = min(day for _file, day, *_others in downloads)
            connection.execute("UPDATE started SET day = min(day, ?)", (first,))

    def _row(self, connection: sqlite3.Connection, target: Target, day: int, agent: bytes) -> Row:
        client = self._client(agent)
        what = METADATA if target.kind == "metadata" else MIRROR if client.is_mirror else INSTALL
        return self._file_id(connection, target), day, self._client_id(connection, client), what

    def _resumed(self, connection: sqlite3.Connection) -> Iterator[Row]:
        """Yield a row for each file that arrived in parts: a download that was cut off, and the rest of it.

        Parts belong together if they are of the same file and User-Agent and each begins where the last one ended,
        or before. A part without the beginning of the file is none of a download: installers read the end of a wheel
        for its metadata.
        """
        for day, sent, rest in self._parts:
            fields = rest.split(b"\t")
            if len(fields) != 5 or fields[1] != b"GET" or fields[0] not in (b"200", b"206"):
                continue
            target = self._target(fields[2])
            part = request_line.part(fields[4])
            if not target.filename or target.kind == "metadata" or (fields[0] == b"206" and part is None):
                continue
            key = self._file_id(connection, target), hashlib.sha256(fields[3]).digest()[:8]
            known = connection.execute("SELECT received FROM parts WHERE file = ? AND agent = ?", key).fetchone()
            received = known[0] if known else 0
            start = part.start if part else 0
            if start > received:
                continue
            received = max(received, start + sent)
            if part is not None and received >= part.total:
                connection.execute("DELETE FROM parts WHERE file = ? AND agent = ?", key)
                yield self._row(connection, target, day, fields[3])
            else:
                connection.execute("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?)", (*key, received, day))
        if self._parts:
            connection.execute(
                "DELETE FROM parts"
                " WHERE (file, agent) NOT IN (SELECT file, agent FROM parts ORDER BY seen DESC LIMIT ?)",
                (_MOST_PARTS,),
            )

    def _target(self, path: bytes) -> Target:
        target = self._targets.get(path)
        if target is None:
            target = request_line.target(path)
            _remember(self._targets, path, target)
        return target

    def _client(self, agent: bytes) -> Client:
        client = self._clients.get(agent)
        if client is None:
            client = user_agent.parse(request_line.agent(agent))
            _remember(self._clients, agent, client)
        return client

    def _file_id(self, connection: sqlite3.Connection, target: Target) -> int:
        key = target.project, target.filename
        if key not in self._file_ids:
            if len(self._file_ids) > _CACHED:
                self._file_ids.clear()
            connection.execute(
                "INSERT OR IGNORE INTO files (project, version, filename) VALUES (?, ?, ?)",
                (target.project, target.version, target.filename),
            )
            query = "SELECT id FROM files WHERE project = ? AND filename = ?"
            self._file_ids[key] = connection.execute(query, key).fetchone()[0]
        return self._file_ids[key]

    def _client_id(self, connection: sqlite3.Connection, client: Client) -> int:
        if client not in self._client_ids:
            number = self._known_client(connection, client)
            if number is None:
                (clients,) = connection.execute("SELECT count(*) FROM clients").fetchone()
                if clients >= _MOST_CLIENTS and client != (plain := Client(name=client.name, is_ci=client.is_ci)):
                    return self._client_id(connection, plain)
                number = connection.execute(
                    "INSERT INTO clients (name, version, python, ci) VALUES (?, ?, ?, ?)",
                    (client.name, client.version, client.python, client.is_ci),
                ).lastrowid
            self._client_ids[client] = int(number or 0)
        return self._client_ids[client]

    @staticmethod
    def _known_client(connection: sqlite3.Connection, client: Client) -> int | None:
        row = connection.execute(
            "SELECT id FROM clients WHERE name = ? AND version = ? AND python = ? AND ci = ?",
            (client.name, client.version, client.python, client.is_ci),
        ).fetchone()
        return row[0] if row else None


def _remember(cache: dict[bytes, T], key: bytes, value: T) -> None:
    if len(key) > _LONGEST_CACHED:
        return
    if len(cache) >= _CACHED:
        cache.clear()
    cache[key] = value
