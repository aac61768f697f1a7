"""A requirement as a person types it → as an environment keeps it (PEP 508). What is wrong is pointed at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Parsed

from ppmctl.distributions import environment_revision as formats
from ppmctl.distributions.distribution import normalise, one_line
from ppmctl.errors import UsageError

MAX_LENGTH = 2000  # characters of one requirement
# a part between spaces that can't stand alone
_CLAUSE = re.compile(r"^[<>=!~@;,]|[<>=!~@;,]$|^(?:and|or|in|not)$")


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One requirement. `name` is normalised, `text` the one way to write it; `marker` is "" where it always holds.

    `url` is that of a direct reference, or "".
    """

    name: str
    text: str
    marker: str = ""
    url: str = ""
    extras: tuple[str, ...] = ()


def parse(text: str, *, where: str = "") -> Requirement:
    """Read one requirement. UsageError shows it with a mark below the character where it ceases to make sense.

    `where` says where it stands (a file and its line), "" for what was typed.
    """
    stripped = text.strip()
    if not stripped:
        raise UsageError(_at(where, "There is no requirement in an empty text."))
    if len(stripped) > MAX_LENGTH or not stripped.isprintable():
        said = one_line(stripped[:80])
        raise UsageError(
            _at(where, f"A requirement is one line of at most {MAX_LENGTH} characters, which {said!r} is not.")
        )
    try:
        found = Parsed(stripped)
    except InvalidRequirement as exc:
        raise _wrong(stripped, exc, where) from exc
    try:
        urlsplit(found.url or "")
        formats.requirement(str(found))  # what a shared list can't carry, whatever PEP 508 says
    except ValueError as exc:
        raise UsageError(_at(where, f"The URL of a requirement makes no sense: {one_line(exc)}.")) from None
    except UsageError as exc:
        raise UsageError(_at(where, exc.message), hint=exc.hint) from exc
    return Requirement(
        name=normalise(found.name),
        text=str(found),
        marker=str(found.marker) if found.marker is not None else "",
        url=found.url or "",
        extras=tuple(sorted(found.extras)),
    )


def parse_words(words: Iterable[str], *, where: str = "") -> list[Requirement]:
    """Read what was typed behind a command: each word is a requirement, or several with spaces between.

    UsageError as for `parse`.
    """
    return [requirement for word in words for requirement in _parse_word(word, where)]


def normal(requirements: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """What is kept of a list: by normalised name, the texts of what is required of it, sorted."""
    return group(parse(text) for text in requirements)


def group(requirements: Iterable[Requirement]) -> dict[str, tuple[str, ...]]:
    """The same of what was parsed. Of two requirements of one name and marker, the later counts."""
    found: dict[str, dict[str, str]] = {}
    for requirement in requirements:
        found.setdefault(requirement.name, {})[requirement.marker] = requirement.text
    return {name: tuple(sorted(texts.values())) for name, texts in found.items()}


def flat(groups: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """A list again, in the order of the names."""
    return tuple(text for name in sorted(groups) for text in groups[name])


def doubles(requirements: Iterable[Requirement]) -> Iterator[tuple[Requirement, Requirement]]:
    """Those that are replaced by a later one of the same name and marker, with that one."""
    seen: dict[tuple[str, str], Requirement] = {}
    for requirement in requirements:
        key = requirement.name, requirement.marker
        if key in seen and seen[key].text != requirement.text:
            yield seen[key], requirement
        seen[key] = requirement


def _parse_word(word: str, where: str) -> list[Requirement]:
    try:
        return [parse(word, where=where)]
    except UsageError:
        parts = word.split()
        # one with spaces in it, rather than several
        if len(parts) < 2 or any(_CLAUSE.search(part) for part in parts):
            raise
        return [parse(part, where=where) for part in parts]


def _wrong(text: str, exc: InvalidRequirement, where: str) -> UsageError:
    cause: Any = exc.__cause__  # packaging's ParserSyntaxError, which is not exported
    why = str(getattr(cause, "message", "") or one_line(exc))
    span = getattr(cause, "span", None)
    start, end = span if isinstance(span, tuple) and len(span) == 2 else (0, 0)
    pointed = f"\n    {text}\n    {' ' * start}{'~' * (end - start)}^"
    hint = "It is a name, and what is wanted of it: numpy, 'numpy>=2', 'uvicorn[standard]'."
    if text[end : end + 1] == ",":
        hint = "Several are separated by spaces."
    elif text.startswith("-"):
        hint = "Options are not kept in an environment; ppmctl env import reads a requirements.txt."
    elif "://" in text and "@" not in text.partition("://")[0]:
        hint = "Write NAME @ URL, so that it is known what it is."
    return UsageError(
        _at(where, f"This is not a requirement (PEP 508): {why[:1].lower()}{why[1:]}.{pointed}"), hint=hint
    )


def _at(where: str, sentence: str) -> str:
    return f"{where}: {sentence[:1].lower()}{sentence[1:]}" if where else sentence
