"""A person's file as lines, of which none is ever changed: ours are added, and theirs are at most commented out.

So what was written can be told by the lines alone, and taken out again while all else stays as it is, byte for byte.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from ppmctl.errors import PpmError

_BOM = "\ufeff"
_MARK = "# "


class Unreadable(PpmError):
    """A file that can't be understood, so that nothing is changed in it; the message has no part of it."""

    def __init__(self, why: str, *, line: int | None = None, hint: str = "") -> None:
        where = "" if line is None else f"line {line}: "
        super().__init__(f"{where}{why}", hint=hint)


@dataclass(frozen=True, kw_only=True)
class Body:
    """A whole file: lines, each with its end (\\n, \\r\\n, or nothing), and the mark at its start, if it has one."""

    lines: tuple[str, ...] = ()
    bom: str = ""

    @cached_property
    def texts(self) -> list[str]:
        """The lines without their ends."""
        return [line.rstrip("\r\n") for line in self.lines]

    @property
    def plain(self) -> str:
        """The text for a parser: without the mark, each line with a line feed."""
        return "".join(f"{text}\n" for text in self.texts)

    def written(self) -> bytes:
        """Return the bytes of the file."""
        return (self.bom + "".join(self.lines)).encode("utf-8", "surrogateescape")

    def without(self, numbers: Collection[int]) -> Body:
        """Return the file without these lines; one that had no end at its end has none again."""
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
        """The header among the lines, if there is one."""
        return next(filter(is_header, self.texts), None)


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A key with its value, from the line `start` up to `stop`, or a header, which has no values.

    `section` is the name of the header above, or of the header; `indent` is what stands before the key.
    """

    start: int
    stop: int
    section: Any
    values: dict[str, Any] = field(default_factory=dict)
    indent: str = ""


class Edit(ABC):
    """What is to be done to a file: lines to add, lines to comment out; `notes` are for the reader.

    `touched` has the section and key of each value that grows by a line. Raise Unreadable if the file's own program
    could not read it.
    """

    def __init__(self, body: Body) -> None:
        self.body = body
        self.statements = self.scan(body)
        self.adds: list[Add] = []
        self.muted: set[int] = set()
        self.touched: set[tuple[Any, str]] = set()
        self.notes: list[str] = []

    @classmethod
    @abstractmethod
    def scan(cls, body: Body) -> list[Statement]:
        """Return the statements of a file in their order. Raise Unreadable with the line."""

    @classmethod
    @abstractmethod
    def of_ours(cls, body: Body, put: Add) -> Collection[int]:
        """Return the numbers of the lines to delete for `put` to be gone; none if it is not there any more."""

    @classmethod
    def check(cls, body: Body) -> None:
        """Raise Unreadable if the file's own program would stop at it."""
        cls.scan(body)

    @property
    def is_empty(self) -> bool:
        """Whether the file says already what is wanted."""
        return not (self.adds or self.muted)

    def add(self, at: int, *texts: str) -> None:
        """Put lines before the line `at`."""
        self.adds.append(Add(at=at, texts=texts))

    def append(self, *texts: str) -> None:
        """Put lines at the end, below a blank one."""
        self.add(len(self.body.lines), *([""] if self.body.lines or self.adds else []), *texts)

    def mute(self, start: int, stop: int) -> None:
        """Comment out the lines from `start` up to `stop`."""
        self.muted |= {at for at in range(start, stop) if self.body.texts[at].strip()}

    def made(self, mark: str) -> tuple[Body, tuple[Add, ...]]:
        """Return the file with the edits made, and where in it the lines are that were put in."""
        lines = self.body.lines
        end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
        made: list[str] = []
        puts = []
        for number, line in enumerate((*lines, "")):
            for add in self.adds:
                if add.at == number:
                    puts.append(Add(at=len(made), texts=add.texts))
                    made += [text + end for text in add.texts]
            if line:
                made.append(mark + line if number in self.muted else line)
        if lines and not lines[-1].endswith("\n"):
            made = [line if line.endswith("\n") else line + end for line in made]
            made[-1] = made[-1].removesuffix(end)
        return replace(self.body, lines=tuple(made)), tuple(puts)

    def proven(self) -> Self:
        """Return the edit itself. Raise Unreadable unless all that it leaves alone says the same afterwards."""
        after, puts = self.made(_MARK)
        added = {put.at + offset for put in puts for offset in range(len(put.texts))}
        if self._others(self.scan(after), added) != self._others(self.statements, self.muted):
            raise Unreadable("it can't be edited without changing something else.", hint="Edit it by hand.")
        return self

    def _others(self, statements: list[Statement], but: Collection[int]) -> list[tuple[Any, dict[str, Any]]]:
        return [
            (each.section, each.values)
            for each in statements
            if each.start not in but and (each.section, next(iter(each.values), "")) not in self.touched
        ]


def read(content: bytes) -> Body:
    """Return a file's lines. Raise Unreadable where they are no text."""
    text = content.decode("utf-8", "surrogateescape")
    bom = _BOM if text.startswith(_BOM) else ""
    *whole, last = text[len(bom) :].split("\n")
    lines = [f"{line}\n" for line in whole] + ([last] if last else [])
    for number, line in enumerate(lines, start=1):
        if "\0" in line or content.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise Unreadable("it is no text, or in UTF-16.", line=number, hint="Save it as UTF-8.")
        if "\r" in line.removesuffix("\r\n"):
            raise Unreadable("a carriage return stands alone there.", line=number, hint="Save it with \\n or \\r\\n.")
    return Body(lines=tuple(lines), bom=bom)


def marker(client: str, name: str) -> str:
    """Return what a line that was commented out for an index starts with."""
    return f"# (ppmctl {client} {name}) "


def find(body: Body, put: Add) -> range:
    """Return the numbers of the lines where `put` stands together, nearest to where it was put; none if nowhere.

    A blank line at its start may be missing.
    """
    for wanted in (put.texts, put.texts[1:]) if not put.texts[0].strip() else (put.texts,):
        there, size = body.texts, len(wanted)
        places = [at for at in range(len(there) - size + 1) if tuple(there[at : at + size]) == wanted]
        if places:
            at = min(places, key=lambda each: abs(each - put.at))
            return range(at, at + size)
    return range(0)


def is_header(text: str) -> bool:
    return text.lstrip().startswith("[")


def says_something(text: str) -> bool:
    """Return whether a line is neither blank nor a comment."""
    return bool(text.strip()) and not text.lstrip().startswith(("#", ";"))


def undone(form: type[Edit], body: Body, puts: Sequence[Add], mark: str) -> tuple[Body, tuple[str, ...]]:
    """Return the file without what was put in, with what was commented out; and what had to stay, in words.

    What would leave a file that can't be read, as others changed it in between, stays.
    """
    left = []
    for put in reversed(puts):
        taken = body.without(form.of_ours(body, put))
        if taken == body:
            left.append("what ppmctl wrote is not there as it was: " + " / ".join(filter(str.strip, put.texts)))
        elif _fails(form, taken):
            left.append("others' lines need it now, so it stays: " + " / ".join(filter(str.strip, put.texts)))
        else:
            body = taken
    restored = replace(body, lines=tuple(line.removeprefix(mark) for line in body.lines))
    if restored != body and _fails(form, restored):
        left.append("what was commented out stays so: something else stands in its place now")
        return body, tuple(left)
    return restored, tuple(left)


def _fails(form: type[Edit], body: Body) -> bool:
    try:
        form.check(body)
    except Unreadable:
        return True
    return False
