"""Reports of long-running work: notes, and the progress of what takes over a second.

Code that does something reports here and prints nothing; the command line listens and prints the reports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

Step = Callable[[int], None]  # advances a progress bar by a number of files or bytes


@contextmanager
def _no_progress(_label: str, _total: int | None, _unit: str) -> Iterator[Step]:
    yield lambda _number: None


@dataclass(frozen=True, kw_only=True)
class Listener:
    """The receiver of reports: `note` takes a line of text, `progress` the label, total and unit of some work."""

    note: Callable[[str], None] = lambda _text: None
    progress: Callable[[str, int | None, str], AbstractContextManager[Step]] = _no_progress


_listener = Listener()


def listen(listener: Listener) -> None:
    """Send all reports to `listener` from now on."""
    global _listener
    _listener = listener


def note(text: str) -> None:
    """Report a line of text for a person."""
    _listener.note(text)


def progress(label: str, total: int | None = None, *, unit: str = "files") -> AbstractContextManager[Step]:
    """Report work on `total` files or bytes (`unit`); the value of the `with` block advances it by a number."""
    return _listener.progress(label, total, unit)
