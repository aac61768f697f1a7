"""Read requirements that users type (PEP 508), and show where one is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from packaging.requirements import InvalidRequirement

from ppmctl.distributions import metadata_rules, shareable
from ppmctl.distributions.distribution import normalise, one_line
from ppmctl.errors import UsageError
from ppmctl.secret import masked

# a word that is not a whole requirement
_CLAUSE = re.compile(r"^[<>=!~@;,]|[<>=!~@;,]$|^(?:and|or|in|not)$")


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """A requirement. `name` is normalised, `text` is the requirement in its normal form.

    `marker` is "" if there is none; `url` is that of a direct reference, or ""; `where` is its file and line, or "".
    """

    name: str
    text: str
    marker: str = ""
    url: str = ""
    extras: tuple[str, ...] = ()
    where: str = field(default="", compare=False)


def parse(text: str, *, where: str = "") -> Requirement:
    """Return one requirement. Raise UsageError, with a mark below the first character that is wrong.

    `where` is its file and line, "" for one that was typed.
    """
    stripped = text.strip()
    if not stripped:
        raise UsageError(_at(where, "An empty text is not a requirement."))
    longest = shareable.MAX_REQUIREMENT
    if len(stripped) > longest or not stripped.isprintable():
        shown = one_line(masked(stripped))[:80]
        raise UsageError(_at(where, f"A requirement is a line of up to {longest} characters, unlike {shown!r}."))
    try:
        parsed = metadata_rules.parsed(stripped)
    except InvalidRequirement as exc:
        raise _wrong(stripped, exc, where) from exc
    try:
        shareable.requirement(str(parsed))  # a shared list can hold less than PEP 508 allows
    except UsageError as exc:
        raise UsageError(_at(where, exc.message), hint=exc.hint) from exc
    return Requirement(
        name=normalise(parsed.name),
        text=str(parsed),
        marker=str(parsed.marker or ""),
        url=parsed.url or "",
        extras=tuple(sorted(parsed.extras)),
        where=where,
    )


def parse_words(words: Iterable[str], *, where: str = "") -> list[Requirement]:
    """Return the requirements in the arguments of a command; a word can hold several. Raise as `parse` does."""
    return [requirement for word in words for requirement in _parse_word(word, where)]


def normal(requirements: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the requirements of a list by normalised name, as sorted texts."""
    return group(parse(text) for text in requirements)


def group(requirements: Iterable[Requirement]) -> dict[str, tuple[str, ...]]:
    """Do the same for parsed requirements. Of two with the same name and marker the later counts."""
    by_name: dict[str, dict[str, str]] = {}
    for requirement in requirements:
        by_name.setdefault(requirement.name, {})[requirement.marker] = requirement.text
    return {name: tuple(sorted(texts.values())) for name, texts in by_name.items()}


def flat(groups: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the texts of all groups as one list, in the order of the names."""
    return tuple(text for name in sorted(groups) for text in groups[name])


def doubles(requirements: Iterable[Requirement]) -> Iterator[tuple[Requirement, Requirement]]:
    """Yield each requirement that a later one with the same name and marker replaces, with that one."""
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
        # one requirement with spaces in it, not several
        if len(parts) < 2 or any(_CLAUSE.search(part) for part in parts):
            raise
        return [parse(part, where=where) for part in parts]


def _wrong(text: str, exc: InvalidRequirement, where: str) -> UsageError:
    cause: Any = exc.__cause__  # packaging's ParserSyntaxError, which is not exported
    why = masked(str(getattr(cause, "message", "") or one_line(exc)))
    span = getattr(cause, "span", None)
    start, end = span if isinstance(span, tuple) and len(span) == 2 else (0, 0)
    pointed = f"\n    {text}\n    {' ' * start}{'~' * (end - start)}^"
    if (shown := masked(text)) != text:  # a mark would be at another place
        pointed = f"\n    {shown}"
    hint = "A requirement is a name, with extras and versions: numpy, 'numpy>=2', 'uvicorn[standard]'."
    if text[end : end + 1] == ",":
        hint = "Separate several requirements by spaces."
    elif text.startswith("-"):
        hint = "An environment has no options; ppmctl env import reads a requirements.txt."
    elif "$" in text:
        hint = "An environment has no variables: pip and uv would put in the value that each user has."
    elif "://" in text and "@" not in text.partition("://")[0]:
        hint = "Write NAME @ URL, so that its name is known."
    return UsageError(
        _at(where, f"This is not a requirement (PEP 508): {why[:1].lower()}{why[1:]}.{pointed}"), hint=hint
    )


def _at(where: str, sentence: str) -> str:
    return f"{where}: {sentence[:1].lower()}{sentence[1:]}" if where else sentence
