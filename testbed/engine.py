"""Find a Docker engine: the one that runs, or as root one that the testbed starts and stops."""

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

# The SDK's exceptions under other names: no other module imports the SDK.
Failure = errors.DockerException  # any error of the SDK
Refusal = errors.APIError  # an error response of the engine
Missing = errors.NotFound
Unbuildable = errors.BuildError

START_SECONDS = 60
BORN_SECONDS = 5  # by then dockerd has written its pid file, or has ended
STOP_SECONDS = 60
# Seconds to wait for an answer: a stop takes as long as a host needs to shut down.
ANSWER_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A Docker engine that answers at `url`; `own` is true if the testbed started it."""

    url: str
    own: bool
    api: Any  # docker.DockerClient: the SDK has no types


@dataclass(frozen=True, kw_only=True)
class _Daemon:
    """The testbed's own engine; its images stay in the cache between runs."""

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
        """Return the process ID of this engine, or None if it does not run."""
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
    """Return the engine of DOCKER_HOST or of the default socket, else the testbed's own, started if necessary.

    The caller holds `lease.turn`. `known` is the engine's URL in an existing lease: what is on the testbed's own
    engine stays there. Raise BedError if there is no engine and none can be started.
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
    """Stop the testbed's own engine, which no lease uses; leave any other running. The caller holds `lease.turn`."""
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
    """Return a client of the engine at `url`, or None if it does not answer."""
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
    """Return whether a process listens on a socket. The SDK leaks a socket if none does, so this is asked first."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def _start(daemon: _Daemon) -> Any:
    daemon.data.mkdir(parents=True, exist_ok=True)
    daemon.run.mkdir(mode=0o700, exist_ok=True)
    # in a separate session, so that Ctrl-C ends only the testbed, which stops it after removing its containers
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
    started = time.monotonic()
    while (elapsed := time.monotonic() - started) < START_SECONDS:
        api = _answering(daemon.url)
        if api:
            return api
        if elapsed > BORN_SECONDS and daemon.pid() is None:
            break
        time.sleep(0.1)
    log_end = daemon.log.read_text(errors="replace")[-2000:]
    raise BedError("dockerd did not start", hint=f"its log is {daemon.log}:\n{log_end}")
