"""Measure wrong credentials on ppm's embedded server: their own time, and how a flood of them slows other clients.

If an unknown user and a wrong secret take the same time, an attacker can't distinguish them. A flood of wrong
credentials is compared with a flood of valid ones.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from bench import subjects

FLOOD = 4  # clients
_WRONG = "ppm_" + "x" * 43


def compare(*, rounds: int, requests_each: int) -> list[dict[str, object]]:
    """Return medians in µs of a request with each credential, and of a valid one during a flood of each."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="ppm-bench-") as work, subjects.ppm(Path(work), files=10) as running:
        assert running.auth is not None  # nosec B101 # for mypy; subjects.ppm sets it
        user, secret = running.auth
        sent = {"right": (user, secret), "wrong secret": (user, _WRONG), "unknown user": ("nobody", _WRONG)}
        for number in range(rounds):
            row: dict[str, object] = {"round": number}
            taken = _in_turn(running.url, sent, requests_each)
            row |= {f"{name} µs": median for name, median in taken.items()}
            row["unknown / wrong"] = taken["unknown user"] / taken["wrong secret"]
            for name, auth in sent.items():
                with _flood(running.url, auth):
                    row[f"right, in a flood of {name} µs"] = _in_turn(
                        running.url, {"right": sent["right"]}, requests_each
                    )["right"]
            rows.append(row)
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """Return the medians of all rounds as a Markdown table."""
    medians = {name: statistics.median(float(str(row[name])) for row in rows) for name in rows[0] if name != "round"}
    shown = [
        f"| {name} | {value:.3f} |" if "/" in name else f"| {name} | {value:,.0f} |"
        for name, value in medians.items()
    ]
    return "\n".join(["| | |", "| --- | --- |", *shown])


def _in_turn(url: str, sent: dict[str, tuple[str, str]], times: int) -> dict[str, float]:
    """Return the median time of a request with each credential, in µs; they take turns, each on one connection."""
    taken: dict[str, list[float]] = {name: [] for name in sent}
    clients = {name: _client(auth) for name, auth in sent.items()}
    order = list(sent)
    for _number in range(times):
        random.shuffle(order)
        for name in order:
            started = time.perf_counter()
            clients[name].get(f"{url}/simple/", timeout=60)
            taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) * 1e6 for name, times in taken.items()}


@contextmanager
def _flood(url: str, auth: tuple[str, str]) -> Iterator[None]:
    """Send as many requests with that credential as FLOOD clients can."""
    stop = threading.Event()

    def send() -> None:
        client = _client(auth)
        while not stop.is_set():
            client.get(f"{url}/simple/", timeout=60)

    threads = [threading.Thread(target=send) for _number in range(FLOOD)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _client(auth: tuple[str, str]) -> requests.Session:
    session = requests.Session()
    session.auth, session.trust_env = auth, False
    return session
