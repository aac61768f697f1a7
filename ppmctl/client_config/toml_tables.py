"""Files of TOML (uv.toml, pyproject.toml), edited as text: an index is a table of its own at the end."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ppmctl.client_config.index_target import toml
from ppmctl.client_config.lines import Add, Body, Edit, Statement, Unreadable, find, is_header, says_something

Path = tuple[str, ...]

_USERINFO = re.compile(r"//[^/@]*@")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as it is written: from the line `start`, its header's, up to `stop`; () for the file's own keys.

    `values` are its own keys; what stands in tables below it is not among them.
    """

    path: Path
    start: int
    stop: int
    values: dict[str, Any]


def parsed(body: Body) -> dict[str, Any]:
    """Return what the file says. Raise Unreadable with the line."""
    try:
        return tomllib.loads(body.plain)
    except tomllib.TOMLDecodeError as exc:
        found = re.search(r"^(.*) \(at line (\d+), column \d+\)$", str(exc))
        why, line = (found[1], int(found[2])) if found else (str(exc).partition(" (")[0], None)
        raise Unreadable(f"it is not TOML: {why}.", line=line) from None
    except RecursionError:
        raise Unreadable("it is nested too deeply.") from None


def lookup(values: Mapping[str, Any], path: Path) -> Any:
    """Return what stands at `path`, or None."""
    found: Any = values
    for name in path:
        if not isinstance(found, dict) or name not in found:
            return None
        found = found[name]
    return found


class TomlEdit(Edit):
    """An edit of a file that is TOML."""

    @classmethod
    def scan(cls, body: Body) -> list[Statement]:
        """Return the headers and keys, each with the path of its table."""
        parsed(body)
        found: list[Statement] = []
        path: Path = ()
        for start, stop, values in _pieces(body.texts):
            if is_header(body.texts[start]):
                path, values = _path(values), {}
            found.append(Statement(start=start, stop=stop, section=path, values=values))
        return found

    @classmethod
    def of_ours(cls, body: Body, put: Add) -> Collection[int]:
        """Return the lines of `put`; of a table of the same place, name and URL also what others wrote into it."""
        if put.header is None:
            return find(body, put)
        wanted = tomllib.loads("\n".join(text for text in put.texts if text != put.header))
        for table in tables(cls.scan(body)):
            is_same = all(table.values.get(name) == wanted[name] for name in ("name", "url"))
            if is_same and body.texts[table.start].strip() == put.header:
                is_blank = table.start > 0 and not body.texts[table.start - 1].strip() and not put.texts[0].strip()
                return range(table.start - is_blank, table.stop)
        return ()

    def set_top(self, name: str, value: str) -> None:
        """Set one of the file's own keys, instead of another value, which is commented out."""
        top = [each for each in self.statements if not each.section]
        there = [each for each in top if name in each.values]
        if any(each.values == {name: value} for each in there):
            return
        blank = [] if top or not self.body.lines else [""]
        self.add(top[-1].stop if top else 0, f"{name} = {toml(value)}", *blank)
        for each in there:
            self.mute(each.start, each.stop)

    def mute_key(self, path: Path, name: str) -> None:
        """Comment out a key of a table."""
        for each in self.statements:
            if each.section == path and name in each.values:
                self.mute(each.start, each.stop)

    def put(
        self,
        path: Path,
        ours: dict[str, Any],
        is_replaced: Callable[[dict[str, Any]], bool] = lambda _values: False,
    ) -> list[dict[str, Any]]:
        """Put a table at the end of the array at `path`; return the other tables that are left there.

        Those of its name, and those that `is_replaced`, are commented out. Raise Unreadable where that name is
        another URL's, or the array is not written as tables.
        """
        name = ".".join(path)
        there = [table for table in tables(self.statements) if table.path == path]
        if (lookup(parsed(self.body), path) or []) != [table.values for table in there]:
            raise Unreadable(f"{name} is not written as [[{name}]].", hint="Write it so, or paste what is printed.")
        left = []
        for table in there:
            has_name = table.values.get("name") == ours["name"]
            if has_name and not _is_same_place(table.values.get("url"), ours["url"]):
                raise Unreadable(
                    f"{ours['name']!r} is another index there.",
                    line=table.start + 1,
                    hint="Call this one --name OTHER.",
                )
            if table.values != ours and (has_name or is_replaced(table.values)):
                self.mute(table.start, table.stop)
            elif table.values != ours:
                left.append(table.values)
        if all(table.values != ours for table in there):
            self.append(*written(path, ours))
        return left


def written(path: Path, values: Mapping[str, str | bool]) -> list[str]:
    """Return the lines of a table of the array at `path`."""
    return [f"[[{'.'.join(path)}]]", *(f"{name} = {toml(value)}" for name, value in values.items())]


def tables(statements: list[Statement]) -> Iterator[Table]:
    """Yield the tables as they are written, in their order; the file's own keys are none."""
    starts = [number for number, each in enumerate(statements) if each.section and not each.values]
    for start, stop in pairwise([*starts, len(statements)]):
        own = statements[start:stop]
        values = {name: value for each in own for name, value in each.values.items()}
        yield Table(path=own[0].section, start=own[0].start, stop=own[-1].stop, values=values)


def _is_same_place(url: object, other: str) -> bool:
    return isinstance(url, str) and _USERINFO.sub("//", url).rstrip("/") == _USERINFO.sub("//", other).rstrip("/")


def _pieces(texts: list[str]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield what stands in the file piece by piece: its first line, the line after its last, and what it says."""
    number = 0
    while number < len(texts):
        start, number = number, number + 1
        if not says_something(texts[start]):
            continue
        while (values := _parsed_piece(texts[start:number])) is None:  # a value may go on over several lines
            if number == len(texts):
                raise Unreadable("it goes on to the end of the file.", line=start + 1)
            number += 1
        yield start, number, values


def _parsed_piece(texts: list[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads("\n".join((*texts, "")))
    except tomllib.TOMLDecodeError:
        return None


def _path(values: dict[str, Any]) -> Path:
    """Return the path that a header, parsed by itself, names."""
    names: Path = ()
    while values:
        ((name, below),) = values.items()
        names, values = (*names, name), below[0] if isinstance(below, list) else below
    return names
