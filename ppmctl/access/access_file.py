"""Read and edit the entries of `access.yml`, a YAML mapping from names to rights.

ppm writes each entry on one line. An entry that is invalid or defined twice has no rights; the others still work.
What was written by hand stays as it is until that entry is changed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ppmctl import yaml_text
from ppmctl.access.rights import Access, check_role, stamp, with_holders
from ppmctl.distributions import name_glob
from ppmctl.errors import UsageError
from ppmctl.secret import masked

log = logging.getLogger(__name__)

HEADER = "# What each credential is for; `ppmctl user` and `ppmctl token` write it.\n"

_OURS = re.compile(r'("(?:[^"\\]|\\.)*"): (\{.*\})')
_GUESS = re.compile(r"""["']?([^"':]+?)["']?\s*:""")
_SHOWN, _REASON = 80, 200  # characters of a name and a reason in the log; what is invalid may be anything
_GLOB = re.compile(r"[a-z0-9*?\[\]!-]{1,200}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A piece of the file's text and the entries in it: mostly one, or none for comments.

    An entry that is not valid YAML has None for its values, and `problem` says why. `line` is that of its start.
    """

    text: str
    values: Mapping[Any, Any]
    line: int = 0
    problem: str = ""

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for name in self.values if isinstance(name, str))


def parse(text: str) -> tuple[Block, ...]:
    """Return the file's text in pieces, which together are the whole text."""
    blocks, line = [], 1
    for piece in _pieces(text):
        values, problem = _values(piece, line)
        blocks.append(Block(text=piece, values=values, line=line, problem=problem))
        line += piece.count("\n")
    return tuple(blocks)


def access(blocks: Iterable[Block], path: Path | None = None) -> dict[str, Access]:
    """Return the rights of each credential, with its holders. An invalid entry is left out.

    With the `path` of the file, invalid entries are logged.
    """
    entries: dict[str, Access] = {}
    blocks = tuple(blocks)
    times = Counter(name for block in blocks for name in block.values)
    for block in blocks:
        for name, written in block.values.items():
            try:
                entry = _access(name, written)
                problem = "" if times[name] == 1 else f"is defined twice, in lines {_lines(blocks, name)}"
            except (AttributeError, KeyError, TypeError, ValueError, UsageError) as exc:
                reason = block.problem or (masked(exc.phrase) if isinstance(exc, UsageError) else "")
                problem = f"is invalid ({reason[:_REASON]})" if reason else "is invalid"
            if not problem:
                entries[name] = entry
            elif path is not None:
                log.error("%s: the entry %r %s; it has no rights.", path, masked(str(name))[:_SHOWN], problem)
    return with_holders(entries)


def with_entry(blocks: Sequence[Block], name: str, entry: Access | None) -> tuple[Block, ...]:
    """Return the file with this entry for `name`, or without one; keys that ppm does not know stay in it."""
    edited: list[Block] = [] if any(block.text for block in blocks) else [Block(text=HEADER, values={})]
    values: dict[str, Any] = {}
    position: int | None = None
    for block in blocks:
        if name not in block.values:
            if block.text.strip() != "{}":  # an empty mapping: no entry can follow it
                edited.append(block)
            continue
        position = len(edited) if position is None else position
        written = block.values[name]
        values = {**written} if isinstance(written, dict) else values
        edited += [_block(other, others) for other, others in block.values.items() if other != name]
    if entry is not None:
        position = len(edited) if position is None else position
        edited.insert(position, _block(name, {**values, **_written(entry)}))
    return tuple(edited)


def as_text(blocks: Iterable[Block]) -> str:
    """Return the file's text, each piece on lines of its own."""
    return "".join(block.text if block.text.endswith("\n") else f"{block.text}\n" for block in blocks)


def _pieces(text: str) -> Iterator[str]:
    piece: list[str] = []
    between: list[str] = []  # comments and empty lines; they may be inside an entry
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


def _values(piece: str, line: int) -> tuple[Mapping[Any, Any], str]:
    """Return the entries of a piece that starts at `line`, and the problem if it is not valid YAML."""
    ours = _OURS.fullmatch(piece.rstrip("\n"))
    if ours:  # ppm writes JSON, which is faster to read than YAML
        with contextlib.suppress(ValueError, RecursionError):
            return {json.loads(ours[1]): json.loads(ours[2], object_pairs_hook=_unique)}, ""
    try:
        written = yaml_text.load(piece, first_line=line)
    except yaml_text.InvalidYaml as exc:
        guess = _GUESS.match(piece)
        return {guess[1] if guess else piece.strip(): None}, str(exc)
    if isinstance(written, dict):
        return written, ""
    return ({} if written is None else {piece.strip(): None}), ""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object. Raise ValueError for a name that it has twice."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError
    return values


def _lines(blocks: Iterable[Block], name: Any) -> str:
    return " and ".join(str(block.line) for block in blocks if name in block.values)


def _access(name: Any, written: Any) -> Access:
    projects, reads, disabled, tokens_only = map(written.get, ("projects", "reads", "disabled", "tokens_only"))
    # each letter of a text would count as a glob, and "*" matches every project
    has_types = isinstance(name, str) and isinstance(projects, list | None) and isinstance(reads, list | None)
    if not has_types or not all(isinstance(flag, bool | None) for flag in (disabled, tokens_only)):
        raise TypeError(name)
    email, by = written.get("email"), written.get("by")
    return Access(
        name=name,
        role=check_role(written["role"]),
        created=_plain(written.get("created", "")),
        projects=_projects(projects or []),
        reads=_projects(reads or []),
        expires=_expiry(written.get("expires")),
        disabled=bool(disabled),
        email=None if email is None else str(email),
        by=None if by is None else str(by),
        has_tokens_only=bool(tokens_only),
    )


def _projects(written: list[str]) -> tuple[str, ...]:
    """Return the globs of an entry. One that matches no name stays: it gives no right, and the others still do."""
    globs = tuple(dict.fromkeys(map(name_glob.normalise, written)))
    if not all(map(_GLOB.fullmatch, globs)):
        raise ValueError(written)
    return globs


def _expiry(written: Any) -> str | None:
    if isinstance(written, str) and datetime.fromisoformat(written).tzinfo is None:
        raise ValueError(written)
    return written if isinstance(written, str | None) else stamp(written)


def _written(entry: Access) -> dict[str, Any]:
    """Return the values of an entry for the file; None for a key that is left out."""
    return {
        "role": entry.role,
        "created": entry.created,
        "projects": list(entry.projects) or None,
        "reads": list(entry.reads) or None,
        "expires": entry.expires,
        "disabled": entry.disabled or None,
        "email": entry.email,
        "by": entry.by,
        "tokens_only": entry.has_tokens_only or None,
    }


def _block(name: Any, values: Any) -> Block:
    if isinstance(values, dict):
        values = {key: value for key, value in values.items() if value is not None}
    return Block(text=f"{json.dumps(name)}: {json.dumps(values, default=_plain)}\n", values={name: values})


def _plain(value: Any) -> str:
    return stamp(value) if isinstance(value, datetime) else str(value)
