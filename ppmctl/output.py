"""The only printer: data goes to stdout, talk to stderr, progress bars to a terminal alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ppmctl.errors import PpmError

_LABEL = 10  # characters of the names of what is looked at


def data(text: str) -> None:
    """Print `text` and a newline to stdout: what a script may read."""
    print(text, flush=True)


def say(text: str) -> None:
    """Print `text` and a newline to stderr: what a person may read."""
    print(text, file=sys.stderr, flush=True)


def is_seen() -> bool:
    """Whether stderr is a terminal: somebody reads it as it comes."""
    return sys.stderr is not None and sys.stderr.isatty()


def event(text: str) -> None:
    """Print a line to stderr of what a progress bar shows, where there is none: without a terminal."""
    if not is_seen():
        say(text)


def raw(piece: bytes, *, error: bool) -> None:
    """Print what a command said elsewhere, as it came: to stderr if it was an `error` there, else to stdout."""
    stream = sys.stderr if error else sys.stdout
    if stream is not None:  # closed from the start: as with print, nobody is told
        stream.flush()
        stream.buffer.write(piece)
        stream.buffer.flush()


def as_json(value: Any) -> None:
    """Print `value` to stdout as one JSON document; in its strings what is not printable is an escape."""
    written = json.dumps(value, indent=2, ensure_ascii=False)
    data(
        "".join(letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1] for letter in written)
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, talk: bool = False) -> None:
    """Print `rows` under `header` to stdout, in columns as wide as their widest cell; `talk` to stderr."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        (say if talk else data)(text)


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


def fields(rows: Iterable[tuple[str, str]]) -> None:
    """Print labels with what each stands for to stdout, a line each."""
    rows = list(rows)
    width = max((len(label) for label, _text in rows), default=0) + 1
    for label, text in rows:
        data(f"{label + ':':{width}} {text}")


def finding(state: str, label: str, text: str, remedy: str) -> None:
    """Print what was looked at and found to stdout, and below it what mends it; a line each, whatever is in them."""
    data(_one_line(f"{state:4}  {label:{_LABEL}}  {text}"))
    if remedy:
        data(_one_line(f"{'':4}  {'':{_LABEL}}  → {remedy}"))


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def error(exc: PpmError) -> None:
    """Print a failure to stderr: the cause, then what to do. Nothing in it is obeyed by a terminal."""
    say(f"ppmctl: {_printable(exc.message)}")
    if exc.hint:
        say(f"        {_printable(exc.hint)}")


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text)


@contextmanager
def progress(label: str, total: int | None = None, *, unit: str = "files") -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr while the block runs; the yielded function advances it by a number.

    `unit` is "files" or "bytes". Without a terminal nothing is shown.
    """
    if not is_seen():
        yield lambda _step: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total)
        yield lambda step: bar.advance(task, step)
