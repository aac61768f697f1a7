"""A changelog whose Unreleased section becomes a version's (Keep a Changelog); all else byte for byte the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from textwrap import indent

from packaging.version import InvalidVersion, Version

from ppmctl.errors import PpmError

_NAMES = ("changelog", "changes", "history", "news", "release_notes", "releases")
_ENDINGS = (".md", ".rst", ".markdown", ".txt", "")
_EXAMPLE = "## [Unreleased]\n\n### Added\n\n- What is new."

_ATX = re.compile(r" {0,3}(?P<level>#{1,6})[ \t]+(?P<title>.*?)(?:[ \t]+#+)?[ \t]*")
_SETEXT = re.compile(r"(=+|-+)[ \t]*")
_RST = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}[ \t]*")
_FENCE = re.compile(r"(?P<tick>`{3,})[^`]*|(?P<tilde>~{3,}).*")
_UNRELEASED = re.compile(r"(?P<open>\[?)unreleased(?P<close>\]?)", re.I)
_RELEASE = re.compile(
    r"(?P<open>\[?)(?P<v>v?)\d[\w.!+\-]*(?P<close>\]?)((?P<gap>[ \t]*[-–—(,]?[ \t]*)\d{4}-\d\d-\d\d(?P<end>\)?))?",
    re.I,
)
_LINK = re.compile(r" {0,3}\[unreleased\]:[ \t]*(?P<url>\S+)[ \t]*", re.I)
_COMPARE = re.compile(r"(?P<base>.*/)(?P<old>[^/]*?\d[^/]*?)(?P<dots>\.{2,3})(?P<head>[^/]+)")
_DEFINITION = re.compile(r" {0,3}\[[^\]]+\]:[ \t]*\S+.*")


@dataclass(frozen=True, kw_only=True)
class _Heading:
    """A heading: its line, how high it stands (1 the highest), how many lines it takes from `at` on."""

    at: int
    lines: int
    level: int
    title: str
    underline: str = ""  # what stands below it, where the line itself has no mark


def find(project: Path) -> Path:
    """The changelog in a project's folder; PpmError where there is none."""
    with_ranks = []
    for path in project.iterdir():
        stem, ending = path.stem.lower().replace("-", "_"), path.suffix.lower()
        if stem in _NAMES and ending in _ENDINGS and path.is_file():
            with_ranks.append((_NAMES.index(stem), _ENDINGS.index(ending), path))
    if not with_ranks:
        raise PpmError(
            f"{project} has no changelog: no CHANGELOG.md, CHANGES.md, HISTORY.md or NEWS.md, nor one in .rst.",
            hint=f"Write CHANGELOG.md, or leave out --changelog. It begins so:\n{indent(_EXAMPLE, '    ')}",
        )
    return min(with_ranks)[-1]


def released(content: bytes, version: Version, day: date, *, name: str, tag: str = "") -> bytes:
    """The changelog `content` with what is unreleased as the section of `version`, and an empty one above.

    The heading is written as that of the release before is (`## [1.1.0] - 2026-01-31`, `## 1.1.0 (2026-01-31)`), in
    Markdown or reStructuredText. Where a link compares [Unreleased] with the last release it goes on from this one,
    whose own is added; both name `tag`, or what looks like the tag before. A file that has the section already, and
    nothing unreleased, stays as it is. PpmError where nothing is unreleased, or it can't be found.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise PpmError(f"{name} is not UTF-8: {exc}.", hint="Convert it, or leave out --changelog.") from exc
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)  # not splitlines, which breaks lines in more places
    headings = list(_headings(lines, is_rst=name.lower().endswith(".rst")))
    unreleased = next((one for one in headings if _UNRELEASED.fullmatch(one.title)), None)
    there = any(_version(one.title) == version for one in headings)
    is_empty = unreleased is None or not _says_something(lines, headings, unreleased)
    if there and is_empty:
        return content
    if unreleased is None:
        raise PpmError(
            f"{name} has no section Unreleased.", hint=f"Add one, with what is new:\n{indent(_EXAMPLE, '    ')}"
        )
    if there:
        raise PpmError(
            f"{name} has a section for {version} already, and another for what is unreleased.",
            hint=f"Move what {version} brings into its section, or raise the version further.",
        )
    if is_empty:
        raise PpmError(
            f"{name} says nothing under Unreleased.", hint=f"Write there what {version} brings, and commit it."
        )
    return "".join(_rewritten(lines, headings, unreleased, version, day, tag)).encode()


def _headings(lines: list[str], *, is_rst: bool) -> Iterator[_Heading]:
    """The headings of Markdown (not those in code or comments) or reStructuredText."""
    fence, comment, kinds = "", False, [] if is_rst else ["=", "-"]
    for at, line in enumerate(lines):
        bare = line.strip()
        opened = None if is_rst else _FENCE.fullmatch(bare)
        if fence or comment:
            comment = comment and "-->" not in bare
            fence = "" if fence and bare.startswith(fence) and not bare.strip(fence[0]) else fence
        elif opened:
            fence = opened["tick"] or opened["tilde"]
        elif bare.startswith("<!--"):
            comment = "-->" not in bare
        elif not is_rst and (found := _ATX.fullmatch(line.rstrip("\r\n"))):
            yield _Heading(at=at, lines=1, level=len(found["level"]), title=found["title"])
        elif bare and line[0] not in " \t" and at + 1 < len(lines):
            under, form = lines[at + 1].rstrip("\r\n"), _RST if is_rst else _SETEXT
            if form.fullmatch(under) and not form.fullmatch(bare):
                kinds += [under[0]] if under[0] not in kinds else []
                yield _Heading(at=at, lines=2, level=1 + kinds.index(under[0]), title=bare, underline=under[0])


def _version(title: str) -> Version | None:
    """The version that a heading is of."""
    words = re.match(r"\[?v?(\d[\w.!+\-]*?)\]?(?:[\s(,:]|$)", title, re.I)
    try:
        return Version(words[1]) if words else None
    except InvalidVersion:
        return None


def _says_something(lines: list[str], headings: list[_Heading], section: _Heading) -> bool:
    """Return whether a line of a section tells what is new: no blank, heading, link or comment does."""
    end = next((one.at for one in headings if one.at > section.at and one.level <= section.level), len(lines))
    titles = {one.at + more for one in headings for more in range(one.lines)}
    comment = False
    for at in range(section.at + section.lines, end):
        bare = lines[at].strip()
        if comment or bare.startswith("<!--"):
            comment = "-->" not in bare
        elif bare and at not in titles and not _DEFINITION.fullmatch(bare):
            return True
    return False


def _rewritten(
    lines: list[str], headings: list[_Heading], unreleased: _Heading, version: Version, day: date, tag: str
) -> Iterator[str]:
    eol = "\r\n" if lines[unreleased.at].endswith("\r\n") else "\n"
    title = _title(headings, unreleased, version, day)
    for at, line in enumerate(lines):
        link = _LINK.fullmatch(line.rstrip("\r\n"))
        if at == unreleased.at:
            yield from lines[at : at + unreleased.lines]
            yield eol
            yield line.replace(unreleased.title, title, 1)
        elif unreleased.underline and at == unreleased.at + 1:
            yield line.replace(line.rstrip(), unreleased.underline * len(title))
        elif link and (compared := _COMPARE.fullmatch(link["url"])):
            yield from _links(line, compared, version, tag, eol)
        else:
            yield line


def _title(headings: list[_Heading], unreleased: _Heading, version: Version, day: date) -> str:
    """How the heading of the new section reads: as that of the newest release does, if that is in a form known."""
    own = _UNRELEASED.fullmatch(unreleased.title)
    before = next(
        (one for one in headings if one.at > unreleased.at and one.level == unreleased.level and _version(one.title)),
        None,
    )
    found = _RELEASE.fullmatch(before.title) if before else None
    if found is None or bool(found["open"]) != bool(found["close"]):
        opened, closed = (own["open"], own["close"]) if own else ("", "")
        return f"{opened}{version}{closed} - {day.isoformat()}"
    dated = f"{found['gap']}{day.isoformat()}{found['end']}" if found["gap"] is not None else ""
    return f"{found['open']}{found['v']}{version}{found['close']}{dated}"


def _links(line: str, compared: re.Match[str], version: Version, tag: str, eol: str) -> Iterator[str]:
    """The link that compares what is unreleased with this release, then this release's own."""
    base, old, dots, head = compared.group("base", "old", "dots", "head")
    prefix = re.match(r"\D*", old)
    new = tag or f"{prefix[0] if prefix else ''}{version}"
    url = compared.string
    has_end = line.endswith("\n")
    yield line.replace(url, f"{base}{new}{dots}{head}") + ("" if has_end else eol)
    label = line[: line.index("]:")]
    label = f"{label[: label.index('[') + 1]}{version}"
    yield f"{label}]: {base}{old}{dots}{new}" + (eol if has_end else "")
