"""The requirements of a file of any form, and one rule for what an environment can't store of it."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from urllib.parse import unquote, urldefrag, urlsplit

from ppmctl.distributions import direct_url
from ppmctl.distributions.distribution import parse_filename
from ppmctl.environments.requirement import Requirement, parse
from ppmctl.environments.source import Source
from ppmctl.errors import InvalidDistribution, UsageError
from ppmctl.secret import masked

_SHOWN = 200  # characters of an entry
_SEARCHES = 500  # of the whole file
_WITH_PATH = re.compile(
    rf"(?P<name>[A-Za-z0-9][\w.-]*\s*(?:\[[^\]]*\])?)\s*@\s*{direct_url.PATH}.*?(?P<marker>\s;.*)?",
    re.ASCII | re.DOTALL,
)
_LOCAL = re.compile(rf"{direct_url.PATH}|[^\s@]+(?:/|\\|\.whl|\.zip|\.tar\.gz)$", re.ASCII)
_URL = re.compile(r"[a-z+]+://", re.IGNORECASE)
_EDITABLE = re.compile(r"(?:-e|--editable)(?:[\s=]+|(?<=-e)(?=\S))")
_EGG = re.compile(r"(?:^|&)egg=(?P<name>[^&]*)")
_QUOTED = re.compile(r"^(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\") ")


@dataclass(frozen=True, kw_only=True)
class Left:
    """An entry that an environment can't store: `where` is its file and line, `text` the entry without secrets."""

    where: str
    text: str
    reason: str

    @property
    def sentence(self) -> str:
        return f"{self.where}: {self.text}: {self.reason}"


@dataclass(kw_only=True)
class Imported:
    """The requirements of a file. `notes` are for the user; `name` is the file's own name for its list, or "".

    `left` are the entries that an environment can't store. The projects in `guessed` are named as in conda; Python
    indexes may call them otherwise. `lock` is the text of a pylock.toml.
    """

    requirements: list[Requirement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    name: str = ""
    guessed: set[str] = field(default_factory=set)
    lock: str | None = None

    def take(self, text: str, where: str) -> Requirement | None:
        """Return the requirement of an entry, as pip reads it. If it can't be stored, add it to `left`: None."""
        try:
            requirement, note = _read(text)
        except UsageError as exc:
            self.leave(text, where, exc)
            return None
        if note:
            self.notes.append(f"{where}: {shown(text)}: {note}.")
        return replace(requirement, where=where)

    def leave(self, text: str, where: str, why: UsageError | str) -> None:
        """Add an entry that an environment can't store."""
        if isinstance(why, UsageError):
            first = _QUOTED.sub("", why.message.partition("\n")[0])
            why = f"{first[:1].lower()}{first[1:]}{' ' if why.hint else ''}{why.hint}"
        self.left.append(Left(where=where, text=shown(text), reason=why))


class Lines:
    """Finds the line of each entry of a file whose reader does not tell it; entries are asked for in their order."""

    def __init__(self, source: Source, text: str) -> None:
        self._source = source
        self._text = text
        self._ends = [end.start() for end in re.finditer("\n", text)]
        self._at = 0
        self._searches = 0

    def where(self, entry: str) -> str:
        """Return the file and the line of the next entry with this text; only the file if it is written otherwise."""
        if self._searches < _SEARCHES:
            at = self._text.find(entry, self._at)
            if at < 0:
                self._searches += 1
                at = self._text.find(entry)
            if at >= 0:
                self._at = at
                return f"{self._source}:{bisect_left(self._ends, at) + 1}"
        return str(self._source)


def shown(text: str) -> str:
    """Return an entry for a message: a line without secrets."""
    line = " ".join(masked(text).split())
    return "".join(letter if letter.isprintable() else "?" for letter in line)[:_SHOWN]


def listed(names: Iterable[str]) -> str:
    """Return names of a file for a message, in order."""
    return shown(", ".join(sorted(names)))


def _read(text: str) -> tuple[Requirement, str]:
    """Return the requirement in a line of a requirements.txt, and a note on what it loses. Raise UsageError."""
    text = text.strip()
    bare = _EDITABLE.sub("", text, count=1) if _EDITABLE.match(text) else text
    note = "" if bare == text else "it is not editable in an environment"
    if path := _WITH_PATH.fullmatch(bare):
        return parse(f"{path['name']}{path['marker'] or ''}"), (
            "the path is only on one machine, so the name alone is imported"
        )
    wanted, _semicolon, marker = bare.partition(" ;")
    if _URL.match(wanted) and not wanted.lower().startswith("file:"):
        return parse(f"{_named(wanted.strip())}{f' ; {marker}' if marker else ''}"), note
    if _LOCAL.match(wanted.strip()) or (note and "@" not in wanted):
        raise UsageError("It is a local file or folder.", hint="Publish it, and name the project.")
    return parse(bare), note


def _named(url: str) -> str:
    """Return NAME @ URL for a URL that has the name of its project in it. Raise UsageError for another."""
    try:
        base, fragment = urldefrag(url)
    except ValueError as exc:  # such as a bracket that is not closed
        raise UsageError(f"It is no valid URL: {exc}.") from exc
    name = ""
    if egg := _EGG.search(fragment):
        name, fragment = unquote(egg["name"]), _EGG.sub("", fragment).lstrip("&")
    elif base.endswith(".whl"):
        try:
            name = parse_filename(unquote(urlsplit(base).path.rpartition("/")[2])).project
        except InvalidDistribution:
            name = ""
    if not name:
        raise UsageError("It is a URL without a name.", hint="Write NAME @ URL, so that its name is known.")
    return f"{name} @ {base}{'#' if fragment else ''}{fragment}"
