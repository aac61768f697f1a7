"""Real servers for tests: `ppmctl serve` in its own process group, on a free port of the loopback."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from support import warm as warmed
from support.warm import Process

PPMCTL = (sys.executable, "-m", "ppmctl")
JSON = "application/vnd.pypi.simple.v1+json"

# Variables of a user, or of a pipeline that runs the tests, that would change a client under test. Certificates and
# proxies stay, as a test needs them to reach the public index.
_FOREIGN = (
    "CI_",
    "BUILD_",
    "GITHUB_",
    "GITLAB_",
    "PIP_",
    "UV_",
    "TWINE_",
    "PPM_",
    "PPMCTL_",
    "FLIT_",
    "HATCH_",
    "NETRC",
    "PYTHONPATH",
    "VIRTUAL_ENV",
)
_KEPT = ("PIP_CERT", "PIP_PROXY")


_PORTS = range(20_000, 32_000)
_given: set[int] = set()


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """Return the environment for a client with an empty home, without configuration of this machine or user."""
    home.mkdir(parents=True, exist_ok=True)
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or not (name == "CI" or name.startswith(_FOREIGN))
    }
    kept |= {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_NO_CONFIG": "1",
        "UV_CACHE_DIR": str(home / "uv-cache"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    return kept | more


def run_ppmctl(arguments: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `ppmctl`, in a new interpreter only where that matters; options are those of subprocess.run.

    With `merged` stderr goes to stdout. A test of the start itself runs `PPMCTL` with subprocess.
    """
    options = {"timeout": 600, "merged": False, "env": None, "cwd": None, "input": None} | options
    if "serve" not in arguments[:1] and warmed.can_run(options["env"]):
        renamed = {"environ": options.pop("env"), "folder": options.pop("cwd"), "given": options.pop("input") or ""}
        return warmed.run(*arguments, expect=None, **renamed, **options)
    errors = subprocess.STDOUT if options.pop("merged") else subprocess.PIPE
    return subprocess.run([*PPMCTL, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True, **options)


def ppmctl(*arguments: str, expect: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `ppmctl`; fail with its output unless it exits with `expect`. Options are those of `run_ppmctl`."""
    done = run_ppmctl(arguments, **options)
    assert done.returncode == expect, f"ppmctl {arguments} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


def free_port() -> int:
    """Return a port that no other test gets, even while its server is down.

    It is below the kernel's ephemeral ports, and each pytest-xdist worker has its own range, so that a server that is
    killed and started again can use its port again.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    own = _PORTS[worker::workers]
    for port in random.sample(own, len(own)):
        with socket.socket() as probe:
            if port not in _given and probe.connect_ex(("127.0.0.1", port)) != 0:
                _given.add(port)
                return port
    raise AssertionError("no port is free")


@dataclass(kw_only=True)
class Server:
    """A running server of the volume `root`; `user` and `secret` are an admin's."""

    root: Path
    port: int
    process: subprocess.Popen[bytes] | Process
    log: Path
    user: str = ""
    secret: str = ""
    options: tuple[str, ...] = ()
    command: tuple[str, ...] = PPMCTL
    environ: Mapping[str, str] = field(default_factory=dict)
    warm: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def simple(self) -> str:
        return f"{self.url}/simple/"

    @property
    def auth(self) -> tuple[str, str]:
        return self.user, self.secret

    @property
    def netrc(self) -> Path:
        return self.root / "netrc"

    def get(self, path: str, **options: Any) -> requests.Response:
        """GET a path of the index as the admin, without following redirects."""
        options = {"auth": self.auth, "timeout": 60, "allow_redirects": False} | options
        return requests.get(self.url + path, **options)

    def page(self, project: str) -> dict[str, Any]:
        """Return a project's page in JSON."""
        answer = self.get(f"/simple/{project}/", headers={"Accept": JSON})
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        page: dict[str, Any] = json.loads(answer.content)
        return page

    def filenames(self, project: str) -> set[str]:
        return {file["filename"] for file in self.page(project)["files"]}

    def upload(
        self, made: tuple[str, bytes], *, path: str = "/", fields: Mapping[str, str] | None = None, **options: Any
    ) -> requests.Response:
        """Upload (filename, content) as the admin, without retries."""
        options = {"auth": self.auth, "timeout": 120} | options
        form = {":action": "file_upload", "protocol_version": "1"} | dict(fields or {})
        return requests.post(self.url + path, data=form, files={"content": made}, **options)

    def kill(self) -> None:
        """Kill the whole process group with SIGKILL."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)

    def stop(self) -> int:
        """Stop it as systemd would; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=90)

    def start_again(self) -> None:
        """Start a new process on the same volume and port."""
        again = start(
            self.root,
            port=self.port,
            options=self.options,
            command=self.command,
            environ=self.environ,
            warm=self.warm,
        )
        self.process = again.process


def start(
    root: Path,
    *,
    port: int | None = None,
    options: Sequence[str] = (),
    command: Sequence[str] = PPMCTL,
    environ: Mapping[str, str] | None = None,
    wait: float = 60,
    warm: bool | None = None,
) -> Server:
    """Serve the volume at `root` (created with a first admin if needed) and wait until it answers.

    `warm` forks the server from a process that has imported its modules (`support.warm`), for any `command`. By
    default that is done unless `command` or `environ` affect the start itself.
    """
    if warm is None:
        warm = tuple(command) == PPMCTL and not any(name.startswith("PYTHON") for name in environ or {})
    if port is None:
        port = free_port()
    else:
        _wait_for(port)
    log = root.with_name(root.name + ".log")
    root.parent.mkdir(parents=True, exist_ok=True)
    arguments = ["serve", "--root", str(root), "--port", str(port), "--first-credential", *options]
    environment = {**os.environ, **(environ or {})}
    with log.open("ab") as output:
        process: subprocess.Popen[bytes] | Process
        if warm:
            process = warmed.start(arguments, environ=environment, stdout=output, stderr=output)
        else:
            process = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=environment,
            )
    server = Server(
        root=root,
        port=port,
        process=process,
        log=log,
        options=tuple(options),
        command=tuple(command),
        environ=dict(environ or {}),
        warm=warm,
    )
    server_is_up(server, wait=wait)
    if (root / "first-credential").exists():
        server.user, _, server.secret = (root / "first-credential").read_text().strip().partition(":")
    return server


def _wait_for(port: int) -> None:
    """Wait until nothing listens on it: of a killed server the kernel may end the children after the parent."""
    until = time.monotonic() + 30
    while not _is_free(port):
        assert time.monotonic() < until, f"port {port} is not free"
        time.sleep(0.02)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # as servers do: ended connections don't matter
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            return False
    return True


def server_is_up(server: Server, *, wait: float) -> None:
    """Wait until /healthz answers; fail with the server's log if it exits or takes longer."""
    until = time.monotonic() + wait
    while time.monotonic() < until:
        if server.process.poll() is not None:
            break
        try:
            if requests.get(f"{server.url}/healthz", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.05)
    raise AssertionError(f"The server did not come up:\n{server.log.read_text()[-4000:]}")
