"""Start the servers that are measured: ppm's embedded server, and a stock pypiserver on the same files."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
from support import servers, volumes

from ppmctl.access import first_admin


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A running server: its URL, a user's credential, its main process ID, and the authority of its certificate."""

    name: str
    url: str
    auth: tuple[str, str] | None
    process: int
    ca: Path | None = None

    def resident(self) -> float:
        """Return the resident memory of the process and its children, in MB."""
        children = Path(f"/proc/{self.process}/task/{self.process}/children").read_text().split()
        return sum(_resident(pid) for pid in (str(self.process), *children)) / 1000

    def file_url(self, number: int, minor: int) -> str:
        return f"{self.url}/packages/{volumes.project(number)}/{volumes.filename(number, minor)}"


@contextlib.contextmanager
def ppm(work: Path, *, files: int) -> Iterator[Subject]:
    """Run `ppmctl serve` with its defaults: one process with threads, with authentication."""
    root = work / "ppm"
    volume = volumes.fill(root, projects=files // volumes.FILES_EACH)
    first_admin.make(volume)
    servers.ppmctl("index", "rebuild", "--root", str(root))
    server = servers.start(root, options=("--upstream", "none"))
    try:
        yield Subject(name="ppm", url=server.url, auth=server.auth, process=server.process.pid)
    finally:
        server.kill()


@contextlib.contextmanager
def pypiserver(work: Path, *, files: int) -> Iterator[Subject]:
    """Run `pypi-server run` on ppm's packages folder, without authentication."""
    packages = work / "ppm" / "packages"
    if not packages.is_dir():
        volumes.fill(work / "ppm", projects=files // volumes.FILES_EACH)
    port = servers.free_port()
    arguments = [sys.executable, "-m", "pypiserver", "run", "-p", str(port), "-i", "127.0.0.1", "-P", ".", "-a", "."]
    arguments += ["--disable-fallback", "--backend", "simple-dir", str(packages)]
    with (work / "pypiserver.log").open("wb") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url + "/health", process)
        yield Subject(name="pypiserver", url=url, auth=None, process=process.pid)
    finally:
        process.kill()
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(url, timeout=10).ok:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{url} did not start")


def _resident(pid: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
