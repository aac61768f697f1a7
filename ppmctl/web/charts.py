"""Compute the bars of a plot, which `parts.html` draws as SVG."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

WIDTH, ROW = 360, 20  # of a plot and of a bar, in units of the SVG
_LEFT, _RIGHT = 120, 70  # for the labels and the values
_LETTERS = 18  # of a label


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar of a plot: its label, which may be cut, its value as a text, and its length."""

    label: str
    value: str
    y: int
    length: float


def bars(rows: Iterable[tuple[str, int, str]]) -> tuple[Bar, ...]:
    """Return a bar for each label, number and its text; the longest fills the plot."""
    values = tuple(rows)
    longest = max((number for _label, number, _text in values), default=0) or 1
    return tuple(
        Bar(
            label=label if len(label) <= _LETTERS else f"{label[: _LETTERS - 1]}…",
            value=text,
            y=position * ROW,
            length=round((WIDTH - _LEFT - _RIGHT) * number / longest, 1),
        )
        for position, (label, number, text) in enumerate(values)
    )
