"""Edit a user's file without changing any line of it: lines are added, and others at most commented out.

So what was written can be recognised by its lines alone and removed again, and every other byte stays as it is.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from ppmctl.errors import PpmError

USERINFO = re.compile(r"//[^/@\s]*@")  # in a URL

_BOM = "\ufeff"
_MARK = "# "


class Unreadable(PpmError):
    """A file that can't be understood, so it is not changed; the message quotes nothing of it."""

    def __init__(self, why: str, *, line: int | None = None, hint: str = "") -> None:
        super().__init__(why if line is None else f"line {line}: {why}", hint=hint)


@dataclass(frozen=True, kw_only=True)
class Body:
    """A whole file: its lines, each with its end (\\n, \\r\\n, or nothing), and its byte order mark, if any."""

    lines: tuple[str, ...] = ()
    bom: str = ""

    @cached_property
    def texts(self) -> list[str]:
        """Return the lines without their ends."""
        return [line.rstrip("\r\n") for line in self.lines]

    @property
    def plain(self) -> str:
        """Return the text for a parser: without the byte order mark, each line with a line feed."""
        return "".join(f"{text}\n" for text in self.texts)

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        return (self.bom + "".join(self.lines)).encode("utf-8", "surrogateescape")

    def without(self, numbers: Collection[int]) -> Body:
        """Return the file without these lines; if its last line had no end, it has none again."""
        left = [line for number, line in enumerate(self.lines) if number not in numbers]
        last = len(self.lines) - 1
        if left and last in numbers and not self.lines[last].endswith("\n"):
            left[-1] = left[-1].rstrip("\r\n")
        return replace(self, lines=tuple(left))


@dataclass(frozen=True, kw_only=True)
class Add:
    """Lines that are put before the line `at`."""

    at: int
    texts: tuple[str, ...]

    @property
    def header(self) -> str | None:
        """Return the header among the lines, if there is one."""
        return next(filter(is_header, self.texts), None)


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A key with its value, from the line `start` up to `stop`, or a header, which has no values.

    `section`: the name of the header, or of the one above the key. `indent`: the white space before the key.
    """

    start: int
    stop: int
    section: Any
    values: dict[str, Any] = field(default_factory=dict)
    indent: str = ""


class Edit(ABC):
    """A planned edit of a file: lines to add and lines to comment out. `notes` are for the user.

    `touched` has the section and key of each value that gets one more line. Raise Unreadable where the file's own
    program could not read the file.
    """

    def __init__(self, body: Body) -> None:
        self.body = body
        self.statements = self.scan(body)
        self.adds: list[Add] = []
        self.commented: set[int] = set()
        self.touched: set[tuple[Any, str]] = set()
        self.notes: list[str] = []

    @classmethod
    @abstractmethod
    def scan(cls, body: Body) -> list[Statement]:
        """Return the statements of a file in their order. Raise Unreadable with the line."""

    @classmethod
    @abstractmethod
    def lines_of(cls, body: Body, added: Add) -> Collection[int]:
        """Return the numbers of the lines to delete so that `added` is gone; none if it is gone already."""

    @classmethod
    def check(cls, body: Body) -> None:
        """Raise Unreadable where the file's own program would reject it."""
        cls.scan(body)

    @property
    def is_empty(self) -> bool:
        """Return whether the file needs no change."""
        return not (self.adds or self.commented)

    def add(self, at: int, *texts: str) -> None:
        """Put lines before the line `at`."""
        self.adds.append(Add(at=at, texts=texts))

    def append(self, *texts: str) -> None:
        """Put lines at the end, below a blank one."""
        self.add(len(self.body.lines), *([""] if self.body.lines or self.adds else []), *texts)

    def comment_out(self, start: int, stop: int) -> None:
        """Comment out the lines from `start` up to `stop`."""
        self.commented |= {at for at in range(start, stop) if self.body.texts[at].strip()}

    def apply(self, mark: str) -> tuple[Body, tuple[Add, ...]]:
        """Return the edited file, and the added lines with their places in it."""
        lines = self.body.lines
        end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
        edited: list[str] = []
        added = []
        for number, line in enumerate((*lines, "")):
            for add in self.adds:
                if add.at == number:
                    added.append(Add(at=len(edited), texts=add.texts))
                    edited += [text + end for text in add.texts]
            if line:
                edited.append(mark + line if number in self.commented else line)
        if lines and not lines[-1].endswith("\n"):
            edited = [line if line.endswith("\n") else line + end for line in edited]
            edited[-1] = edited[-1].removesuffix(end)
        return replace(self.body, lines=tuple(edited)), tuple(added)

    def verified(self) -> Self:
        """Return the edit itself. Raise Unreadable unless every statement that it doesn't touch stays the same."""
        after, added = self.apply(_MARK)
        new = {each.at + offset for each in added for offset in range(len(each.texts))}
        if self._others(self.scan(after), new) != self._others(self.statements, self.commented):
            raise Unreadable("it can't be edited without changing something else.", hint="Edit it by hand.")
        return self

    def _others(self, statements: list[Statement], but: Collection[int]) -> list[tuple[Any, dict[str, Any]]]:
        return [
            (each.section, each.values)
            for each in statements
            if each.start not in but and (each.section, next(iter(each.values), "")) not in self.touched
        ]


def read(content: bytes) -> Body:
    """Return a file's lines. Raise Unreadable where it is not text."""
    text = content.decode("utf-8", "surrogateescape")
    bom = _BOM if text.startswith(_BOM) else ""
    *whole, last = text[len(bom) :].split("\n")
    lines = [f"{line}\n" for line in whole] + ([last] if last else [])
    for number, line in enumerate(lines, start=1):
        if "\0" in line or content.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise Unreadable("it is not text, or it is UTF-16.", line=number, hint="Save it as UTF-8.")
        if "\r" in line.removesuffix("\r\n"):
            hint = "Save it with \\n or \\r\\n as line ends."
            raise Unreadable("a carriage return without a line feed.", line=number, hint=hint)
    return Body(lines=tuple(lines), bom=bom)


def marker(client: str, name: str) -> str:
    """Return the start of each line that was commented out for an index."""
    return f"# (ppmctl {client} {name}) "


def find(body: Body, added: Add) -> range:
    """Return the numbers of the lines where all of `added` is, nearest to where it was put; none if it is nowhere.

    A blank line at its start may be missing.
    """
    for wanted in (added.texts, added.texts[1:]) if not added.texts[0].strip() else (added.texts,):
        texts, size = body.texts, len(wanted)
        starts = [at for at in range(len(texts) - size + 1) if tuple(texts[at : at + size]) == wanted]
        if starts:
            start = min(starts, key=lambda each: abs(each - added.at))
            return range(start, start + size)
    return range(0)


def is_header(text: str) -> bool:
    return text.lstrip().startswith("[")


def has_content(text: str) -> bool:
    """Return whether a line is neither blank nor a comment."""
    return bool(text.strip()) and not text.lstrip().startswith(("#", ";"))


def undo(kind: type[Edit], body: Body, added: Sequence[Add], mark: str) -> tuple[Body, tuple[str, ...]]:
    """Return the file without the added lines and with the lines that were commented out; and a note on what stays.

    A change that would leave an unreadable file, because others have edited it since, is not made.
    """
    notes = []
    for each in reversed(added):
        shorter = body.without(kind.lines_of(body, each))
        text = " / ".join(filter(str.strip, each.texts))
        if shorter == body:
            notes.append(f"what ppmctl wrote was changed or removed since then: {text}")
        elif _is_rejected(kind, shorter):
            notes.append(f"other lines depend on it now, so it stays: {text}")
        else:
            body = shorter
    restored = replace(body, lines=tuple(line.removeprefix(mark) for line in body.lines))
    if restored != body and _is_rejected(kind, restored):
        notes.append("what was commented out stays commented out, because another value is set now")
        return body, tuple(notes)
    return restored, tuple(notes)


def _is_rejected(kind: type[Edit], body: Body) -> bool:
    try:
        kind.check(body)
    except Unreadable:
        return True
    return False
