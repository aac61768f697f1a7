"""The results of `make bench` as tables in Markdown between two marks of a document, and as a picture."""

from __future__ import annotations

import html
import os
import platform
import statistics
from datetime import UTC, datetime
from pathlib import Path

from bench import beside, promises
from bench.beside import Results

BEGIN = "<!-- written by make bench, from here -->"
END = "<!-- written by make bench, to here -->"
OURS, BARE = "ppm behind nginx", "bare nginx"
_READS = (beside.PAGES, beside.WHEELS, beside.METADATA)


def between_marks(document: str, content: str) -> str:
    """Return a document with other content between its marks. Raise ValueError if it does not have each once."""
    if document.count(BEGIN) != 1 or document.count(END) != 1:
        raise ValueError(f"The document needs one line {BEGIN} and one line {END}")
    before, _, rest = document.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{END} comes before {BEGIN}")
    return f"{before}{BEGIN}\n\n{content.strip()}\n\n{END}{after}"


def markdown(results: Results) -> str:
    """Return all that a run found."""
    day = datetime.fromtimestamp(results.began, UTC)
    before, after = results.load
    about = (
        f"Measured on {day:%Y-%m-%d} on {os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python "
        f"{platform.python_version()}: {results.files:,} files in each index, {results.rounds} rounds, "
        f"{results.seconds / 60:.0f} minutes. The load of the machine was {before:.1f} before it and {after:.1f} at "
        "its end."
    )
    parts = [about, "Medians, with the least and the most of all rounds:", _figures(results)]
    for reference, measures in ((OURS, beside.MEASURES), (BARE, _READS)):
        if any((reference, measure) in results.figures for measure in measures):
            parts += [f"As a multiple of {reference}, the median of the ratios of each round:"]
            parts += [_ratios(results, reference, measures)]
    if results.promises:
        parts += ["What each does besides, as it was set up here, tried during the run:", _promises(results)]
    return "\n\n".join([*parts, _notes(results)])


def _figures(results: Results) -> str:
    rows = []
    for measure in beside.MEASURES:
        cells = []
        for name in results.names:
            rounds = list(results.figures.get((name, measure), {}).values())
            mark = " †" if (name, measure) in results.limited else ""
            cells.append(f"{_spread(rounds)}{mark}" if rounds else "–")
        rows.append([measure, *cells])
    return _table(["", *results.names], rows)


def _spread(rounds: list[float]) -> str:
    middle = figure(statistics.median(rounds))
    return middle if len(rounds) == 1 else f"{middle} ({figure(min(rounds))} to {figure(max(rounds))})"


def figure(value: float) -> str:
    """Return a figure with the digits that mean something."""
    if value >= 10:
        return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _ratios(results: Results, reference: str, measures: tuple[str, ...]) -> str:
    names = [name for name in results.names if name != reference]
    rows = []
    for measure in measures:
        of = results.figures.get((reference, measure), {})
        if not of:
            continue
        cells = []
        for name in names:
            mine = results.figures.get((name, measure), {})
            ratios = [value / of[number] for number, value in mine.items() if of.get(number)]
            cells.append(figure(statistics.median(ratios)) if ratios else "–")
        rows.append([measure, *cells])
    return _table(["", *names], rows)


def _promises(results: Results) -> str:
    names = [name for name in results.names if name in results.promises]
    words = {True: "yes", False: "**no**", None: "–"}
    rows = [[promise, *(words[results.promises[name][promise]] for name in names)] for promise in promises.ALL]
    return _table(["", *names], rows)


def _notes(results: Results) -> str:
    """Return how each index was set up, and what it does not have."""
    notes = []
    for name in results.names:
        lacking: dict[str, list[str]] = {}
        for (of, measure), reason in results.lacking.items():
            if of == name:
                lacking.setdefault(reason, []).append(measure)
        reasons = [f"no {'; '.join(measures)}: {reason}" for reason, measures in lacking.items()]
        if name in results.failed:
            reasons.append(f"**it failed: {results.failed[name]}**")
        notes.append(f"- **{name}**: {results.how[name]}." + "".join(f" {_sentence(reason)}" for reason in reasons))
    if results.limited:
        notes.append("- † A request costs wrk more processor time than the server: it may be faster than that.")
    return "\n".join(notes)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "*")) else ".")


def _table(heading: list[str], rows: list[list[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


_WIDTH, _LINE, _LEFT, _TOP = 760, 24, 130, 62
_SHOWN = (beside.PAGES, beside.UPLOADS)


def picture(results: Results) -> str:
    """Return an SVG with bars: pages a second, and uploads a second, of each index."""
    panel, height = _WIDTH // 2, _TOP + _LINE * len(results.names) + 14
    size = f'width="{_WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13" role="img">',
        "<title>Requests a second of ppm and other indexes, in one run</title>",
        f'<rect {size} fill="#ffffff"/>',
        *_text(12, 22, f"{results.files:,} files, {os.cpu_count()} cores, medians of {results.rounds} rounds"),
    ]
    for number, measure in enumerate(_SHOWN):
        left = number * panel
        medians = {
            name: statistics.median(results.figures.get((name, measure), {0: 0.0}).values()) for name in results.names
        }
        longest = max(*medians.values(), 1.0)
        parts += _text(left + 12, 46, measure, weight="bold")
        for line, (name, value) in enumerate(medians.items()):
            top = _TOP + line * _LINE
            width = value / longest * (panel - _LEFT - 70)
            color = "#0b6e4f" if name.startswith("ppm") else "#9aa5b1"
            parts += _text(left + _LEFT - 8, top + 14, name, anchor="end")
            parts.append(f'<rect x="{left + _LEFT}" y="{top}" width="{width:.1f}" height="18" fill="{color}"/>')
            parts += _text(left + _LEFT + width + 6, top + 14, figure(value) if value else "–")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> list[str]:
    place = f'x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" fill="#1f2933"'
    return [f"<text {place}>{html.escape(text)}</text>"]


def write(results: Results, document: Path, image: Path) -> None:
    """Write the tables into a document and the picture into a file."""
    document.write_text(between_marks(document.read_text(), markdown(results)))
    image.write_text(picture(results))
