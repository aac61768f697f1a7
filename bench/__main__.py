"""Measure ppm beside bare nginx, pypiserver, devpi, pypiron and peryx, in one run of 20 minutes at most.

That is without options; it writes docs/performance.md and a picture. With --files: ppm and pypiserver at several
sizes of the index. With --nginx: the deployed nginx, and one with a minimal configuration. With --refusals: wrong
credentials. With --search: the search index, in ms. With --pages: the web pages. With --downloads: counting logs of
requests. With --bucket: nodes on a bucket, and a server without one. With --inspection: uploads that a child process
reads, and that the server reads itself.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

# they import tests/support
from bench import beside, buckets, downloads, inspection, measures, pages, refusals, report, search, subjects, web

ROOT = Path(__file__).parents[1]


def main() -> None:
    chosen = parse(sys.argv[1:])
    if chosen.peers is not None:
        sys.exit(_beside(chosen))
    _part(chosen)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options; without any, all indexes are measured beside each other."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--files", type=int, nargs="+", help="sizes of the index; one with --peers")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the medians are shown")
    parser.add_argument("--requests", type=int, default=200, help="requests of each kind in a round")
    parser.add_argument("--only", choices=["ppm", "pypiserver"], help="measure one of the two")
    parser.add_argument(
        "--peers",
        nargs="*",
        metavar="NAME",
        help="measure all beside each other; names choose some, and nothing is written",
    )
    parser.add_argument("--minutes", type=float, default=20, help="with --peers: begin nothing that could end later")
    parser.add_argument("--nginx", action="store_true", help="compare the deployed nginx with a minimal one")
    parser.add_argument(
        "--refusals", action="store_true", help="measure wrong credentials: their time, and the effect of a flood"
    )
    parser.add_argument("--search", action="store_true", help="measure the search index")
    parser.add_argument("--pages", action="store_true", help="measure the web pages")
    parser.add_argument("--downloads", type=int, default=0, metavar="LINES", help="measure counting a log of LINES")
    parser.add_argument("--inspection", action="store_true", help="measure what the inspection of uploads costs")
    parser.add_argument("--bucket", type=float, metavar="MS", help="measure nodes on a bucket with a latency of MS")
    parser.add_argument("--credentials", type=int, default=0, help="with --nginx: further credentials")
    parser.add_argument(
        "--seconds", type=int, default=3, help="with --nginx or --peers: seconds of load on each in a round"
    )
    parser.add_argument("--json", type=Path, help="also write the results of all rounds to this file")
    chosen = parser.parse_args(arguments)
    if not arguments:
        chosen.peers = []
    try:
        beside.chosen(beside.all_of(Path()), chosen.peers or [])
    except ValueError as exc:
        parser.error(str(exc))
    chosen.files = chosen.files or ([1000] if chosen.peers is not None else [100, 1000, 10_000])
    return chosen


def _beside(chosen: argparse.Namespace) -> int:
    """Measure all indexes and write the document, or some and print the tables; return 1 if anything failed."""
    results = beside.run(
        chosen.peers,
        files=chosen.files[0],
        rounds=chosen.rounds,
        seconds=chosen.seconds,
        minutes=chosen.minutes,
    )
    print(report.markdown(results))
    if not chosen.peers:
        report.write(results, ROOT / "docs" / "performance.md", ROOT / "docs" / "images" / "peers.svg")
    for name, reason in results.failed.items():
        print(f"{name} failed: {reason}", file=sys.stderr)
    return 1 if results.failed else 0


def _part(chosen: argparse.Namespace) -> None:
    rounds: list[dict[str, object]] = []
    if chosen.refusals:
        chosen.files = []
        rounds = refusals.compare(rounds=chosen.rounds, requests_each=chosen.requests)
    if chosen.downloads:
        chosen.files = []
        rounds = downloads.measure(chosen.downloads, rounds=chosen.rounds)
    if chosen.bucket is not None:
        chosen.files = []
        rounds = buckets.compare(latency=chosen.bucket / 1000, rounds=chosen.rounds, requests_each=chosen.requests)
    if chosen.inspection:
        chosen.files = []
        rounds = inspection.compare(rounds=chosen.rounds, requests_each=chosen.requests)
    for files in chosen.files:
        if chosen.search:
            rounds += search.measure(files, rounds=chosen.rounds, requests_each=chosen.requests)
            continue
        if chosen.nginx:
            rounds += web.compare(files, rounds=chosen.rounds, seconds=chosen.seconds, others=chosen.credentials)
            continue
        if chosen.pages:
            rounds += pages.compare(files, rounds=chosen.rounds, requests_each=chosen.requests)
            continue
        for subject in (subjects.ppm, subjects.pypiserver):
            if chosen.only not in (None, subject.__name__):
                continue
            with (
                tempfile.TemporaryDirectory(prefix="ppm-bench-") as work,
                subject(Path(work), files=files) as running,
            ):
                for number in range(chosen.rounds):
                    measured = measures.measure(running, files=files, requests_each=chosen.requests)
                    rounds.append({"subject": running.name, "files": files, "round": number, **measured})
    print(heading(chosen.rounds))
    show = refusals.table if chosen.refusals else web.table if chosen.nginx else table
    print(show(rounds))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps({"machine": machine(), "rounds": rounds}, indent=1) + "\n")


def machine() -> str:
    """Return a description of the machine, on which all figures depend."""
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def heading(rounds: int) -> str:
    """Return the heading of the table, in Markdown."""
    return f"{machine()}; medians of {rounds} rounds\n"


def table(rounds: list[dict[str, object]]) -> str:
    """Return the medians of all rounds as a Markdown table."""
    names = [name for name in rounds[0] if name not in ("subject", "files", "round")]
    lines = ["| | files | " + " | ".join(names) + " |", "| --- | --- |" + " --- |" * len(names)]
    for key in dict.fromkeys((row["subject"], row["files"]) for row in rounds):
        mine = [row for row in rounds if (row["subject"], row["files"]) == key]
        shown = [_figure(name, [float(str(row[name])) for row in mine if name in row]) for name in names]
        lines.append(f"| {key[0]} | {key[1]:,} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _figure(name: str, values: list[float]) -> str:
    """Return the median of a figure, or a dash if it was not measured."""
    if not values:
        return "–"
    value = statistics.median(values)
    if name.startswith("ratio"):
        return f"{value:.2f}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


if __name__ == "__main__":
    main()
