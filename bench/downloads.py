"""Measure how fast a log of requests is counted, and with how much memory."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ppmctl.downloads import report, request_line
from ppmctl.index.layout import Volume

_PROJECTS, _VERSIONS = 2_000, 10
_LOGGED = 5_000_000  # lines a day: another day begins after so many
_BATCH = 10_000  # lines that are written at once
_AGENTS = 200
# The child process counts: only then does its peak memory have nothing of this one's.
_COUNT = """
import json, resource, sys, time
from pathlib import Path
from ppmctl.downloads.counter import Counter
from ppmctl.index.layout import Volume
began, used = time.monotonic(), time.process_time()
counted = Counter(Volume(root=Path(sys.argv[1]))).count()
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
taken = time.monotonic() - began, time.process_time() - used
print(json.dumps([*taken, memory / 1000, counted.lines, counted.broken]))
"""


def measure(lines: int, *, rounds: int) -> list[dict[str, object]]:
    """Return a row for each round: seconds, seconds of one core, lines a second, and the largest memory in MB."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="ppm-bench-") as work:
        log = Path(work) / "log"
        expected = _write(log, lines)
        for number in range(rounds):
            volume = Volume(root=Path(work) / f"root-{number}")
            volume.prepare()
            volume.requests.parent.mkdir()
            log.rename(volume.requests)
            command = [sys.executable, "-c", _COUNT, str(volume.root)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds, used, memory, counted, broken = json.loads(done.stdout)
            if (counted, broken, report.read(volume).installs) != (lines, 0, expected):
                raise RuntimeError(f"{counted} of {lines} lines were counted, {broken} were broken")
            volume.requests.rename(log)
            rows.append(
                {
                    "subject": "counter",
                    "files": lines,
                    "round": number,
                    "GB": log.stat().st_size / 1e9,
                    "s": seconds,
                    "s of one core": used,
                    "lines/s": lines / used,
                    "resident MB": memory,
                }
            )
    return rows


def _write(log: Path, lines: int) -> int:
    """Write a log like that of a busy index, with many projects and versions of clients; return its installs."""
    chance = random.Random(lines)
    agents = [_agent(number) for number in range(_AGENTS)]
    now, installs = time.time() - 86_400, 0
    with log.open("wb") as file:
        for first in range(0, lines, _BATCH):
            written = []
            for number in range(first, min(first + _BATCH, lines)):
                project = f"project-{int(chance.paretovariate(0.7)) % _PROJECTS}"
                wheel = f"{project.replace('-', '_')}-1.{chance.randrange(_VERSIONS)}-py3-none-any.whl"
                kind = chance.choices(("page", "unchanged", "metadata", "file", "cut"), (30, 30, 15, 24, 1))[0]
                path = f"/simple/{project}/" if kind in ("page", "unchanged") else f"/packages/{project}/{wheel}"
                size = chance.randrange(1_000, 10_000_000)
                agent = agents[int(chance.paretovariate(1)) % _AGENTS]
                installs += kind == "file"
                written.append(
                    request_line.line(
                        time=now + number * 86_400 / _LOGGED,
                        sent=0 if kind == "unchanged" else size // 2 if kind == "cut" else size,
                        length=None if kind == "unchanged" else size,
                        status=304 if kind == "unchanged" else 200,
                        method="GET",
                        path=path + (".metadata" if kind == "metadata" else ""),
                        agent=agent,
                        content_range="",
                    )
                )
            file.write(b"".join(written))
    return installs


def _agent(number: int) -> str:
    if number % 4 == 3:
        return f"curl/8.{number}.0"
    about = {
        "ci": True if number % 3 else None,
        "cpu": "x86_64",
        "distro": {"id": "trixie", "libc": {"lib": "glibc", "version": "2.41"}, "name": "Debian GNU/Linux"},
        "implementation": {"name": "CPython", "version": f"3.{10 + number % 5}.{number % 7}"},
        "installer": {"name": "pip", "version": f"26.{number}"},
        "openssl_version": "OpenSSL 3.5.4 30 Sep 2025",
        "python": f"3.{10 + number % 5}.{number % 7}",
        "system": {"name": "Linux", "release": f"6.12.{number}"},
    }
    return f"{'uv' if number % 2 else 'pip'}/26.{number} {json.dumps(about, separators=(',', ':'))}"
