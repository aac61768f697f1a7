"""A person's file as lines, of which none is ever changed: ours are added, and theirs are at most commented out.

So what was written can be told by the lines alone, and taken out again while all else stays as it is, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ppmctl.errors import PpmError

_BOM = "\ufeff"


class Unreadable(PpmError):
    """A file that can't be understood, so that nothing is changed in it; the message has no part of it."""

    def __init__(self, why: str, *, line: int | None = None, hint: str = "") -> None:
        where = "" if line is None else f"line {line}: "
        super().__init__(f"{where}{why}", hint=hint)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line's text, and how it ends: \\n, \\r\\n, or nothing."""

    text: str
    end: str


@dataclass(frozen=True, kw_only=True)
class Body:
    """A whole file; `bom` is the mark at its start, if it has one."""

    lines: tuple[Line, ...] = ()
    bom: str = ""

    @property
    def texts(self) -> list[str]:
        return [line.text for line in self.lines]

    @property
    def plain(self) -> str:
        """The text for a parser: without the mark, each line with a line feed."""
        return "".join(f"{line.text}\n" for line in self.lines)

    def written(self) -> bytes:
        """The bytes of the file."""
        return (self.bom + "".join(line.text + line.end for line in self.lines)).encode("utf-8", "surrogateescape")


@dataclass(frozen=True, kw_only=True)
class Add:
    """Lines to put before the line `at`, which are there together, or were put there."""

    at: int
    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Mute:
    """The line `at` to comment out."""

    at: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done to a file: nothing, where it says already what is wanted; `notes` are for who reads."""

    edits: tuple[Add | Mute, ...] = ()
    notes: tuple[str, ...] = ()


def read(content: bytes) -> Body:
    """A file's lines. Unreadable where they are no text."""
    text = content.decode("utf-8", "surrogateescape")
    bom = _BOM if text.startswith(_BOM) else ""
    pieces = text[len(bom) :].split("\n")
    lines = [Line(text=piece, end="\n") for piece in pieces[:-1]]
    if pieces[-1]:
        lines.append(Line(text=pieces[-1], end=""))
    found = []
    for number, line in enumerate(lines, start=1):
        if line.text.endswith("\r"):
            line = Line(text=line.text[:-1], end=f"\r{line.end}")
        if "\0" in line.text or content.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise Unreadable("it is no text, or in UTF-16.", line=number, hint="Save it as UTF-8.")
        if "\r" in line.text or line.end == "\r":
            raise Unreadable("a carriage return stands alone there.", line=number, hint="Save it with \\n or \\r\\n.")
        found.append(line)
    return Body(lines=tuple(found), bom=bom)


def marker(client: str, name: str) -> str:
    """What a line that was commented out for an index starts with."""
    return f"# (ppmctl {client} {name}) "


def edited(body: Body, edits: Iterable[Add | Mute], mark: str) -> tuple[Body, tuple[Add, ...]]:
    """The file with the edits made, and where in it the lines are that were put in."""
    end = next((line.end for line in body.lines if line.end), "\n")
    muted = {edit.at for edit in edits if isinstance(edit, Mute)}
    adds = [edit for edit in edits if isinstance(edit, Add)]
    made: list[Line] = []
    put = []
    for number in range(len(body.lines) + 1):
        for add in adds:
            if add.at == number:
                put.append(Add(at=len(made), texts=add.texts))
                made += [Line(text=text, end=end) for text in add.texts]
        if number < len(body.lines):
            line = body.lines[number]
            made.append(replace(line, text=mark + line.text) if number in muted else line)
    if body.lines and not body.lines[-1].end and put and put[-1].at + len(put[-1].texts) == len(made):
        last = len(made) - sum(len(add.texts) for add in adds if add.at == len(body.lines)) - 1
        made[last] = replace(made[last], end=end)
        made[-1] = replace(made[-1], end="")
    return replace(body, lines=tuple(made)), tuple(put)


def unmuted(body: Body, mark: str) -> Body:
    """The file with what was commented out as it was."""
    lines = (replace(line, text=line.text.removeprefix(mark)) for line in body.lines)
    return replace(body, lines=tuple(lines))


def find(body: Body, texts: Sequence[str], near: int) -> int | None:
    """Where these lines stand together, the place nearest to `near`; None."""
    there, size, wanted = body.texts, len(texts), list(texts)
    places = [at for at in range(len(there) - size + 1) if there[at : at + size] == wanted]
    return min(places, key=lambda at: abs(at - near), default=None)


def cut(body: Body, start: int, stop: int) -> Body:
    """The file without the lines from `start` up to `stop`; one that had no end at its end has none again."""
    left = [*body.lines[:start], *body.lines[stop:]]
    if stop == len(body.lines) and left and start < stop and not body.lines[-1].end:
        left[-1] = replace(left[-1], end="")
    return replace(body, lines=tuple(left))


def is_header(text: str) -> bool:
    return text.lstrip().startswith("[")


def says_something(text: str) -> bool:
    """Whether a line is neither blank nor a comment."""
    return bool(text.strip()) and not text.lstrip().startswith(("#", ";"))


def undone(
    body: Body,
    puts: Sequence[Add],
    mark: str,
    take: Callable[[Body, Add], Body | None],
    check: Callable[[Body], object],
) -> tuple[Body, tuple[str, ...]]:
    """The file without what was put in, with what was commented out; and what had to stay, in words.

    `take` takes one of them out, or returns None where it is not there any more. What would leave a file that can't
    be read, as others changed it in between, stays.
    """
    left = []
    for put in reversed(puts):
        taken = take(body, put)
        if taken is None:
            left.append("what ppmctl wrote is not there as it was: " + " / ".join(filter(str.strip, put.texts)))
        elif _fails(taken, check):
            left.append("others' lines need it now, so it stays: " + " / ".join(filter(str.strip, put.texts)))
        else:
            body = taken
    restored = unmuted(body, mark)
    if restored != body and _fails(restored, check):
        left.append("what was commented out stays so: something else stands in its place now")
        return body, tuple(left)
    return restored, tuple(left)


def _fails(body: Body, check: Callable[[Body], object]) -> bool:
    try:
        check(body)
    except Unreadable:
        return True
    return False
