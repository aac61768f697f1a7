"""Edit TOML files (uv.toml, pyproject.toml) as text: an index becomes a table of its own at the end."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ppmctl.client_config.index_target import toml
from ppmctl.client_config.lines import USERINFO, Add, Body, Edit, Statement, Unreadable, find, has_content, is_header

Path = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table in a file, from the line `start`, its header's, up to `stop`. `values` has only its own keys."""

    path: Path
    start: int
    stop: int
    values: dict[str, Any]


def parse(body: Body) -> dict[str, Any]:
    """Return the file's values. Raise Unreadable with the line."""
    try:
        return tomllib.loads(body.plain)
    except tomllib.TOMLDecodeError as exc:
        match = re.search(r"^(.*) \(at line (\d+), column \d+\)$", str(exc))
        why, line = (match[1], int(match[2])) if match else (str(exc).partition(" (")[0], None)
        raise Unreadable(f"it is not TOML: {why}.", line=line) from None
    except RecursionError:
        raise Unreadable("it is nested too deeply.") from None


def lookup(values: Mapping[str, Any], path: Path) -> Any:
    """Return the value at `path`, or None."""
    value: Any = values
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return value


class TomlEdit(Edit):
    """An edit of a TOML file."""

    @classmethod
    def scan(cls, body: Body) -> list[Statement]:
        """Return the headers and keys, each with the path of its table."""
        parse(body)
        statements: list[Statement] = []
        path: Path = ()
        for start, stop, values in _pieces(body.texts):
            if is_header(body.texts[start]):
                path, values = _path(values), {}
            statements.append(Statement(start=start, stop=stop, section=path, values=values))
        return statements

    @classmethod
    def lines_of(cls, body: Body, added: Add) -> Collection[int]:
        """Return the lines of `added`, or the whole table of its path, name and URL, with others' edits."""
        if added.header is None:
            return find(body, added)
        wanted = tomllib.loads("\n".join(text for text in added.texts if text != added.header))
        for table in tables(cls.scan(body)):
            is_same = all(table.values.get(name) == wanted[name] for name in ("name", "url"))
            if is_same and body.texts[table.start].strip() == added.header:
                is_blank = table.start > 0 and not body.texts[table.start - 1].strip() and not added.texts[0].strip()
                return range(table.start - is_blank, table.stop)
        return ()

    def set_top(self, name: str, value: str) -> None:
        """Set a key outside of all tables; another value of it is commented out."""
        top = [each for each in self.statements if not each.section]
        same = [each for each in top if name in each.values]
        if any(each.values == {name: value} for each in same):
            return
        blank = [] if top or not self.body.lines else [""]
        self.add(top[-1].stop if top else 0, f"{name} = {toml(value)}", *blank)
        for each in same:
            self.comment_out(each.start, each.stop)

    def comment_out_key(self, path: Path, name: str) -> None:
        """Comment out a key of a table."""
        for each in self.statements:
            if each.section == path and name in each.values:
                self.comment_out(each.start, each.stop)

    def put(
        self,
        path: Path,
        ours: dict[str, Any],
        is_replaced: Callable[[dict[str, Any]], bool] = lambda _values: False,
    ) -> list[dict[str, Any]]:
        """Put a table at the end of the array at `path`; return the other tables that remain in the array.

        Tables with its name, and those that `is_replaced` accepts, are commented out. Raise Unreadable where the name
        belongs to another URL, or where the array is not written as tables.
        """
        name = ".".join(path)
        present = [table for table in tables(self.statements) if table.path == path]
        if (lookup(parse(self.body), path) or []) != [table.values for table in present]:
            raise Unreadable(f"{name} is not written as [[{name}]].", hint="Write it so, or paste the printed lines.")
        remaining = []
        for table in present:
            has_name = table.values.get("name") == ours["name"]
            if has_name and not _is_same_url(table.values.get("url"), ours["url"]):
                hint = "Choose another name: --name OTHER"
                raise Unreadable(f"{ours['name']!r} is another index there.", line=table.start + 1, hint=hint)
            if table.values != ours and (has_name or is_replaced(table.values)):
                self.comment_out(table.start, table.stop)
            elif table.values != ours:
                remaining.append(table.values)
        if all(table.values != ours for table in present):
            self.append(*table_lines(path, ours))
        return remaining


def table_lines(path: Path, values: Mapping[str, str | bool]) -> list[str]:
    """Return the lines of a table of the array at `path`."""
    return [f"[[{'.'.join(path)}]]", *(f"{name} = {toml(value)}" for name, value in values.items())]


def tables(statements: list[Statement]) -> Iterator[Table]:
    """Yield the tables in their order in the file, without the keys outside of all tables."""
    starts = [number for number, each in enumerate(statements) if each.section and not each.values]
    for start, stop in pairwise([*starts, len(statements)]):
        own = statements[start:stop]
        values = {name: value for each in own for name, value in each.values.items()}
        yield Table(path=own[0].section, start=own[0].start, stop=own[-1].stop, values=values)


def _is_same_url(url: object, other: str) -> bool:
    return isinstance(url, str) and USERINFO.sub("//", url).rstrip("/") == USERINFO.sub("//", other).rstrip("/")


def _pieces(texts: list[str]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield each header and key: its first line, the line after its last, and its values."""
    number = 0
    while number < len(texts):
        start, number = number, number + 1
        if not has_content(texts[start]):
            continue
        while (values := _parsed_piece(texts[start:number])) is None:  # a value may continue over several lines
            if number == len(texts):
                raise Unreadable("it continues to the end of the file.", line=start + 1)
            number += 1
        yield start, number, values


def _parsed_piece(texts: list[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads("\n".join((*texts, "")))
    except tomllib.TOMLDecodeError:
        return None


def _path(values: dict[str, Any]) -> Path:
    """Return the path that a header names; `values` is the header, parsed alone."""
    names: Path = ()
    while values:
        ((name, below),) = values.items()
        names, values = (*names, name), below[0] if isinstance(below, list) else below
    return names
