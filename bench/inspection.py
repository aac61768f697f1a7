"""Measure what the child process that reads an upload costs, against a server that reads uploads itself."""

from __future__ import annotations

import itertools
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from support import evidence, servers, wheels

from bench import without_child
from bench.measures import CLIENTS, session
from bench.subjects import Subject

SIZES = {"1 KB": 0, "1 MB": 1 << 20}  # bytes of a wheel that can't be compressed
Upload = tuple[str, bytes]


def compare(*, rounds: int, requests_each: int) -> list[dict[str, object]]:
    """Return a row for each round and size; the servers take turns, and in each round another one begins."""
    commands = {"child": servers.PPMCTL, "alone": without_child.COMMAND}
    serial, rows = itertools.count(), list[dict[str, object]]()
    with tempfile.TemporaryDirectory(prefix="ppm-bench-") as work, ExitStack() as stack:
        subjects = {}
        for name, command in commands.items():
            server = servers.start(Path(work) / name, options=("--upstream", "none"), command=command, warm=False)
            stack.callback(server.kill)
            subjects[name] = Subject(name=name, url=server.url, auth=server.auth, process=server.process.pid)
        for number, (size, extra) in itertools.product(range(rounds), SIZES.items()):
            measured = {}
            for name in sorted(subjects, reverse=bool(number % 2)):
                measured[name] = _measure(subjects[name], _wheels(2 * requests_each, extra, serial))
            row: dict[str, object] = {"subject": f"a wheel of {size}", "files": requests_each, "round": number}
            row |= {f"{name} ms": measured[name]["one client"] for name in subjects}
            ratios = {f"ratio, {what}": value / measured["alone"][what] for what, value in measured["child"].items()}
            rows.append(row | ratios)
    return rows


def _wheels(number: int, extra: int, serial: Iterator[int]) -> list[Upload]:
    files = {"data.bin": random.Random(extra).randbytes(extra)} if extra else None
    return [wheels.wheel(f"upload-{next(serial)}", "1.0", files=files) for _number in range(number)]


def _measure(subject: Subject, made: list[Upload]) -> dict[str, float]:
    """Return ms of an upload: the median of one client, the mean of 8 at once, and processor time."""
    half = len(made) // 2
    before = _processor_time(subject.process)
    one = statistics.median(_upload(subject, made[:half]))
    began = time.perf_counter()
    evidence.at_once([partial(_upload, subject, made[half + number :: CLIENTS]) for number in range(CLIENTS)])
    eight = (time.perf_counter() - began) * 1000 / half
    spent = (_processor_time(subject.process) - before) / len(made)
    return {"one client": one, "8 clients": eight, "processor time": spent}


def _upload(subject: Subject, made: list[Upload]) -> list[float]:
    """Upload files one after the other; return how many ms each took."""
    taken = []
    with session(subject) as client:
        for each in made:
            began = time.perf_counter()
            answer = client.post(f"{subject.url}/legacy/", data={":action": "file_upload"}, files={"content": each})
            taken.append((time.perf_counter() - began) * 1000)
            answer.raise_for_status()
    return taken


def _processor_time(pid: int) -> float:
    """Return the processor time of a process and all below it, in ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    spent = sum(map(int, fields[11:15])) * 1000 / os.sysconf("SC_CLK_TCK")
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        spent += sum(_processor_time(int(child)) for child in listed.read_text().split())
    return spent
