"""Files of TOML (uv.toml, pyproject.toml), edited as text: an index is a table of its own at the end."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ppmctl.clients.lines import Add, Body, Mute, Plan, Unreadable, cut, edited, find, is_header, says_something

Path = tuple[str, ...]

_USERINFO = re.compile(r"//[^/@]*@")


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A header or a key with its value, from the line `start` up to `stop`."""

    start: int
    stop: int
    header: bool
    parsed: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as it is written: from the line `start`, its header's, up to `stop`; () for the file's own keys."""

    path: Path
    start: int
    stop: int
    keys: tuple[Statement, ...]

    @property
    def values(self) -> dict[str, Any]:
        """Its own keys; what stands in tables below it is not among them."""
        return {name: value for key in self.keys for name, value in key.parsed.items()}


def parsed(body: Body) -> dict[str, Any]:
    """What the file says. Unreadable, with the line."""
    try:
        return tomllib.loads(body.plain)
    except tomllib.TOMLDecodeError as exc:
        found = re.search(r"^(.*) \(at line (\d+), column \d+\)$", str(exc))
        why, line = (found[1], int(found[2])) if found else (str(exc).partition(" (")[0], None)
        raise Unreadable(f"it is not TOML: {why}.", line=line) from None
    except RecursionError:
        raise Unreadable("it is nested too deeply.") from None


def tables(body: Body) -> list[Table]:
    """The tables as they are written, in their order; the file's own keys are the first. Unreadable."""
    parsed(body)
    found: list[Table] = [Table(path=(), start=0, stop=0, keys=())]
    for each in _statements(body):
        if each.header:
            found.append(Table(path=_path(each.parsed), start=each.start, stop=each.stop, keys=()))
        else:
            last = found[-1]
            found[-1] = Table(path=last.path, start=last.start, stop=each.stop, keys=(*last.keys, each))
    return found


def lookup(values: Mapping[str, Any], path: Path) -> Any:
    """What stands at `path`, or None."""
    found: Any = values
    for name in path:
        if not isinstance(found, dict) or name not in found:
            return None
        found = found[name]
    return found


def muted(body: Body, start: int, stop: int) -> list[Add | Mute]:
    """The edits that comment out what the lines from `start` up to `stop` say."""
    return [Mute(at=at) for at in range(start, stop) if body.texts[at].strip()]


def appended(body: Body, lines: list[str]) -> Add:
    """The edit that puts a table at the end."""
    return Add(at=len(body.lines), texts=(*([""] if body.lines else []), *lines))


def put(
    body: Body, path: Path, lines: list[str], in_place_of: Callable[[dict[str, Any]], bool] = lambda _values: False
) -> list[Add | Mute]:
    """The edits that have a table of the array at `path` as `lines` are, in place of what has its name and of others.

    Unreadable where that name is another URL's, or the array is not written as tables.
    """
    ours = lookup(tomllib.loads("\n".join(lines)), path)[0]
    there = lookup(parsed(body), path) or []
    written = [table for table in tables(body) if table.path == path]
    if there != [table.values for table in written]:
        raise Unreadable(
            f"{'.'.join(path)} is not written as [[{'.'.join(path)}]].", hint="Write it so, or paste what is printed."
        )
    edits: list[Add | Mute] = []
    for table in written:
        if table.values.get("name") == ours["name"] and not _same_place(table.values.get("url"), ours["url"]):
            raise Unreadable(
                f"{ours['name']!r} is another index there.", line=table.start + 1, hint="Call this one --name OTHER."
            )
        if table.values != ours and (table.values.get("name") == ours["name"] or in_place_of(table.values)):
            edits += muted(body, table.start, table.stop)
    if ours not in there:
        edits.append(appended(body, lines))
    return edits


def proven(body: Body, edits: list[Add | Mute], notes: Sequence[str] = ()) -> Plan:
    """The edits as a plan, once it is sure that what they leave alone says the same. Unreadable if not."""
    after, puts = edited(body, edits, "# ")
    without_ours = after
    for each in reversed(puts):
        without_ours = cut(without_ours, each.at, each.at + len(each.texts))
    commented = [Mute(at=edit.at) for edit in edits if isinstance(edit, Mute)]
    left = parsed(edited(body, commented, "# ")[0])
    expected = parsed(edited(body, commented, "# ")[0])
    for each in puts:
        _merge(expected, tomllib.loads("\n".join(each.texts)))
    if not _is_part(left, parsed(body)) or parsed(without_ours) != left or parsed(after) != expected:
        raise Unreadable("it can't be edited without changing something else.", hint="Edit it by hand.")
    return Plan(edits=tuple(edits), notes=tuple(notes))


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, dict):
            _merge(into.setdefault(name, {}), value)
        elif isinstance(value, list):
            into[name] = [*into.get(name, []), *value]
        else:
            into[name] = value


def _is_part(some: Any, whole: Any) -> bool:
    """Whether `whole` says all that `some` says, in the same places and order."""
    if isinstance(some, dict) and isinstance(whole, dict):
        return all(name in whole and _is_part(value, whole[name]) for name, value in some.items())
    if isinstance(some, list) and isinstance(whole, list):
        rest = iter(whole)
        return all(any(value == other for other in rest) for value in some)
    return bool(some == whole)


def _same_place(url: object, other: str) -> bool:
    return isinstance(url, str) and _USERINFO.sub("//", url).rstrip("/") == _USERINFO.sub("//", other).rstrip("/")


def take(body: Body, put: Add) -> Body | None:
    """The file without the lines that were put in; of a table of ours, with what others wrote into it."""
    texts = put.texts
    at = find(body, texts, put.at)
    if at is None and not texts[0].strip():
        texts = texts[1:]
        at = find(body, texts, put.at)
    if not any(map(is_header, texts)):
        return None if at is None else cut(body, at, at + len(texts))
    table = _ours(body, tuple(filter(str.strip, texts)))
    if table is None:
        return None
    start = table.start
    if start and not put.texts[0].strip() and not body.texts[start - 1].strip():
        start -= 1
    return cut(body, start, table.stop)


def _ours(body: Body, texts: tuple[str, ...]) -> Table | None:
    """The table that these lines were written as: of the same place, name and URL."""
    written = tomllib.loads("\n".join(texts))
    for table in tables(body):
        if not table.path or body.texts[table.start].strip() != texts[0]:
            continue
        ours = lookup(written, table.path)[0]
        if all(table.values.get(name) == ours[name] for name in ("name", "url")):
            return table
    return None


def _statements(body: Body) -> Iterator[Statement]:
    number, texts = 0, body.texts
    while number < len(texts):
        if not says_something(texts[number]):
            number += 1
            continue
        start, piece = number, ""
        while True:  # a value may go on over several lines; the first that is whole is all of it
            piece += f"{texts[number]}\n"
            number += 1
            try:
                found = tomllib.loads(piece)
                break
            except tomllib.TOMLDecodeError:
                if number == len(texts):
                    raise Unreadable("it goes on to the end of the file.", line=start + 1) from None
        yield Statement(start=start, stop=number, header=is_header(texts[start]), parsed=found)


def _path(header: Mapping[str, Any]) -> Path:
    names: list[str] = []
    found: Any = header
    while found:
        if isinstance(found, list):
            found = found[0]
            continue
        (name,) = found
        names.append(name)
        found = found[name]
    return tuple(names)
