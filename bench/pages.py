"""Measure the web pages: their time for one browser, their size over the wire, and the memory of the server."""

from __future__ import annotations

import re
import statistics
import tempfile
import time
from pathlib import Path

import requests
from support import volumes

from bench import subjects

BROWSER = {"Accept": "text/html,*/*;q=0.8", "Accept-Encoding": "gzip"}
_TOKEN = re.compile('name="form_token" value="([0-9a-f]+)"')


def compare(files: int, *, rounds: int, requests_each: int) -> list[dict[str, object]]:
    """Return the figures of each round at one size of the index. `/simple/` is the page that pip reads."""
    with (
        tempfile.TemporaryDirectory(prefix="ppm-bench-") as work,
        subjects.ppm(Path(work), files=files) as subject,
        requests.Session() as client,
    ):
        before = subject.resident()
        client.trust_env = False
        _log_in(client, subject)
        projects = files // volumes.FILES_EACH
        names = [volumes.project(number * 7919 % projects) for number in range(requests_each)]
        asked = {
            "home": ["/"] * requests_each,
            "projects": ["/projects/"] * requests_each,
            "search, one": [f"/search?q={name.split('-')[-1]}" for name in names],
            "search, all": ["/search?q=filler"] * requests_each,
            "project": [f"/project/{name}/" for name in names],
            "simple": [f"/simple/{name}/" for name in names],
        }
        measured = []
        for number in range(rounds):
            row: dict[str, object] = {"subject": "ppm", "files": files, "round": number}
            for what, paths in asked.items():
                taken, size = _timed(client, subject, paths)
                row |= {f"{what} ms": taken, f"{what} bytes": size}
            measured.append(row | {"MB before": before, "MB after": subject.resident()})
        return measured


def _log_in(client: requests.Session, subject: subjects.Subject) -> None:
    assert subject.auth is not None  # nosec B101 # for mypy; subjects.ppm sets it
    page = client.get(f"{subject.url}/login", headers=BROWSER, timeout=120).text
    form = {"username": subject.auth[0], "password": subject.auth[1], "form_token": _TOKEN.findall(page)[0]}
    answer = client.post(f"{subject.url}/login", data=form, allow_redirects=False, timeout=120)
    if answer.status_code != 303:
        raise RuntimeError(f"The login failed: {answer.status_code}")


def _timed(client: requests.Session, subject: subjects.Subject, paths: list[str]) -> tuple[float, float]:
    """Return the median time in ms and the median size in bytes, compressed, of the answers."""
    taken, sizes = [], []
    for path in [paths[0], *paths]:
        auth = subject.auth if path.startswith("/simple/") else None
        started = time.perf_counter()
        with client.get(subject.url + path, headers=BROWSER, auth=auth, stream=True, timeout=120) as answer:
            answer.raise_for_status()
            size = len(answer.raw.read(decode_content=False))
        taken.append(time.perf_counter() - started)
        sizes.append(size)
    return statistics.median(taken[1:]) * 1000, statistics.median(sizes[1:])
