"""The only printer: results go to stdout, notes and errors to stderr, progress bars to a terminal alone.

On a terminal a result is aligned and coloured (NO_COLOR is obeyed), sizes are in kB and MB and times in the local
zone. Anywhere else the same result is plain, with sizes in bytes and times in UTC.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields as fields_of
from dataclasses import is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

from ppmctl.errors import PpmError

if TYPE_CHECKING:
    from rich.console import Console

_LINES = "\n\t"
_LABEL = 10  # characters of the names of what is looked at
_COLOURS = {
    **dict.fromkeys(("ok", "active", "done"), "green"),
    **dict.fromkeys(("warn", "disabled", "no secret", "differs", "extra"), "yellow"),
    **dict.fromkeys(("fail", "expired", "missing"), "bold red"),
}


class Bytes(int):
    """A number of bytes in a table: 12.3 kB on a terminal, else 12345."""


Cell = str | int | Bytes | bool | datetime | None  # None is shown as a dash


def data(*lines: str) -> None:
    """Print lines to stdout: what a script may read."""
    for line in lines:
        print(line, flush=True)


def say(*lines: str) -> None:
    """Print lines to stderr: what a person may read."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def stderr_is_terminal() -> bool:
    """Whether a person may watch stderr."""
    return _is_terminal(sys.stderr)


def _is_terminal(stream: IO[str] | None) -> bool:
    return stream is not None and stream.isatty()


def raw(piece: bytes) -> None:
    """Print what a command printed on another machine to stdout, as it came."""
    if sys.stdout is not None:  # closed from the start: as with print, nobody is told
        sys.stdout.flush()
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


class _Renaming:
    """A stream of text that prints other names for some paths."""

    def __init__(self, stream: TextIO, names: Mapping[str, str]) -> None:
        self._stream = stream
        self._names = names

    def write(self, text: str) -> int:
        for path, name in self._names.items():
            text = text.replace(path, name)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def rename(names: Mapping[str, str]) -> None:
    """Print, from now on, other names for some paths: `names` maps each path to its name."""
    sys.stdout, sys.stderr = (cast(TextIO, _Renaming(stream, names)) for stream in (sys.stdout, sys.stderr))


def as_json(value: Any) -> None:
    """Print `value` to stdout as one JSON document; in its strings what is not printable is an escape.

    A dataclass is an object with its fields, a path a string.
    """
    written = json.dumps(value, indent=2, ensure_ascii=False, default=_json)
    data(
        "".join(letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1] for letter in written)
    )


def _json(value: Any) -> Any:
    if is_dataclass(value):
        return {each.name: getattr(value, each.name) for each in fields_of(value)}
    if isinstance(value, Path):
        return str(value)
    raise TypeError(value)


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]], *, talk: bool = False) -> None:
    """Print `rows` under `header` in aligned columns to stdout, with `talk` to stderr."""
    stream = sys.stderr if talk else sys.stdout
    is_terminal = _is_terminal(stream)
    lines = [[_cell(cell, is_terminal=is_terminal) for cell in row] for row in rows]
    if is_terminal:
        from rich.table import Table
        from rich.text import Text

        shown = Table(box=None, pad_edge=False, header_style="bold")
        for name in header:
            shown.add_column(name, overflow="fold")
        for line in lines:
            shown.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in line))
        _console(stream).print(shown)
        return
    widths = [max(len(line[column]) for line in [list(header), *lines]) for column in range(len(header))]
    for line in [list(header), *lines]:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        (say if talk else data)(text)


def _console(stream: IO[str]) -> Console:
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False)


def _cell(cell: Cell, *, is_terminal: bool) -> str:
    """The text of a cell, on one line."""
    if cell is None or isinstance(cell, bool):
        return "-" if cell is None else "yes" if cell else "no"
    if isinstance(cell, datetime):
        moment = cell.astimezone() if is_terminal else cell.astimezone(UTC)
        return f"{moment:%Y-%m-%d %H:%M}" if is_terminal else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(cell, Bytes) and is_terminal:
        return size(cell)
    return _printable(str(cell))


def moment(text: str | None) -> Cell:
    """Return a time in ISO 8601 as a cell; text that is no time stays text."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return text


def count(number: int, noun: str) -> str:
    """A number of things: 1 file, 2 files."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def size(number: int) -> str:
    """A number of bytes, for people: 812 B, 12.3 kB, 4.0 GB."""
    if number < 1000:
        return f"{number} B"
    for unit in ("kB", "MB"):
        number_of = number / (1000 if unit == "kB" else 1_000_000)
        if number_of < 999.95:
            return f"{number_of:.1f} {unit}"
    return f"{number / 1_000_000_000:.1f} GB"


def fields(rows: Iterable[tuple[str, Cell]]) -> None:
    """Print labels, each with its value, to stdout, a line each."""
    is_terminal = _is_terminal(sys.stdout)
    lines = [(label, _cell(cell, is_terminal=is_terminal)) for label, cell in rows]
    width = max((len(label) for label, _text in lines), default=0) + 1
    for label, text in lines:
        _print(f"{label + ':':{width}}", "bold", f" {text}")


def finding(state: str, label: str, text: str, remedy: str) -> None:
    """Print a check's state, name and finding to stdout, and below it the remedy, a line each."""
    _print(f"{state:4}", _COLOURS.get(state, ""), _printable(f"  {label:{_LABEL}}  {text}"))
    if remedy:
        data(_printable(f"{'':4}  {'':{_LABEL}}  → {remedy}"))


def _print(start: str, style: str, rest: str) -> None:
    """Print a line to stdout whose `start` has a `style` on a terminal."""
    if not _is_terminal(sys.stdout):
        data(start + rest)
        return
    from rich.text import Text

    _console(sys.stdout).print(Text(start, style=style) + Text(rest), soft_wrap=True)


def _printable(text: str, *, also: str = "") -> str:
    return "".join(letter if letter.isprintable() or letter in also else "?" for letter in text)


def error(exc: PpmError, *, in_json: bool = False) -> None:
    """Print a failure: the cause, then what to do. To stderr for a person, where a terminal obeys nothing in it.

    With `in_json` to stdout, in the one form that docs/commands.md describes.
    """
    if in_json:
        cause = {"message": exc.message, "hint": exc.hint or None, "exit_code": exc.exit_code}
        as_json({**exc.done, "error": cause})
        return
    say(f"ppmctl: {_printable(exc.message, also=_LINES)}")
    if exc.hint:
        say(f"        {_printable(exc.hint, also=_LINES)}")


@contextmanager
def progress(label: str, total: int | None = None, unit: str = "files") -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr while the block runs; the yielded function advances it by a number.

    `unit` is "files" or "bytes". Without a total the bar shows how long it has taken; without a terminal there is
    no bar.
    """
    if not stderr_is_terminal():
        yield lambda _step: None
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    amounts: tuple[ProgressColumn, ...] = (TimeElapsedColumn(),)
    if total is not None:
        amounts = (DownloadColumn() if unit == "bytes" else MofNCompleteColumn(), TimeRemainingColumn())
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), *amounts)
    # rich would print on stderr what goes to stdout meanwhile: no harm where both are one terminal
    is_shared = _is_terminal(sys.stdout)
    with Progress(*columns, console=_console(sys.stderr), transient=True, redirect_stdout=is_shared) as bar:
        task = bar.add_task(label, total=total)
        yield lambda step: bar.advance(task, step)
