"""Measure ppm beside bare nginx and other products: in turn, in several rounds of one run of bounded length."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from support import volumes

from bench import indexes, promises, workloads
from bench.indexes import BareNginx, BehindNginx, Embedded, Index
from bench.peers import Devpi, Peryx, Pypiron, Pypiserver
from bench.promises import Promises
from bench.workloads import Upload

_FILL_SECONDS = 180
_INDEX_SECONDS = 180  # an index takes at most about so long at a time
_UPLOAD_SECONDS = 5.0  # of each of the workloads below
_ONE, _AT_ONCE, _ONE_PROJECT = 40, 240, 100  # uploads

PAGES, WHEELS, METADATA, COST = "project pages/s", "1 KB wheels/s", "`.metadata`/s", "µs of processor a page"
UPLOAD, UPLOADS, SAME = "upload, median ms", "uploads/s, 8 clients", "uploads/s, 8 clients, one project"
PIP, UV, START = "resolve by pip, s", "resolve by uv, s", "cold start, s"
IDLE, PEAK = "memory idle, MB", "memory at most, MB"
MEASURES = (PAGES, WHEELS, METADATA, COST, UPLOAD, UPLOADS, SAME, PIP, UV, START, IDLE, PEAK)


@dataclass(kw_only=True)
class Results:
    """What a run found: for each index and measure the figures by round, or why there are none."""

    names: list[str]
    how: dict[str, str] = field(default_factory=dict)
    figures: dict[tuple[str, str], dict[int, float]] = field(default_factory=dict)
    lacking: dict[tuple[str, str], str] = field(default_factory=dict)
    promises: dict[str, Promises] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    limited: set[tuple[str, str]] = field(default_factory=set)  # by the load generator
    files: int = 0
    rounds: int = 0  # complete ones
    load: tuple[float, float] = (0.0, 0.0)  # of the machine: before the run, and at its end
    began: float = 0.0
    seconds: float = 0.0

    def add(self, index: str, measure: str, figure: float) -> None:
        self.figures.setdefault((index, measure), {})[self.rounds] = figure


def run(names: list[str], *, files: int, rounds: int, seconds: int, minutes: float) -> Results:
    """Measure the indexes with these words in their names, or all; if one fails, the rest goes on."""
    began, before = time.time(), os.getloadavg()[0]
    ends = time.monotonic() + minutes * 60 - _INDEX_SECONDS
    indexes.CACHE.mkdir(parents=True, exist_ok=True)
    # below .cache, as a folder for temporary files may be in memory, where nothing is synced
    with tempfile.TemporaryDirectory(prefix="run-", dir=indexes.CACHE) as work:
        taken = chosen(all_of(Path(work)), names)
        results = Results(names=[index.name for index in taken], files=files, began=began)
        results.how = {index.name: index.how for index in taken}
        try:
            _set_up(taken, results, ends)
            _rounds(taken, results, rounds=rounds, seconds=seconds, ends=ends)
        finally:
            for index in taken:
                index.stop()
                index.close()
    results.load = before, os.getloadavg()[0]
    results.seconds = time.time() - began
    return results


def all_of(folder: Path) -> list[Index]:
    """Return every index, each with a folder below `folder`; bare nginx comes after the one whose files it serves."""
    behind = BehindNginx(folder / "behind-nginx")
    bare = BareNginx(folder / "bare-nginx", behind)
    return [
        *(Embedded(folder / "embedded"), behind, bare),
        *(kind(folder / kind.name) for kind in (Pypiserver, Devpi, Pypiron, Peryx)),
    ]


def chosen(indexes: list[Index], names: list[str]) -> list[Index]:
    """Return those whose name has one of `names` in it, or all; bare nginx never without ppm behind nginx.

    Raise ValueError for a name that none has.
    """
    for name in names:
        if not any(name in index.name for index in indexes):
            raise ValueError(f"No index has {name!r} in its name: {', '.join(index.name for index in indexes)}")
    taken = [index for index in indexes if not names or any(name in index.name for name in names)]
    needed = [index.of for index in taken if isinstance(index, BareNginx)]
    return [index for index in indexes if index in taken or index in needed]


def _set_up(taken: list[Index], results: Results, ends: float) -> None:
    projects = results.files // volumes.FILES_EACH
    content = [*workloads.filler(projects), *workloads.contradicting()]
    for index in _left(taken, results, ends):
        with _failing(index, results):
            _say(f"setting up {index.name}")
            index.install()
            index.folder.mkdir()
            index.set_up()
            if index.takes_uploads:
                index.start()
                _fill(index, content)
                index.stop()


def _fill(index: Index, content: list[Upload]) -> None:
    sent = workloads.send(index, content, clients=workloads.CLIENTS, limit=_FILL_SECONDS)
    if len(sent.each) < len(content):
        raise RuntimeError(f"it took only {len(sent.each)} of {len(content)} uploads in {_FILL_SECONDS} s")
    for upload in (content[-1], content[0]):
        page = f"{index.simple}{upload.project}/{index.page}"
        until = time.monotonic() + 30
        while upload.filename.encode() not in index.get(page)[2]:
            if time.monotonic() > until:
                raise RuntimeError(f"{page} does not show {upload.filename}")
            time.sleep(0.05)


def _rounds(taken: list[Index], results: Results, *, rounds: int, seconds: int, ends: float) -> None:
    longest, projects = 0.0, results.files // volumes.FILES_EACH
    for number in range(rounds):
        began = time.monotonic()
        if began + longest > ends:
            return
        new = _new_uploads(number)
        for index in _left(taken, results, ends):
            with _failing(index, results):
                _say(f"round {number + 1}: {index.name}")
                results.add(index.name, START, index.start(volumes.project(0)))
                _measure(index, results, new, projects=projects, seconds=seconds)
                if number == 0:
                    results.promises[index.name] = promises.look(index, volumes.project(0))
                index.stop()
        results.rounds += 1
        longest = max(longest, time.monotonic() - began)


def _new_uploads(number: int) -> dict[str, list[Upload]]:
    """Return the uploads of a round: of one client, of eight with projects of their own, and of eight with one."""
    serial = count()

    def some(times: int, name: Callable[[int], str]) -> list[Upload]:
        return [workloads.upload_of(f"new-{number}-{name(each)}", f"1.{next(serial)}") for each in range(times)]

    return {
        UPLOAD: some(_ONE, lambda each: f"alone-{each // volumes.FILES_EACH}"),
        UPLOADS: some(_AT_ONCE, lambda each: f"apart-{each % (_AT_ONCE // volumes.FILES_EACH)}"),
        SAME: some(_ONE_PROJECT, lambda _each: "together"),
    }


def _measure(index: Index, results: Results, new: dict[str, list[Upload]], *, projects: int, seconds: int) -> None:
    name = index.name
    time.sleep(1)  # what it does after its start
    results.add(name, IDLE, workloads.memory(index))
    with workloads.Peak(index) as peak:
        wanted = workloads.paths(index, projects)
        for measure, kind in ((PAGES, "page"), (WHEELS, "wheel"), (METADATA, "metadata")):
            with _lacking(results, name, measure):
                rate = workloads.read(index, wanted[kind], seconds=seconds)
                results.add(name, measure, rate.per_second)
                if rate.is_limited_by_the_generator:
                    results.limited.add((name, measure))
                if measure == PAGES:
                    results.add(name, COST, rate.cost)
        for measure, clients in ((UPLOAD, 1), (UPLOADS, workloads.CLIENTS), (SAME, workloads.CLIENTS)):
            with _lacking(results, name, measure):
                if not index.takes_uploads:
                    raise workloads.Lacking("it takes no uploads")
                sent = workloads.send(index, new[measure], clients=clients, limit=_UPLOAD_SECONDS)
                results.add(name, measure, workloads.median_ms(sent) if clients == 1 else workloads.a_second(sent))
        for measure, client in ((PIP, "pip"), (UV, "uv")):
            with _lacking(results, name, measure):
                results.add(name, measure, workloads.resolve(index, client))
    results.add(name, PEAK, peak.largest)


def _left(taken: list[Index], results: Results, ends: float) -> Iterator[Index]:
    """Yield the indexes that have not failed, as long as there is time."""
    for index in taken:
        if index.name in results.failed:
            continue
        if time.monotonic() < ends:
            yield index
        else:
            results.failed[index.name] = "no time was left for it"


@contextmanager
def _failing(index: Index, results: Results) -> Iterator[None]:
    """Run a block; if it fails, stop the index and record why."""
    try:
        yield
    except Exception as exc:
        results.failed[index.name] = _reason(exc)
        _say(f"{index.name} failed: {_reason(exc)}")
        index.stop()


@contextmanager
def _lacking(results: Results, name: str, measure: str) -> Iterator[None]:
    """Record why a workload has no figure; one that fails is also a failure of the run."""
    try:
        yield
    except workloads.Lacking as exc:
        results.lacking[name, measure] = str(exc)
    except Exception as exc:
        results.lacking[name, measure] = results.failed[f"{name}, {measure}"] = _reason(exc)
        _say(f"{name}, {measure}: {_reason(exc)}")


def _reason(exc: Exception) -> str:
    return " ".join(f"{exc or type(exc).__name__}".split())[:300]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
