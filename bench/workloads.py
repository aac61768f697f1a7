"""What `make bench` does to each index: reads, uploads, and resolves by pip and uv. Each takes a bounded time."""

from __future__ import annotations

import contextlib
import hashlib
import html
import http.client
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urljoin

import requests
from support import debian, evidence, raw, servers, volumes, wheels

from bench import web
from bench.indexes import Index

CLIENTS = 8
_LIBRARIES, _VERSIONS, _COMPATIBLE = 10, 10, 2  # of a resolve: all but the lowest versions contradict each other
_PAYLOAD = 500_000
_RESOLVE_SECONDS = 60
_TICK = os.sysconf("SC_CLK_TCK")


class Lacking(Exception):
    """An index has no figure for a workload; the message is the reason."""


@dataclass(frozen=True, kw_only=True)
class Upload:
    """The body of an upload as twine sends it, made before it is measured."""

    project: str
    filename: str
    content: bytes
    body: bytes
    content_type: str


def upload_of(project: str, version: str, **options: Any) -> Upload:
    """Return the upload of a wheel; options are those of `wheels.wheel`."""
    filename, content = wheels.wheel(project, version, **options)
    form = {":action": "file_upload", "protocol_version": "1", "name": project, "version": version}
    form |= {"filetype": "bdist_wheel", "pyversion": "py3", "metadata_version": "2.1"}
    form["sha256_digest"] = hashlib.sha256(content).hexdigest()
    made = requests.Request("POST", "http://x/", data=form, files={"content": (filename, content)}).prepare()
    assert isinstance(made.body, bytes)  # nosec B101 # for mypy
    return Upload(
        project=project,
        filename=filename,
        content=content,
        body=made.body,
        content_type=made.headers["Content-Type"],
    )


def filler(projects: int) -> Iterator[Upload]:
    """Yield small wheels of `projects` projects with ten files each, which are read."""
    for number in range(projects):
        for minor in range(volumes.FILES_EACH):
            yield upload_of(volumes.project(number), f"1.{minor}", requires_python=">=3.9")


def contradicting() -> Iterator[Upload]:
    """Yield a project and the libraries that it needs; of each, only the lowest versions allow the same base.

    A resolver that begins with the newest versions must look at most of them. Half of the libraries are large.
    """
    for number in range(_VERSIONS):
        yield upload_of("resolve-base", f"1.{number}")
    chance = random.Random(1)
    for library in range(_LIBRARIES):
        name = f"resolve-lib-{library}"
        for number in range(_VERSIONS):
            base = number if number >= _COMPATIBLE else 0
            files = {f"{name.replace('-', '_')}.bin": chance.randbytes(_PAYLOAD)} if library % 2 else None
            yield upload_of(name, f"1.{number}", files=files, requires_dist=f"resolve-base == 1.{base}")
    needs = [f"resolve-lib-{library}" for library in range(_LIBRARIES)] + [f"resolve-base < 1.{_COMPATIBLE}"]
    lines = "".join(f"\nRequires-Dist: {need}" for need in needs)
    yield upload_of("resolve-app", "1.0", meta=wheels.metadata("resolve-app", "1.0" + lines))


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The seconds that each upload took, and all of them together."""

    each: list[float]
    seconds: float


def send(index: Index, uploads: Iterable[Upload], *, clients: int, limit: float) -> Sent:
    """Upload with so many clients at once, over connections that they keep; begin none after `limit` seconds."""
    left, lock, each = iter(uploads), threading.Lock(), []
    began = time.perf_counter()

    def work() -> None:
        with contextlib.closing(index.connect()) as connection:
            while time.perf_counter() - began < limit:
                with lock:
                    upload = next(left, None)
                if upload is None:
                    return
                started = time.perf_counter()
                post(index, connection, upload)
                each.append(time.perf_counter() - started)

    evidence.at_once([work] * clients)
    return Sent(each=each, seconds=time.perf_counter() - began)


def post(index: Index, connection: http.client.HTTPConnection, upload: Upload) -> None:
    """Upload once; raise RuntimeError for an answer that is not 200."""
    signed = {"Authorization": raw.basic(*index.auth)} if index.auth else {}
    connection.request("POST", index.upload, upload.body, {"Content-Type": upload.content_type, **signed})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"an upload was answered {answer.status} {answer.reason} {content[:200]!r}")


@dataclass(frozen=True, kw_only=True)
class Link:
    """A file on a project's page: its path on the server, and whether the page offers its metadata."""

    path: str
    has_metadata: bool


_ANCHOR = re.compile(r"<a\s([^>]*)>", re.I)
_HREF = re.compile(r"""href=["']([^"']*)["']""", re.I)


def links(url: str, content_type: str, page: bytes) -> list[Link]:
    """Return the files on a project's page, which is JSON or HTML; `url` is the page's path."""
    if "json" in content_type:
        files = json.loads(page)["files"]
        found = [(file["url"], bool(file.get("core-metadata", file.get("dist-info-metadata")))) for file in files]
    else:
        anchors = _ANCHOR.findall(page.decode())
        found = [(html.unescape(_HREF.findall(each)[0]), "metadata=" in each) for each in anchors]
    return [Link(path=_path(urljoin(f"http://x{url}", href)), has_metadata=has) for href, has in found]


def _path(url: str) -> str:
    return "/" + urldefrag(url)[0].split("/", 3)[3]


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Requests a second, µs of the server's processor time for each, and how much of a core both sides used."""

    per_second: float
    cost: float
    server: float
    generator: float
    processors: int  # that the server has

    @property
    def is_limited_by_the_generator(self) -> bool:
        """Return whether a request costs the generator more of its processor than the server of its own."""
        return self.generator > self.server / self.processors


def paths(index: Index, projects: int) -> dict[str, list[str]]:
    """Return the paths to read: pages, wheels, and the metadata of wheels as far as the pages offer it."""
    pages = [f"{index.simple}{volumes.project(number)}/{index.page}" for number in range(projects)]
    files: list[Link] = []
    for page in pages:
        status, content_type, content = index.get(page)
        if status != 200:
            raise RuntimeError(f"{page} was answered {status}")
        files += links(page, content_type, content)
    metadata = [file.path + ".metadata" for file in files if file.has_metadata]
    return {"page": pages, "wheel": [file.path for file in files], "metadata": metadata}


def read(index: Index, wanted: Sequence[str], *, seconds: int) -> Rate:
    """Read paths in turn over 16 connections with wrk, in C: on the last processor, the server on the others."""
    if not wanted:
        raise Lacking("no page offers it (PEP 658)")
    processors = sorted(os.sched_getaffinity(0))
    asked = random.Random(1).sample(list(wanted), len(wanted))
    headers = index.reading()
    with tempfile.TemporaryDirectory(prefix="ppm-bench-") as work:
        script, listed = Path(work) / "load.lua", Path(work) / "paths"
        script.write_text(web.SCRIPT)
        listed.write_text("".join(f"{path}\n" for path in asked))
        own = processors[:-1] or processors
        _place(index, own)
        index.get(asked[0])  # it answers first what wrk asked before, and did not wait for
        before, spent, began = _processor_seconds(index), _generator_seconds(), time.perf_counter()
        done = subprocess.run(
            [
                *("taskset", "--cpu-list", str(processors[-1]), *debian.tree(13).wrk),
                *("--threads", "1", "--connections", str(web.CONNECTIONS), "--duration", f"{seconds}s"),
                *("--timeout", "10s", "--script", str(script), index.url + "/", "--"),
                *(str(listed), headers.get("Authorization", ""), headers["Accept"]),
            ],
            capture_output=True,
            text=True,
            timeout=seconds + 60,
        )
        taken = time.perf_counter() - began
        _place(index, processors)
    if done.returncode:
        raise RuntimeError(f"wrk exited {done.returncode}: {done.stdout[-200:]}{done.stderr[-200:]}")
    count, microseconds, errors = map(int, done.stdout.split("\n")[-2].split())
    if errors or not count:
        raise RuntimeError(f"{errors} of {count} requests failed in {seconds} s")
    used = _processor_seconds(index) - before
    return Rate(
        per_second=count / microseconds * 1e6,
        cost=used / count * 1e6,
        server=used / taken,
        generator=(_generator_seconds() - spent) / taken,
        processors=len(own),
    )


def _place(index: Index, processors: Sequence[int]) -> None:
    """Let all threads of an index run on these processors only."""
    for pid in index.processes():
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(task.name), processors)


def _processor_seconds(index: Index) -> float:
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in index.processes()]
    return sum(int(field[11]) + int(field[12]) for field in fields) / _TICK


def _generator_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def resolve(index: Index, client: str) -> float:
    """Return the seconds in which pip or uv finds what `resolve-app` needs, with nothing cached."""
    url = f"{index.url}{index.simple}"
    if index.auth and index.is_read_with_auth:
        url = url.replace("://", "://{}:{}@".format(*index.auth))
    with tempfile.TemporaryDirectory(prefix="ppm-bench-") as work:
        certificate = {"SSL_CERT_FILE": str(index.ca)} if index.ca else {}
        environ = servers.clean_environment(Path(work), **certificate)
        own = ["--index-url", url, "--only-binary", ":all:"]
        if client == "pip":
            command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-cache-dir"]
            command += ["--no-input", *own, *(["--cert", str(index.ca)] if index.ca else []), "resolve-app"]
        else:
            uv = str(Path(sys.executable).with_name("uv"))
            command = [uv, "pip", "compile", "--no-cache", "--python", sys.executable, *own, "-"]
        began = time.perf_counter()
        try:
            done = subprocess.run(
                command,
                env=environ,
                cwd=work,
                input="resolve-app\n",
                capture_output=True,
                text=True,
                timeout=_RESOLVE_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise Lacking(f"it takes longer than {_RESOLVE_SECONDS} s") from None
        taken = time.perf_counter() - began
    expected = f"resolve-lib-0{'-' if client == 'pip' else '=='}1.{_COMPATIBLE - 1}"
    if done.returncode or expected not in done.stdout:
        raise RuntimeError(f"{client} found something else: {done.stdout[-200:]}{done.stderr[-300:]}")
    return taken


def memory(index: Index) -> float:
    """Return the memory of all of its processes in MB, each with its share of common pages (PSS)."""
    total = 0
    for pid in index.processes():
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total / 1000


class Peak:
    """The most memory that an index has while the block runs, asked five times a second."""

    def __init__(self, index: Index) -> None:
        self._index, self._end = index, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.largest = 0.0

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(0.2):
            self.largest = max(self.largest, memory(self._index))


def median_ms(sent: Sent) -> float:
    return statistics.median(sent.each) * 1000


def a_second(sent: Sent) -> float:
    return len(sent.each) / sent.seconds
