"""The only module that prints: results to stdout, notes and errors to stderr, progress bars only to a terminal.

On a terminal results are aligned and coloured (NO_COLOR is obeyed), with sizes in kB and MB and local times.
Anywhere else they are plain, with sizes in bytes and times in UTC.

A text may come from a stranger: a file's name, an answer of a server. A terminal obeys control characters, and some
reverse the order of the others, so all that are not printable become a ?; in JSON they are escaped.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields as fields_of
from dataclasses import is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

from ppmctl.errors import PpmError
from ppmctl.secret import masked

if TYPE_CHECKING:
    from rich.console import Console

_LABEL = 10  # characters of the name of a check
_COLOURS = {
    **dict.fromkeys(("ok", "active", "done"), "green"),
    **dict.fromkeys(("warn", "disabled", "no secret", "differs", "extra"), "yellow"),
    **dict.fromkeys(("fail", "expired", "missing"), "bold red"),
}


class Bytes(int):
    """A number of bytes in a table: 12.3 kB on a terminal, else 12345."""


Cell = str | int | Bytes | bool | datetime | None  # None is shown as a dash


def data(*lines: str) -> None:
    """Print lines to stdout, for a script. A text with several lines is for `block`."""
    for line in lines:
        print(_printable(line, also="\t"), flush=True)


def say(*lines: str) -> None:
    """Print lines to stderr, for a person."""
    for line in lines:
        print(_printable(line, also="\t"), file=sys.stderr, flush=True)


def block(text: str, *, talk: bool = False) -> None:
    """Print a text of several lines to stdout, or with `talk` to stderr."""
    stream = sys.stderr if talk else sys.stdout
    print(_printable(text.replace("\r\n", "\n"), also="\n\t"), file=stream, flush=True)


class LogHandler(logging.Handler):
    """Prints what is logged where nothing else is set up for it, with the paths that strangers requested."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record to stderr."""
        try:
            block(self.format(record), talk=True)
        except Exception:
            self.handleError(record)


def stderr_is_terminal() -> bool:
    """Return whether stderr is a terminal."""
    return _is_terminal(sys.stderr)


def _is_terminal(stream: IO[str] | None) -> bool:
    return stream is not None and stream.isatty()


def raw(piece: bytes) -> None:
    """Print the bytes that a command printed on another machine to stdout, unchanged."""
    if sys.stdout is not None:  # it was closed from the start: `print` does nothing then either
        sys.stdout.flush()
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


class _Renaming:
    """A text stream that prints other names for some paths."""

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
    """Print other names for some paths from now on: `names` maps each path to its name."""
    sys.stdout, sys.stderr = (cast(TextIO, _Renaming(stream, names)) for stream in (sys.stdout, sys.stderr))


def as_json(value: Any) -> None:
    """Print `value`, which may hold dataclasses and paths, to stdout as JSON; unprintable characters are escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=_json)
    block("".join(letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1] for letter in text))


def _json(value: Any) -> Any:
    if is_dataclass(value):
        return {each.name: getattr(value, each.name) for each in fields_of(value)}
    if isinstance(value, Path):
        return str(value)
    raise TypeError(value)


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]], *, talk: bool = False) -> None:
    """Print `rows` under `header` in aligned columns to stdout, or with `talk` to stderr."""
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
    lines.insert(0, list(header))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        (say if talk else data)(text)


def _console(stream: IO[str]) -> Console:
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False)


def _cell(cell: Cell, *, is_terminal: bool) -> str:
    """Return the text of a cell."""
    if cell is None or isinstance(cell, bool):
        return "-" if cell is None else "yes" if cell else "no"
    if isinstance(cell, datetime):
        moment = cell.astimezone() if is_terminal else cell.astimezone(UTC)
        return f"{moment:%Y-%m-%d %H:%M}" if is_terminal else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(cell, Bytes) and is_terminal:
        return size(cell)
    return _printable(str(cell))


def moment(text: str | None) -> Cell:
    """Return a time in ISO 8601 as a cell; any other text stays text."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return text


def count(number: int, noun: str) -> str:
    """Return a number with its noun: 1 file, 2 files."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def size(number: int) -> str:
    """Return a number of bytes for people: 812 B, 12.3 kB, 4.0 GB."""
    if number < 1000:
        return f"{number} B"
    for unit, factor in (("kB", 1_000), ("MB", 1_000_000)):
        if number / factor < 999.95:
            return f"{number / factor:.1f} {unit}"
    return f"{number / 1_000_000_000:.1f} GB"


def fields(rows: Iterable[tuple[str, Cell]]) -> None:
    """Print labels with their values to stdout, one a line."""
    is_terminal = _is_terminal(sys.stdout)
    lines = [(label, _cell(cell, is_terminal=is_terminal)) for label, cell in rows]
    width = max((len(label) for label, _text in lines), default=0) + 1
    for label, text in lines:
        _print(f"{label + ':':{width}}", "bold", f" {text}")


def finding(state: str, label: str, text: str, remedy: str) -> None:
    """Print a check's state, name and finding to stdout, and its remedy on the next line."""
    _print(f"{state:4}", _COLOURS.get(state, ""), f"  {label:{_LABEL}}  {text}")
    if remedy:
        data(f"{'':4}  {'':{_LABEL}}  → {remedy}")


def _print(start: str, style: str, rest: str) -> None:
    """Print a line to stdout, on a terminal with its `start` in a `style`."""
    start, rest = _printable(start), _printable(rest)
    if not _is_terminal(sys.stdout):
        data(start + rest)
        return
    from rich.text import Text

    _console(sys.stdout).print(Text(start, style=style) + Text(rest), soft_wrap=True)


def _printable(text: str, *, also: str = "") -> str:
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in also else "?" for letter in text)


def error(exc: PpmError, *, in_json: bool = False) -> None:
    """Print the cause of a failure and its hint to stderr, with *** instead of secrets.

    With `in_json` print them to stdout, in the form that docs/commands.md describes.
    """
    message, hint = masked(exc.message), masked(exc.hint)
    if in_json:
        as_json({**exc.done, "error": {"message": message, "hint": hint or None, "exit_code": exc.exit_code}})
        return
    block(f"ppmctl: {message}", talk=True)
    if hint:
        block(f"        {hint}", talk=True)


@contextmanager
def progress(label: str, total: int | None = None, unit: str = "files") -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr while the block runs; yield a function that advances it by a number.

    `unit` is "files" or "bytes". Without a total it shows the elapsed time. Without a terminal there is no bar.
    """
    if not stderr_is_terminal():
        yield lambda _step: None
        return
    import rich.progress

    columns = [rich.progress.TextColumn("{task.description}", markup=False), rich.progress.BarColumn()]
    if total is None:
        columns.append(rich.progress.TimeElapsedColumn())
    else:
        columns.append(rich.progress.DownloadColumn() if unit == "bytes" else rich.progress.MofNCompleteColumn())
        columns.append(rich.progress.TimeRemainingColumn())
    # rich would print to stderr what goes to stdout meanwhile: harmless only if both are one terminal
    is_shared = _is_terminal(sys.stdout)
    bar = rich.progress.Progress(*columns, console=_console(sys.stderr), transient=True, redirect_stdout=is_shared)
    with bar:
        task = bar.add_task(_printable(label), total=total)
        yield lambda step: bar.advance(task, step)
