"""Turn a changelog's section Unreleased into the section of a version; nothing else in the file changes."""

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
_SUFFIXES = (".md", ".rst", ".markdown", ".txt", "")
_EXAMPLE = indent("## [Unreleased]\n\n### Added\n\n- What is new.", "    ")

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
    """A heading of `lines` lines that starts at line `at`; level 1 is the highest."""

    at: int
    lines: int
    level: int
    title: str
    underline: str = ""  # the character of the line below; "" for a heading with #


def find(project: Path) -> Path:
    """Return the changelog in a project's folder; raise PpmError if there is none."""
    with_ranks = []
    for path in project.iterdir():
        stem, suffix = path.stem.lower().replace("-", "_"), path.suffix.lower()
        if stem in _NAMES and suffix in _SUFFIXES and path.is_file():
            with_ranks.append((_NAMES.index(stem), _SUFFIXES.index(suffix), path))
    if not with_ranks:
        raise PpmError(
            f"{project} has no changelog: no CHANGELOG.md, CHANGES.md, HISTORY.md or NEWS.md, nor one in .rst.",
            hint=f"Write CHANGELOG.md, or leave out --changelog. It starts like this:\n{_EXAMPLE}",
        )
    return min(with_ranks)[-1]


def released(content: bytes, version: Version, day: date, *, name: str, tag: str = "") -> bytes:
    """Return a changelog with the unreleased changes in a section of `version`, below an empty section Unreleased.

    It is Markdown or reStructuredText. The heading has the form of the release before: `## [1.1.0] - 2026-01-31`,
    `## 1.1.0 (2026-01-31)`. Links that compare versions get `tag`, or a tag like the one before. A file that has the
    section, and nothing unreleased, does not change. Raise PpmError if nothing is unreleased.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise PpmError(f"{name} is not UTF-8: {exc}.", hint="Convert it, or leave out --changelog.") from exc
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)  # not splitlines, which splits at other characters too
    headings = list(_headings(lines, is_rst=name.lower().endswith(".rst")))
    unreleased = next((one for one in headings if _UNRELEASED.fullmatch(one.title)), None)
    has_version = any(_version(one.title) == version for one in headings)
    has_changes = unreleased is not None and _has_text(lines, headings, unreleased)
    if has_version and not has_changes:
        return content
    if unreleased is None:
        raise PpmError(f"{name} has no section Unreleased.", hint=f"Add one that says what is new:\n{_EXAMPLE}")
    if has_version:
        raise PpmError(
            f"{name} has a section for {version} already, and unreleased changes.",
            hint=f"Move the changes of {version} into its section, or choose a higher version.",
        )
    if not has_changes:
        raise PpmError(
            f"The section Unreleased of {name} is empty.", hint=f"Add what is new in {version} there, and commit it."
        )
    return "".join(_rewritten(lines, headings, unreleased, version, day, tag)).encode()


def _headings(lines: list[str], *, is_rst: bool) -> Iterator[_Heading]:
    """Yield the headings of Markdown, without those in code or comments, or of reStructuredText."""
    fence, comment, underlines = "", False, [] if is_rst else ["=", "-"]
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
        elif not is_rst and (heading := _ATX.fullmatch(line.rstrip("\r\n"))):
            yield _Heading(at=at, lines=1, level=len(heading["level"]), title=heading["title"])
        elif bare and line[0] not in " \t" and at + 1 < len(lines):
            under, form = lines[at + 1].rstrip("\r\n"), _RST if is_rst else _SETEXT
            if form.fullmatch(under) and not form.fullmatch(bare):
                underlines += [under[0]] if under[0] not in underlines else []
                level = 1 + underlines.index(under[0])
                yield _Heading(at=at, lines=2, level=level, title=bare, underline=under[0])


def _version(title: str) -> Version | None:
    match = re.match(r"\[?v?(\d[\w.!+\-]*?)\]?(?:[\s(,:]|$)", title, re.I)
    try:
        return Version(match[1]) if match else None
    except InvalidVersion:
        return None


def _has_text(lines: list[str], headings: list[_Heading], section: _Heading) -> bool:
    """Return whether a section has a line that is not blank and no heading, link definition or comment."""
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
    """Return the title of the new section, in the form of the newest release's title if that form is known."""
    later = (one for one in headings if one.at > unreleased.at and one.level == unreleased.level)
    previous = next((one.title for one in later if _version(one.title)), "")
    form = _RELEASE.fullmatch(previous)
    if form is None or bool(form["open"]) != bool(form["close"]):
        brackets = _UNRELEASED.fullmatch(unreleased.title)
        opened, closed = brackets.group("open", "close") if brackets else ("", "")
        return f"{opened}{version}{closed} - {day.isoformat()}"
    dated = f"{form['gap']}{day.isoformat()}{form['end']}" if form["gap"] is not None else ""
    return f"{form['open']}{form['v']}{version}{form['close']}{dated}"


def _links(line: str, compared: re.Match[str], version: Version, tag: str, eol: str) -> Iterator[str]:
    """Yield the link that compares this release with the newest commit, and the link to this release."""
    base, old, dots, head = compared.group("base", "old", "dots", "head")
    prefix = re.match(r"\D*", old)
    new = tag or f"{prefix[0] if prefix else ''}{version}"
    has_end = line.endswith("\n")
    yield line.replace(compared.string, f"{base}{new}{dots}{head}") + ("" if has_end else eol)
    indentation = line[: line.index("[") + 1]
    yield f"{indentation}{version}]: {base}{old}{dots}{new}" + (eol if has_end else "")
