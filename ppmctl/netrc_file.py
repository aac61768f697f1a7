"""A netrc file as text: one host's entry put in or taken out, and every other byte left as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_WORD = re.compile(r'"(?:\\.|[^"\\])*"|\S+')
_VALUES = ("login", "user", "account", "password")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The entry of `host` ("" for the default), from `start` to `end` of the text."""

    host: str
    login: str
    start: int
    end: int


def entries(text: str) -> Iterator[Entry]:
    """The entries, in their order. Comments and macros are none."""
    host: str | None = None
    login, start, end, position = "", 0, 0, 0
    while word := _WORD.search(text, position):
        position = word.end()
        if word[0].startswith("#"):
            position = _line_end(text, position)
        elif word[0] in ("machine", "default", "macdef"):
            if host is not None:
                yield Entry(host=host, login=login, start=start, end=end)
            host, login, start = None, "", word.start()
            if word[0] == "macdef":  # until an empty line
                blank = re.compile(r"\n[ \t]*\r?\n").search(text, position)
                position = blank.end() if blank else len(text)
            elif word[0] == "default":
                host, end = "", position
            elif name := _WORD.search(text, position):
                host, end = _plain(name[0]), name.end()
                position = end
        elif word[0] in _VALUES and (value := _WORD.search(text, position)):
            if word[0] in ("login", "user"):
                login = _plain(value[0])
            position = end = value.end()
    if host is not None:
        yield Entry(host=host, login=login, start=start, end=end)


def with_line(text: str, host: str, line: str) -> str:
    """The text with `line` for `host`: in place of its entry, or before all others (a default ends them)."""
    found = next((entry for entry in entries(text) if entry.host == host), None)
    return f"{line}\n{text}" if found is None else text[: found.start] + line + text[found.end :]


def without(text: str, host: str, login: str) -> str:
    """The text without the entry of `host` for `login`, and without its line if nothing else is on that."""
    found = next((entry for entry in entries(text) if (entry.host, entry.login) == (host, login)), None)
    if found is None:
        return text
    start, end = found.start, found.end
    begins = start == 0 or text[start - 1] == "\n"
    if begins and not text[end : _line_end(text, end)].strip():
        end = min(_line_end(text, end) + 1, len(text))
    return text[:start] + text[end:]


def _line_end(text: str, position: int) -> int:
    found = text.find("\n", position)
    return len(text) if found < 0 else found


def _plain(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith('"') and word.endswith('"') else word
