"""Turn a changelog's unreleased section into the section of a version; nothing else in the file changes."""

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
_NEW = "- What is new."

_ATX = re.compile(r" {0,3}(?P<level>#{1,6})[ \t]+(?P<title>.*?)(?:[ \t]+#+)?[ \t]*")
_SETEXT = re.compile(r"(=+|-+)[ \t]*")
_RST = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}[ \t]*")
_FENCE = re.compile(r"(?P<tick>`{3,})[^`]*|(?P<tilde>~{3,}).*")
_UNRELEASED = re.compile(r"(?P<open>\[?)unreleased(?P<close>\]?)", re.I)
_UNRELEASED_LINE = re.compile(
    r"(?P<before>\W*(?:release(?:d| date)?:?[ \t]+)?)unreleased\W*", re.I
)  # below a version
_UNRELEASED_WORD = re.compile(r"\bunreleased\b", re.I)
_RELEASED_LINE = re.compile(r"released\b.*\d{4}.*", re.I)
_DATED_LINE = re.compile(r"(?P<before>released\b[^\d]*)\d{4}-\d\d-\d\d(?P<after>\W*)", re.I)
_VERSION = re.compile(r"(?:(?:version|release)[ \t]+)?\[?v?(?P<version>\d[\w.!+\-]*?)\]?(?:[\s(,:]|$)", re.I)
_RELEASE = re.compile(
    r"(?P<word>(?:(?:version|release)[ \t]+)?)(?P<open>\[?)(?P<v>v?)\d[\w.!+\-]*(?P<close>\]?)"
    r"((?P<gap>[ \t]*[-–—(,]?[ \t]*)\d{4}-\d\d-\d\d(?P<end>\)?))?",
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

    @property
    def end(self) -> int:
        return self.at + self.lines


@dataclass(frozen=True, kw_only=True)
class _Unreleased:
    """The section to release. If its heading has a version already (`is_named`), the heading or the line `mark`
    says that it is unreleased: `1.2.0 (unreleased)`, or the form of Pallets' changelogs."""

    heading: _Heading
    is_named: bool = False
    mark: int | None = None


def find(project: Path) -> Path:
    """Return the changelog in a project's folder; raise PpmError if there is none."""
    with_ranks = []
    for path in project.iterdir():
        stem, suffix = path.stem.lower().replace("-", "_"), path.suffix.lower()
        if stem in _NAMES and suffix in _SUFFIXES and path.is_file():
            with_ranks.append((_NAMES.index(stem), _SUFFIXES.index(suffix), path))
    if not with_ranks:
        suffix = ".rst" if (project / "README.rst").is_file() else ".md"
        raise PpmError(
            f"{project} has no changelog: no CHANGELOG.md, CHANGES.md, HISTORY.md or NEWS.md, nor one in .rst.",
            hint=f"Write CHANGELOG{suffix}, or leave out --changelog. It starts like this:\n"
            f"{_example('-' if suffix == '.rst' else '')}",
        )
    return min(with_ranks)[-1]


def released(content: bytes, version: Version, day: date, *, name: str, tag: str = "") -> bytes:
    """Return a changelog with the unreleased changes in a section of `version`.

    It is Markdown or reStructuredText. A section Unreleased stays, empty, above the new one, whose heading has the
    form of the release before: `## [1.1.0] - 2026-01-31`, `## 1.1.0 (2026-01-31)`, `Version 1.1.0` with a line
    `Released 2026-01-31`. Where a section of a version is marked as unreleased, the mark becomes the date. Links that
    compare versions get `tag`, or a tag like the one before. A file that has the section of `version`, and nothing
    unreleased, does not change. Raise PpmError if nothing is unreleased.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise PpmError(f"{name} is not UTF-8: {exc}.", hint="Convert it, or leave out --changelog.") from exc
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)  # not splitlines, which splits at other characters too
    is_rst = name.lower().endswith(".rst")
    headings = list(_headings(lines, is_rst=is_rst))
    unreleased = _find_unreleased(lines, headings, version)
    own = unreleased.heading if unreleased is not None else None
    has_version = any(_version(one.title) == version for one in headings if one is not own)
    has_changes = unreleased is not None and _has_text(lines, headings, unreleased)
    if has_version and (unreleased is None or unreleased.is_named or not has_changes):
        return content
    if unreleased is None:
        example = _example_like(lines, headings, version, is_rst=is_rst)
        raise PpmError(f"{name} has no section Unreleased.", hint=f"Add one that says what is new:\n{example}")
    if has_version:
        raise PpmError(
            f"{name} has a section for {version} already, and unreleased changes.",
            hint=f"Move the changes of {version} into its section, or choose a higher version.",
        )
    if not has_changes:
        title = unreleased.heading.title if unreleased.is_named else "Unreleased"
        raise PpmError(
            f"The section {title} of {name} is empty.", hint=f"Add what is new in {version} there, and commit it."
        )
    rewrite = _dated if unreleased.is_named else _rewritten
    return "".join(rewrite(lines, headings, unreleased, version, day, tag)).encode()


def _find_unreleased(lines: list[str], headings: list[_Heading], version: Version) -> _Unreleased | None:
    """Return the section Unreleased; else the unreleased section of `version`, or of another version at the top."""
    for heading in headings:
        if _UNRELEASED.fullmatch(heading.title):
            return _Unreleased(heading=heading)
    named = [heading for heading in headings if _version(heading.title)]
    own = [heading for heading in named if _version(heading.title) == version]
    for heading in (*own, *named[:1]):
        first = _first_line(lines, heading)
        if first is not None and _UNRELEASED_LINE.fullmatch(lines[first].strip()):
            return _Unreleased(heading=heading, is_named=True, mark=first)
        if _UNRELEASED_WORD.search(heading.title):
            return _Unreleased(heading=heading, is_named=True)
    return None


def _first_line(lines: list[str], heading: _Heading) -> int | None:
    """Return the number of the first line that is not blank below a heading."""
    return next((at for at in range(heading.end, len(lines)) if lines[at].strip()), None)


def _example(underline: str = "", *, title: str = "", level: int = 2, mark: str = "") -> str:
    """Return the start of a changelog for a message; with an underline, of a file whose headings have one."""
    if underline:
        title = title or "Unreleased"
        head = [title, underline * len(title)]
    else:
        head = [f"{'#' * level} {title or '[Unreleased]'}"]
    return indent("\n".join([*head, "", *([mark, ""] if mark else []), _NEW]), "    ")


def _example_like(lines: list[str], headings: list[_Heading], version: Version, *, is_rst: bool) -> str:
    """Return an unreleased section in the form of the newest release in the file."""
    newest = next((one for one in headings if _version(one.title)), None)
    if newest is None:
        return _example("-" if is_rst else "")
    if _released_line(lines, newest):
        title = _title_like(newest.title, version, "") or str(version)
        return _example(newest.underline, title=title, level=newest.level, mark="Unreleased")
    return _example(newest.underline, level=newest.level)


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
    match = _VERSION.match(title)
    try:
        return Version(match["version"]) if match else None
    except InvalidVersion:
        return None


def _has_text(lines: list[str], headings: list[_Heading], unreleased: _Unreleased) -> bool:
    """Return whether a section has a line that is not blank and no mark, heading, link definition or comment."""
    section = unreleased.heading
    end = next((one.at for one in headings if one.at > section.at and one.level <= section.level), len(lines))
    titles = {at for one in headings for at in range(one.at, one.end)} | {unreleased.mark}
    comment = False
    for at in range(section.end, end):
        bare = lines[at].strip()
        if comment or bare.startswith("<!--"):
            comment = "-->" not in bare
        elif bare and at not in titles and not _DEFINITION.fullmatch(bare):
            return True
    return False


def _rewritten(
    lines: list[str], headings: list[_Heading], section: _Unreleased, version: Version, day: date, tag: str
) -> Iterator[str]:
    """Yield the lines with a new section below the section Unreleased."""
    unreleased = section.heading
    eol = _eol(lines[unreleased.at])
    later = (one for one in headings if one.at > unreleased.at and one.level == unreleased.level)
    previous = next((one for one in later if _version(one.title)), None)
    title = _title(previous.title if previous else "", unreleased, version, day)
    released_line = _released_line(lines, previous) if previous else ""
    for at, line in enumerate(lines):
        link = _LINK.fullmatch(line.rstrip("\r\n"))
        if released_line and at == unreleased.end:
            yield from (eol, _with_date(released_line, day), eol)
        if at == unreleased.at:
            yield from lines[at : unreleased.end]
            yield eol
            yield line.replace(unreleased.title, title, 1)
        elif unreleased.underline and at == unreleased.at + 1:
            yield line.replace(line.rstrip(), unreleased.underline * len(title))
        elif link and (compared := _COMPARE.fullmatch(link["url"])):
            yield from _links(line, compared, version, tag, eol)
        else:
            yield line


def _dated(
    lines: list[str], headings: list[_Heading], section: _Unreleased, version: Version, day: date, _tag: str
) -> Iterator[str]:
    """Yield the lines with a date instead of the mark of an unreleased section of a version."""
    heading = section.heading
    written = _VERSION.match(heading.title)
    title = heading.title
    if written and _version(title) != version:
        title = title[: written.start("version")] + str(version) + title[written.end("version") :]
    title = _UNRELEASED_WORD.sub(day.isoformat(), title, count=1)
    released = (_released_line(lines, one) for one in headings if one is not heading and _version(one.title))
    form = next(filter(None, released), "")
    for at, line in enumerate(lines):
        if at == heading.at:
            yield line.replace(heading.title, title, 1)
        elif heading.underline and at == heading.at + 1 and title != heading.title:
            yield line.replace(line.rstrip(), heading.underline * len(title))
        elif at == section.mark:
            mark = _UNRELEASED_LINE.fullmatch(line.strip())
            has_label = mark is not None and any(letter.isalpha() for letter in mark["before"])
            yield _UNRELEASED_WORD.sub(day.isoformat() if has_label else _with_date(form, day), line, count=1)
        else:
            yield line


def _eol(line: str) -> str:
    return "\r\n" if line.endswith("\r\n") else "\n"


def _released_line(lines: list[str], section: _Heading) -> str:
    """Return the line below the heading of a release that says when it was; "" without one."""
    first = _first_line(lines, section)
    line = lines[first].strip() if first is not None else ""
    return line if _RELEASED_LINE.fullmatch(line) else ""


def _with_date(released_line: str, day: date) -> str:
    """Return a line like the one of another release, with this day; a form that is not known is not kept."""
    form = _DATED_LINE.fullmatch(released_line)
    return f"{form['before'] if form else 'Released '}{day.isoformat()}{form['after'] if form else ''}"


def _title(previous: str, unreleased: _Heading, version: Version, day: date) -> str:
    """Return the title of the new section, in the form of the previous release's title if that form is known."""
    if title := _title_like(previous, version, day.isoformat()):
        return title
    brackets = _UNRELEASED.fullmatch(unreleased.title)
    opened, closed = brackets.group("open", "close") if brackets else ("", "")
    return f"{opened}{version}{closed} - {day.isoformat()}"


def _title_like(previous: str, version: Version, day: str) -> str:
    """Return a title in the form of the title `previous`, with a date if that has one; "" if the form is unknown."""
    form = _RELEASE.fullmatch(previous)
    if form is None or bool(form["open"]) != bool(form["close"]):
        return ""
    dated = f"{form['gap']}{day}{form['end']}" if form["gap"] is not None else ""
    return f"{form['word']}{form['open']}{form['v']}{version}{form['close']}{dated}"


def _links(line: str, compared: re.Match[str], version: Version, tag: str, eol: str) -> Iterator[str]:
    """Yield the link that compares this release with the newest commit, and the link to this release."""
    base, old, dots, head = compared.group("base", "old", "dots", "head")
    prefix = re.match(r"\D*", old)
    new = tag or f"{prefix[0] if prefix else ''}{version}"
    has_end = line.endswith("\n")
    yield line.replace(compared.string, f"{base}{new}{dots}{head}") + ("" if has_end else eol)
    indentation = line[: line.index("[") + 1]
    yield f"{indentation}{version}]: {base}{old}{dots}{new}" + (eol if has_end else "")
