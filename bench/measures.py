"""Measure a server: uploads, pages and downloads, each with a bounded number of requests."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

import requests
from support import evidence, volumes, wheels

from bench.subjects import Subject

CLIENTS = 8
_serial: Iterator[int] = count()

Measured = dict[str, float]


def measure(subject: Subject, *, files: int, requests_each: int) -> Measured:
    """Measure one round: medians in ms for one client, and requests a second for 8 clients at once."""
    projects = files // volumes.FILES_EACH
    measured = {
        "upload ms": one_by_one(subject, requests_each, lambda client, _number: upload(client, subject)),
        "page ms": one_by_one(
            subject, requests_each, lambda client, number: page(client, subject, number % projects)
        ),
        "download ms": one_by_one(
            subject, requests_each, lambda client, number: download(client, subject, number % projects)
        ),
        "uploads/s, 8 clients": at_once(subject, requests_each, lambda client, _number: upload(client, subject)),
        "pages/s, 8 clients": at_once(
            subject, requests_each, lambda client, number: page(client, subject, number % projects)
        ),
    }
    return measured | {"resident MB": subject.resident()}


def one_by_one(subject: Subject, times: int, act: Callable[[requests.Session, int], None]) -> float:
    """Return the median time of `act` in ms, of `times` requests of one client."""
    taken = []
    with session(subject) as client:
        act(client, 0)
        for number in range(times):
            started = time.perf_counter()
            act(client, number)
            taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1000


def at_once(subject: Subject, times: int, act: Callable[[requests.Session, int], None]) -> float:
    """Return how often 8 clients at once do `act` in a second."""
    each = max(times // CLIENTS, 1)

    def work(first: int) -> None:
        with session(subject) as client:
            for number in range(first * each, (first + 1) * each):
                act(client, number)

    started = time.perf_counter()
    evidence.at_once([partial(work, number) for number in range(CLIENTS)])
    return each * CLIENTS / (time.perf_counter() - started)


def session(subject: Subject) -> requests.Session:
    """Return a session with the subject's credential."""
    made = requests.Session()
    made.auth = subject.auth
    made.trust_env = False
    return made


def upload(client: requests.Session, subject: Subject) -> None:
    """Upload a new file."""
    number = next(_serial)
    made = wheels.wheel(f"upload-{number // volumes.FILES_EACH}", f"1.{number % volumes.FILES_EACH}")
    answer = client.post(
        subject.url + "/",
        data={":action": "file_upload"},
        files={"content": made},
        timeout=120,
        verify=str(subject.ca) if subject.ca else True,
    )
    answer.raise_for_status()


def page(client: requests.Session, subject: Subject, number: int) -> None:
    """Read a project's page."""
    client.get(f"{subject.url}/simple/{volumes.project(number)}/", timeout=120).raise_for_status()


def download(client: requests.Session, subject: Subject, number: int) -> None:
    """Download one of a project's files."""
    client.get(subject.file_url(number, number % volumes.FILES_EACH), timeout=120).raise_for_status()
