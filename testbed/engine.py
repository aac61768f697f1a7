"""A Docker engine: the one that is there, or as root one that the testbed starts and stops itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker import errors

from testbed.errors import BedError
from testbed.place import ENVIRONMENT, cache, need, of_this_cache

# The SDK's exceptions by what they say; this is its one importer.
Failure = errors.DockerException  # any
Refusal = errors.APIError  # what the engine answers
Missing = errors.NotFound
Unbuildable = errors.BuildError

START_SECONDS = 60
BORN_SECONDS = 5  # by then it has written its pid, or has ended
STOP_SECONDS = 60
# A read of the engine's answers, in seconds: a stop waits as long as a host takes to shut down.
ANSWER_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A Docker engine that answers at `url`; `own` says that the testbed started it."""

    url: str
    own: bool
    api: Any  # docker.DockerClient: the SDK has no types


@dataclass(frozen=True, kw_only=True)
class _Daemon:
    """The engine of the testbed itself; its images stay in the cache between runs."""

    data: Path
    run: Path

    @property
    def socket(self) -> Path:
        return self.run / "docker.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def pid_file(self) -> Path:
        return self.run / "pid"

    @property
    def log(self) -> Path:
        return self.data.parent / "engine.log"

    def pid(self) -> int | None:
        """The process of this engine, if it runs."""
        try:
            pid = int(self.pid_file.read_text())
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except (OSError, ValueError):
            return None
        return pid if name == "dockerd" else None


def _daemon() -> _Daemon:
    # a socket's path may have 107 characters, so it is not in the cache
    return _Daemon(data=cache() / "engine", run=Path("/run") / f"ppm-testbed-{of_this_cache()}")


def find(known: str = "") -> Engine:
    """The engine of DOCKER_HOST or of the default socket, else the testbed's own, started if need be.

    Called in turn (`lease.turn`). What is on the testbed's own stays there: `known` is the URL that a lease names.
    BedError where there is no engine and none can be started.
    """
    daemon = _daemon()
    url = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    api = None if known == daemon.url else _answering(url)
    if api:
        return Engine(url=url, own=False, api=api)
    if os.environ.get("DOCKER_HOST") and known != daemon.url:
        raise BedError(f"No Docker engine answers at DOCKER_HOST={url}", hint="unset it, or start that engine")
    api = _answering(daemon.url)
    if not api:
        if os.geteuid() != 0:
            raise BedError(
                f"No Docker engine answers at {url}",
                hint="start Docker (sudo systemctl start docker), or become a member of its group",
            )
        need("engine")
        api = _start(daemon)
    return Engine(url=daemon.url, own=True, api=api)


def stop(engine: Engine) -> None:
    """Stop an engine of the testbed's own, in turn, when nobody uses it; any other is left alone."""
    engine.api.close()
    daemon = _daemon()
    pid = daemon.pid()
    if not engine.own or pid is None:
        return
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + STOP_SECONDS
    while daemon.pid() is not None and time.monotonic() < until:
        time.sleep(0.1)


def _answering(url: str) -> Any:
    """A client of the engine at `url` if it answers."""
    if url.startswith("unix://") and not _listens(url.removeprefix("unix://")):
        return None
    try:
        api = docker.DockerClient(base_url=url, timeout=ANSWER_SECONDS, max_pool_size=20)
    except Failure:
        return None
    try:
        api.ping()
    except (Failure, OSError):
        api.close()
        return None
    return api


def _listens(path: str) -> bool:
    """Whether somebody listens at a socket; the SDK leaves one open where nobody does."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def _start(daemon: _Daemon) -> Any:
    daemon.data.mkdir(parents=True, exist_ok=True)
    daemon.run.mkdir(mode=0o700, exist_ok=True)
    # in a session of its own: Ctrl-C is for us, who stop it when its containers are gone
    command = [
        *("setsid", "--fork", "dockerd", "--host", daemon.url, "--data-root", str(daemon.data)),
        *("--exec-root", str(daemon.run / "exec"), "--pidfile", str(daemon.pid_file)),
    ]
    with daemon.log.open("wb") as log:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=ENVIRONMENT,
            check=True,
            timeout=30,
        )
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < START_SECONDS:
        api = _answering(daemon.url)
        if api:
            return api
        if passed > BORN_SECONDS and daemon.pid() is None:
            break
        time.sleep(0.1)
    said = daemon.log.read_text(errors="replace")[-2000:]
    raise BedError("dockerd did not come up", hint=f"what it said is in {daemon.log}:\n{said}")
