"""The queries of the search index: searches, lists, totals, and one project's row."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from string import Template
from typing import Any, Literal

from ppmctl.distributions.distribution import normalise
from ppmctl.index import statistics
from ppmctl.index.search_row import Listed, Row
from ppmctl.index.statistics import Holding

Scope = dict[str, Any]  # the parameters by which a query keeps to what may be read

_SIGNS = re.compile(r"^[\W_]+|[\W_]+$")
# A word is also found within a part of a name, as pypiserver finds it. $named: whether the name has all words.
_NUMBER = Template("""
    SELECT count(*) FROM projects WHERE ($named OR id IN (SELECT rowid FROM texts WHERE texts MATCH :match))
        AND (:reads_all OR may_read(name))
""")
# First come the project with this name, names that begin with it, and those with all words.
_PAGE = Template("""
    WITH ranked (id, score) AS MATERIALIZED (
        SELECT rowid, bm25(texts, 10, 4, 4, 1) FROM texts WHERE :is_ranked AND texts MATCH :ranked
    ), matching (id, name, is_named) AS (
        SELECT id, name, $named FROM projects
        WHERE ($named OR id IN (SELECT rowid FROM texts WHERE texts MATCH :match)) AND (:reads_all OR may_read(name))
    ), page (id, is_other, named_by, score) AS (
        SELECT id, name != :exact, CASE WHEN instr(name, :exact) = 1 THEN 0 WHEN is_named THEN 1 ELSE 2 END,
            coalesce(score, 0)
        FROM matching LEFT JOIN ranked USING (id) ORDER BY 2, 3, 4, name LIMIT :limit OFFSET :offset
    )
    SELECT name, version, summary, uploaded, files, size, status FROM page JOIN projects USING (id)
    ORDER BY is_other, named_by, score, name
""")
_MATCHES = "SELECT count(*) FROM texts WHERE texts MATCH :ranked"
# Of more matches than this, only those in short texts are ranked; of more matches in these too, none: to compare all
# of 10,000 would take a tenth of a second.
_RANKED = 1000
_IN_SHORT_TEXTS = "{name summary keywords} : "
_LISTS = {
    "name": """
        SELECT name, version, summary, uploaded, files, size, status FROM projects
        WHERE :reads_all OR may_read(name) ORDER BY name LIMIT :limit OFFSET :offset
    """,
    "newest": """
        SELECT name, version, summary, uploaded, files, size, status FROM projects
        WHERE :reads_all OR may_read(name) ORDER BY uploaded DESC, name LIMIT :limit OFFSET :offset
    """,
}
_TOTALS = """
    SELECT count(*), coalesce(sum(files), 0), coalesce(sum(size), 0) FROM projects WHERE :reads_all OR may_read(name)
"""
# The numbers of projects, and of the uploads by month. What may not be read is left out before it is added up.
_NUMBERS = """
    SELECT name, version, versions, files, size, uploaded FROM projects WHERE :reads_all OR may_read(name)
"""
_BY_NAME, _BY_SIZE = " ORDER BY name", " ORDER BY size DESC, name LIMIT :limit"
_UPLOADS = """
    SELECT key, sum(value) FROM projects, json_each(uploads) WHERE :reads_all OR may_read(name) GROUP BY key
"""
_ROW = """
    SELECT projects.name, version, projects.summary, uploaded, files, size, status, serial, versions, uploads,
        keywords, description
    FROM projects LEFT JOIN texts ON texts.rowid = projects.id WHERE projects.name = ?
"""


def words_of(text: str) -> list[str] | None:
    """Return the words to search for, without signs around them; None for a text of white space alone.

    Raise UsageError for a text over a limit.
    """
    # UTF-8 has no half of a pair of surrogates, and FTS5 reads a text to its first NUL
    words = statistics.words(text.encode(errors="replace").decode().replace("\0", " "))
    return [word for word in (_SIGNS.sub("", word) for word in words) if word] if words else None


def search(
    connection: sqlite3.Connection, scope: Scope, words: list[str], *, limit: int, offset: int
) -> tuple[list[Listed], int]:
    """Return the projects that match all words, the best match first, and the number of all that match."""
    match = " ".join(map(_phrase, words))
    named = " AND ".join(f"instr(name, :word{number})" for number in range(len(words)))
    given: dict[str, Any] = {f"word{number}": normalise(word) for number, word in enumerate(words)}
    given |= {"match": match, "exact": normalise("-".join(words)), "limit": limit, "offset": offset, **scope}
    page, number = (sql.substitute(named=f"({named})") for sql in (_PAGE, _NUMBER))
    total = connection.execute(number, given).fetchone()[0]
    given |= {"ranked": match if total <= _RANKED else f"{_IN_SHORT_TEXTS}({match})"}
    given |= {"is_ranked": total <= _RANKED or connection.execute(_MATCHES, given).fetchone()[0] <= _RANKED}
    return [_listed(row) for row in connection.execute(page, given)], total


def projects(
    connection: sqlite3.Connection, scope: Scope, order: Literal["name", "newest"], *, limit: int, offset: int
) -> tuple[list[Listed], int]:
    """Return projects by name, or those with the newest files first, and the number of all."""
    rows = connection.execute(_LISTS[order], {**scope, "limit": limit, "offset": offset}).fetchall()
    return [_listed(row) for row in rows], totals(connection, scope)[0]


def totals(connection: sqlite3.Connection, scope: Scope) -> tuple[int, int, int]:
    """Return the number of projects, of their files, and the sum of their sizes in bytes."""
    number, files, size = connection.execute(_TOTALS, scope).fetchone()
    return number, files, size


def holdings(connection: sqlite3.Connection, scope: Scope, *, largest: int | None = None) -> Iterator[Holding]:
    """Yield the numbers of all projects by name, or of the `largest` ones, without texts and uploads by month."""
    order = _BY_NAME if largest is None else _BY_SIZE
    rows = connection.execute(_NUMBERS + order, {**scope, "limit": largest})
    for name, version, versions, files, size, uploaded in rows:
        moment = datetime.fromisoformat(uploaded).astimezone(UTC) if uploaded else None
        yield Holding(name=name, version=version, versions=versions, files=files, size=size, uploaded=moment)


def uploads(connection: sqlite3.Connection, scope: Scope) -> dict[str, int]:
    """Return the number of files by the month of their upload."""
    return dict(connection.execute(_UPLOADS, scope))


def _phrase(word: str) -> str:
    """Return a word for FTS5, which reads nothing in it as an operator, and finds it as the beginning of a word.

    A single letter is only found as a word: too much begins with it.
    """
    last = re.split(r"[\W_]+", word)[-1]
    quoted = word.replace('"', '""')
    return f'"{quoted}"' if len(last) == 1 and last.isascii() else f'"{quoted}"*'


def stored(connection: sqlite3.Connection, name: str) -> Row | None:
    """Return the row of a project, or None."""
    values = connection.execute(_ROW, (name,)).fetchone()
    if values is None:
        return None
    serial, versions, uploads, keywords, description = values[7:]
    return Row(
        listed=_listed(values),
        serial=serial,
        versions=versions,
        uploads=uploads,
        keywords=keywords,
        description=description,
    )


def _listed(values: tuple[Any, ...]) -> Listed:
    name, version, summary, uploaded, number, size, status = values[:7]
    return Listed(
        name=name, version=version, summary=summary, uploaded=uploaded, files=number, size=size, status=status
    )
