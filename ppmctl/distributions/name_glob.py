"""Patterns of normalised project names: * any text, ? one character, [ab] or [a-z] one of these, [!a] any other.

The inventory's plugins use this module too, so it imports nothing of ppmctl.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase, translate

MAX_LENGTH = 200  # characters
# Of the patterns in one list: its author decides how long each comparison takes. Plain names cost nothing.
MAX_PATTERNS, MAX_TOGETHER = 50, 1000

_WILDCARDS = frozenset("*?[")

_CHARACTERS = re.compile(r"[A-Za-z0-9._*?\[\]!-]+", re.ASCII)
_SEPARATORS = re.compile(r"[-_.]+")
# a text, or one of what fnmatch knows; possessive, because it does not try again with a shorter class either
_PART = re.compile(r"\[!?+\]?+[^\]]*\]|.", re.DOTALL)
_ALPHABET = frozenset(f"{string.ascii_lowercase}{string.digits}-")
_HYPHEN = frozenset("-")

# The characters that a part of a pattern matches; None for a star, which matches any text.
_Parts = tuple[frozenset[str] | None, ...]


def normalise(glob: str) -> str:
    """Return a pattern as it is compared with normalised names: `Acme_*` is `acme-*`."""
    return _SEPARATORS.sub("-", glob).lower()


def problem(glob: str) -> str:
    """Return why a pattern is invalid or can match no name, as a clause; "" if it is valid."""
    if not glob:
        return "it is empty"
    if len(glob) > MAX_LENGTH:
        return f"it has over {MAX_LENGTH} characters"
    if not _CHARACTERS.fullmatch(glob):
        return "it has other characters than letters, digits and . _ - * ? [ ] !"
    parts = _PART.findall(glob)
    if "[" in parts or "]" in parts:
        return "it has a [ or ] on its own, which no name has"
    if any(len(part) > 1 and _changes(part) for part in parts):
        return "in [ ] a . or _ counts as a -, which must be the last character: [ab-]"
    if not _matches_a_name(_parts(normalise(glob))):
        return "no name matches it: names have letters, digits, and single - between them"
    return ""


def excess(globs: Iterable[str]) -> str:
    """Return why a list has too many patterns, as a noun; "" if it has not. Plain names are not counted."""
    patterns = list(filter(_is_pattern, globs))
    if len(patterns) > MAX_PATTERNS:
        return f"{len(patterns)} patterns with * ? or [ ], and {MAX_PATTERNS} is the most"
    if (together := sum(map(len, patterns))) > MAX_TOGETHER:
        return f"patterns of {together} characters together, and {MAX_TOGETHER} is the most"
    return ""


def matcher(globs: Iterable[str]) -> Callable[[str], bool]:
    """Return a function that tells whether a normalised name matches one of these patterns, also normalised."""
    names = frozenset(globs)
    patterns = "|".join(map(translate, filter(_is_pattern, names)))
    if not patterns:
        return names.__contains__
    matches = re.compile(patterns).match
    return lambda name: name in names or matches(name) is not None


def outside(scopes: Iterable[str], globs: Iterable[str]) -> list[str]:
    """Return the globs that are not within one of `scopes`, as in `covers`; none is if there are no scopes."""
    if not (scopes := tuple(scopes)):
        return []
    is_in, patterns = matcher(scopes), list(filter(_is_pattern, scopes))

    def is_within(glob: str) -> bool:
        return any(covers(scope, glob) for scope in patterns) if _is_pattern(glob) else is_in(glob)

    return [glob for glob in globs if not is_within(glob)]


def _is_pattern(glob: str) -> bool:
    return not _WILDCARDS.isdisjoint(glob)


def scope_text(role: str, projects: Iterable[str], reads: Iterable[str]) -> str:
    """Return the projects of a credential for a sentence, such as " of acme-*, and reads only acme-* and salt"."""
    reads = tuple(reads)
    own = (reads or tuple(projects)) if role == "reader" else tuple(projects)
    limit = f", and reads only {' '.join(reads)}" if reads and role != "reader" else ""
    return (f" of {' '.join(own)}" if own else "") + limit


def covers(scope: str, glob: str) -> bool:
    """Return whether every name that `glob` matches is one that `scope` matches; both are normalised.

    False for some odd pairs of which that is true, so that the answer takes no longer than comparing their parts.
    """
    wider, narrower = _ordered(_parts(scope)), _ordered(_parts(glob))
    # the ends in `wider` up to which it covers the parts of `narrower` so far
    ends = _after_stars(wider, {0})
    for part in narrower:
        ends = _after_stars(wider, {end for start in ends for end in _steps(wider, start, part)})
    return len(wider) in ends


def _steps(wider: _Parts, start: int, part: frozenset[str] | None) -> tuple[int, ...]:
    """Return the ends after one more part of the narrower pattern."""
    if start == len(wider):
        return ()
    own = wider[start]
    if own is None:  # a star takes any part, and stays
        return (start,)
    return (start + 1,) if part is not None and part <= own else ()


def _after_stars(parts: _Parts, starts: set[int]) -> set[int]:
    """Return the starts, and those after stars there, which match the empty text too."""
    reached = set()
    for start in starts:
        reached.add(start)
        while start < len(parts) and parts[start] is None:
            start += 1
            reached.add(start)
    return reached


def _parts(glob: str) -> _Parts:
    """Return the parts of a normalised pattern."""
    return tuple(None if part == "*" else _letters(part) for part in _PART.findall(glob))


def _letters(part: str) -> frozenset[str]:
    """Return the characters of names that ?, a class or a single character matches."""
    if len(part) == 1 and part != "?":
        return _ALPHABET & {part}
    return frozenset(letter for letter in _ALPHABET if fnmatchcase(letter, part))


def _ordered(parts: _Parts) -> _Parts:
    """Return the parts with one star for several, and after the parts that match every character: *?* is ?*."""
    ordered: list[frozenset[str] | None] = []
    for part in parts:
        follows_star = bool(ordered) and ordered[-1] is None
        if follows_star and part == _ALPHABET:
            ordered.insert(-1, part)
        elif part is not None or not follows_star:
            ordered.append(part)
    return tuple(ordered)


def _changes(part: str) -> bool:
    """Return whether a class matches other characters after `normalise`, which makes [a_c] to [a-c]."""
    lower = part.lower()
    separators = (fnmatchcase(letter, lower) for letter in "-_.")
    has_hyphen = all(separators) if part.startswith("[!") else any(separators)
    letters = {letter for letter in _ALPHABET - _HYPHEN if fnmatchcase(letter, lower)}
    return _letters(normalise(part)) != (letters | _HYPHEN if has_hyphen else letters)


def _matches_a_name(parts: _Parts) -> bool:
    """Return whether a pattern matches any normalised name."""
    letters = _ALPHABET - _HYPHEN
    # where the text that was matched so far can be in a name: at its start, after a letter, after a hyphen
    following = {"start": {"letter": letters}, "letter": {"letter": letters, "hyphen": _HYPHEN}}
    following["hyphen"] = {"letter": letters}
    places = {"start"}
    for part in parts:
        if part is None:
            places |= {"letter", "hyphen"} if places else set()
            continue
        places = {after for place in places for after, allowed in following[place].items() if part & allowed}
    return "letter" in places
