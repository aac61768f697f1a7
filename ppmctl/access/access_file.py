"""The entries of `access.yml`: a YAML mapping of names, each entry from the start of a line to the next.

What ppm writes is one line an entry. An entry stands for itself: one that makes no sense, or stands there twice, has
no rights, and the others go on. Whatever somebody wrote by hand stays as it is until that entry is changed.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml

from ppmctl.access.rights import Access, check_projects, check_role, held, stamp
from ppmctl.errors import UsageError

log = logging.getLogger(__name__)

HEADER = "# What each credential is for; `ppmctl user` and `ppmctl token` write it.\n"

_OURS = re.compile(r'("(?:[^"\\]|\\.)*"): (\{.*\})')
_GUESS = re.compile(r"""["']?([^"':]+?)["']?\s*:""")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BROKEN = object()


@dataclass(frozen=True, kw_only=True)
class Block:
    """A piece of the file as it stands there: an entry (or several, on one line), or what is none."""

    text: str
    values: Mapping[Any, Any]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for name in self.values if isinstance(name, str))


def parse(text: str) -> tuple[Block, ...]:
    """The file's text in pieces; together they are the text."""
    return tuple(Block(text=piece, values=_values(piece)) for piece in _pieces(text))


def access(blocks: Iterable[Block], path: Path | None = None) -> dict[str, Access]:
    """What each credential is for, with its holders. An entry that makes no sense has no rights.

    Where the `path` of the file is given, that is logged.
    """
    found: dict[str, Access] = {}
    pairs = [pair for block in blocks for pair in block.values.items()]
    times = Counter(name for name, _written in pairs)
    for name, written in pairs:
        entry = _entry(name, written)
        if entry is not None and times[name] == 1:
            found[name] = entry
        elif path is not None:
            why = "makes no sense" if entry is None else "stands there twice"
            log.error("%s: the entry %r %s; it has no rights.", path, name, why)
    return held(found)


def with_entry(blocks: Sequence[Block], name: str, entry: Access | None) -> tuple[Block, ...]:
    """The file with `entry` for `name`, or without one; keys that ppm does not know stay in it."""
    left: list[Block] = [] if any(block.text for block in blocks) else [Block(text=HEADER, values={})]
    values: dict[str, Any] = {}
    place: int | None = None
    for block in blocks:
        if name not in block.values:
            if block.text.strip() != "{}":  # what an empty file may have; nothing can follow it
                left.append(block)
            continue
        place = len(left) if place is None else place
        written = block.values[name]
        values = {**written} if isinstance(written, dict) else values
        left += [_block(other, kept) for other, kept in block.values.items() if other != name]
    if entry is not None:
        left.insert(len(left) if place is None else place, _block(name, {**values, **_written(entry)}))
    return tuple(left)


def as_text(blocks: Iterable[Block]) -> str:
    """The file's text, each piece on lines of its own."""
    return "".join(block.text if block.text.endswith("\n") else f"{block.text}\n" for block in blocks)


def _pieces(text: str) -> Iterator[str]:
    piece: list[str] = []
    between: list[str] = []  # comments and empty lines, which may be within an entry
    for line in text.splitlines(keepends=True):
        if not line.strip() or line.startswith("#"):
            between.append(line)
        elif piece and line[0] in " \t-]}" and not line.startswith("---"):
            piece += [*between, line]
            between = []
        else:
            yield from map("".join, filter(None, (piece, between)))
            piece, between = [line], []
    yield from map("".join, filter(None, (piece, between)))


def _values(piece: str) -> Mapping[Any, Any]:
    ours = _OURS.fullmatch(piece.rstrip("\n"))
    try:
        if ours:  # JSON is YAML, and quicker to read
            return {json.loads(ours[1]): json.loads(ours[2])}
        written = yaml.load(piece, Loader=_LOADER)  # noqa: S506 - _LOADER is CSafeLoader or SafeLoader
    except (ValueError, yaml.YAMLError, RecursionError):
        guess = _GUESS.match(piece)
        return {guess[1] if guess else piece.strip(): _BROKEN}
    if isinstance(written, dict):
        return written
    return {} if written is None else {piece.strip(): _BROKEN}


def _entry(name: Any, written: Any) -> Access | None:
    try:
        return _access(name, written)
    except (AttributeError, KeyError, TypeError, ValueError, UsageError):
        return None


def _access(name: Any, written: Any) -> Access:
    projects, disabled, alone = (written.get(key) for key in ("projects", "disabled", "tokens_only"))
    if not isinstance(name, str):
        raise TypeError(name)
    if not isinstance(projects, list | None):
        raise TypeError(projects)  # a text would be taken for its letters, and a * among them for everything
    if not isinstance(disabled, bool | None) or not isinstance(alone, bool | None):
        raise TypeError(disabled)  # whatever it was meant to be
    created = written.get("created", "")
    return Access(
        name=name,
        role=check_role(written["role"]),
        created=stamp(created) if isinstance(created, datetime) else str(created),
        projects=check_projects(projects or ()),
        expires=_moment(written.get("expires")),
        disabled=bool(disabled),
        email=_text(written.get("email")),
        by=_text(written.get("by")),
        has_tokens_only=bool(alone),
    )


def _moment(written: Any) -> str | None:
    """A moment as YAML or a text has it; a date is its first in UTC. ValueError for one without a time zone."""
    if written is None:
        return None
    if isinstance(written, str):
        moment = datetime.fromisoformat(written)
        if moment.tzinfo is None:
            raise ValueError(written)
        return written
    if isinstance(written, datetime):
        return stamp(written if written.tzinfo else written.replace(tzinfo=UTC))
    if isinstance(written, date):
        return stamp(datetime(written.year, written.month, written.day, tzinfo=UTC))
    raise ValueError(written)


def _text(written: Any) -> str | None:
    return None if written is None else str(written)


def _written(entry: Access) -> dict[str, Any]:
    """The values of an entry that stand in the file; None for those that do not."""
    return {
        "role": entry.role,
        "created": entry.created,
        "projects": list(entry.projects) or None,
        "expires": entry.expires,
        "disabled": entry.disabled or None,
        "email": entry.email,
        "by": entry.by,
        "tokens_only": entry.has_tokens_only or None,
    }


def _block(name: Any, values: Any) -> Block:
    if values is _BROKEN:
        return Block(text="", values={})
    kept = {key: value for key, value in values.items() if value is not None} if isinstance(values, dict) else values
    text = f"{json.dumps(name)}: {json.dumps(kept, default=_plain)}\n"
    return Block(text=text, values={name: kept})


def _plain(value: Any) -> str:
    return stamp(value) if isinstance(value, datetime) else str(value)
