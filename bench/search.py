"""Measure the search index: how long it takes to make, to update and to ask."""

from __future__ import annotations

import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from support import volumes, wheels

from ppmctl.index import rebuild
from ppmctl.index.layout import METADATA, Volume
from ppmctl.index.search_index import SearchIndex
from ppmctl.index.store import Store

WORDS = 20_000  # of the language of descriptions; the number n is used in proportion to 1/n
LENGTHS = (50, 300, 600, 1000, 3000)  # words of a description
_LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


def measure(files: int, *, rounds: int, requests_each: int) -> list[dict[str, object]]:
    """Return a row of medians for each round: milliseconds, but for the first two columns."""
    chance = random.Random(files)
    language = ["".join(chance.choices(_LETTERS[:12], k=chance.randint(3, 11))) for _number in range(WORDS)]
    with tempfile.TemporaryDirectory(prefix="ppm-bench-") as work:
        volume = volumes.fill(Path(work) / "root", projects=files // volumes.FILES_EACH)
        _describe(volume, files // volumes.FILES_EACH, language, chance)
        store = Store(volume)
        rebuild.rebuild(store)
        index = SearchIndex(store)
        rows: list[dict[str, object]] = []
        for number in range(rounds):
            row: dict[str, object] = {"subject": "search index", "files": files, "round": number}
            row |= {"make s": _once(index.rebuild) / 1000, "MB": volume.search.stat().st_size / 1e6}
            row |= {"nothing new": _once(index.refresh), "totals": _median(index.totals, requests_each)}
            row["newest 50"] = _median(lambda: index.projects(order="newest", limit=50), requests_each)
            row["page 100"] = _median(lambda: index.projects(order="name", limit=50, offset=4950), requests_each)
            name = volumes.project(chance.randrange(files // volumes.FILES_EACH))
            row["update"] = _median(partial(index.update, name), requests_each // 10)
            row |= _searches(index, name, language, requests_each)
            rows.append(row)
    return rows


def _searches(index: SearchIndex, name: str, language: list[str], times: int) -> dict[str, object]:
    rank = itertools.cycle(range(200, 400))
    asked: dict[str, Callable[[], str]] = {
        "a name": lambda: name,
        "a word": lambda: language[next(rank)],
        "a beginning": lambda: language[next(rank)][:3],
        "two words": lambda: f"{language[next(rank)]} {language[next(rank)]}",
        "the commonest": lambda: language[0],
        "8 words of 2 letters": lambda: "et ta to in so ha ri la",
    }

    def search(text: Callable[[], str]) -> None:
        index.search(text(), limit=50)

    return {what: _median(partial(search, text), times) for what, text in asked.items()}


def _describe(volume: Volume, projects: int, language: list[str], chance: random.Random) -> None:
    """Give each project's latest release a summary, keywords and a description."""
    weights = list(itertools.accumulate(1 / rank for rank in range(1, WORDS + 1)))

    def text(words: int) -> str:
        return " ".join(chance.choices(language, cum_weights=weights, k=words))

    for number in range(projects):
        about = wheels.metadata(volumes.project(number), "1.9", summary=text(8), keywords=text(3))
        path = volume.side_file(volumes.project(number), volumes.filename(number, volumes.FILES_EACH - 1), METADATA)
        path.unlink()
        path.write_bytes(about + text(chance.choice(LENGTHS)).encode())


def _once(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return (time.perf_counter() - started) * 1000


def _median(act: Callable[[], object], times: int) -> float:
    return statistics.median(_once(act) for _number in range(max(times, 3)))
