"""Serve a restored index on a port of the loopback, and install packages from it with pip."""

from __future__ import annotations

import base64
import contextlib
import http.client
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from random import Random

from packaging.specifiers import SpecifierSet
from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion

from ppmctl import files
from ppmctl.access.account import Issued
from ppmctl.errors import PpmError, some
from ppmctl.index.layout import Volume
from ppmctl.index.project_folder import StoredFile
from ppmctl.index.store import Store
from ppmctl.secret import masked
from ppmctl.server import running, unix_http

_HOST = "127.0.0.1"
_ATTEMPTS = 3  # another process may take the port between its choice and its use
_START_SECONDS, _STOP_SECONDS, _INSTALL_SECONDS, _ASK_SECONDS = 120.0, 75.0, 1800.0, 30.0
_LINES = 5  # of a failed program's output, in a message
# variables that are for the real server, for restic, or would make pip use another index or a proxy
_LEFT_OUT = ("PPM_", "LISTEN_", "NOTIFY_", "WATCHDOG_", "AWS_", "RESTIC_", "PIP_", "PYTHONPATH", "PYTHONHOME")
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A wheel to install: its project, version, sha256 and size in bytes."""

    project: str
    version: str
    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Index:
    """A restored index that is served, with a credential that may read it."""

    port: int
    issued: Issued
    folder: Path
    environ: Mapping[str, str]

    @property
    def target(self) -> Path:
        return self.folder / "installed"

    def require_list(self, environment: str) -> None:
        """Raise PpmError unless the index answers with the list of an environment."""
        self._get(f"/env/{environment}/requirements.txt")

    def require_files(self, project: str, hashes: Set[str]) -> None:
        """Raise PpmError unless the page of a project offers the files with these sha256, as an installer needs."""
        page = self._get(f"/simple/{project}/").decode(errors="replace")
        missing = sorted(each for each in hashes if each not in page)
        if missing:
            raise PpmError(f"The restored index does not offer {some(missing)} on the page of {project}.")

    def _get(self, path: str) -> bytes:
        name = self.issued.account.access.name
        pair = base64.b64encode(f"{name}:{self.issued.secret.reveal()}".encode()).decode()
        try:
            answer, content = unix_http.fetch(
                (_HOST, self.port), "GET", path, timeout=_ASK_SECONDS, Authorization=f"Basic {pair}"
            )
        except (OSError, http.client.HTTPException) as exc:
            raise PpmError(f"The restored index did not answer {path}: {exc or type(exc).__name__}.") from exc
        if answer.status != 200:
            raise PpmError(f"The restored index answered {answer.status} for {path}.")
        return content

    def install(self, chosen: Sequence[Chosen]) -> int:
        """Install wheels with pip, from this index alone and by their hashes; return their number."""
        name, secret = self.issued.account.access.name, self.issued.secret.reveal()
        netrc, wanted = self.folder / "netrc", self.folder / "requirements.txt"
        files.write_atomic(netrc, f"machine {_HOST} login {name} password {secret}\n".encode(), mode=0o600)
        wanted.write_text("".join(f"{one.project}=={one.version} --hash=sha256:{one.sha256}\n" for one in chosen))
        options = ["--isolated", "--no-cache-dir", "--disable-pip-version-check", "--no-input", "--quiet"]
        options += ["--index-url", f"http://{_HOST}:{self.port}/simple/", "--no-deps", "--require-hashes"]
        options += ["--only-binary", ":all:", "--no-compile", "--target", str(self.target), "-r", str(wanted)]
        environ = {**self.environ, "NETRC": str(netrc), "TMPDIR": str(self.folder), "HOME": str(self.folder)}
        try:
            done = subprocess.run(
                [*_pip(), "install", *options],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            minutes = f"{_INSTALL_SECONDS / 60:.0f} minutes"
            raise PpmError(f"pip took more than {minutes} to install from the restored index.") from exc
        if done.returncode != 0:
            raise PpmError(f"pip can't install from the restored index: {_end_of(done.stdout)}")
        installed = len(list(self.target.glob("*.dist-info")))
        if installed < len(chosen):
            raise PpmError(f"pip installed {installed} packages of {len(chosen)} from the restored index.")
        return installed


def choose(store: Store, sample: int, chance: Random) -> list[Chosen]:
    """Return the newest wheel that this machine can install of so many projects, by chance."""
    tags = frozenset(sys_tags())
    projects = store.projects()
    chance.shuffle(projects)
    chosen: list[Chosen] = []
    for project in projects:
        if len(chosen) >= sample:
            break
        content = store.read(project)
        usable = () if content.status.is_quarantined else reversed(content.files)
        wheel = next((file for file in usable if _is_installable(file, tags)), None)
        if wheel is not None:
            record = wheel.record
            chosen.append(Chosen(project=project, version=record.version, sha256=record.sha256, size=record.size))
    return chosen


def _is_installable(file: StoredFile, tags: frozenset[object]) -> bool:
    try:
        _name, _version, _build, own = parse_wheel_filename(file.filename)
    except (InvalidWheelFilename, InvalidVersion):
        return False
    python = ".".join(map(str, sys.version_info[:3]))
    fits = SpecifierSet(file.record.requires_python or "").contains(python, prereleases=True)
    return file.yanked is None and fits and not tags.isdisjoint(own)


@contextlib.contextmanager
def served(volume: Volume, folder: Path, issued: Issued, environ: Mapping[str, str]) -> Iterator[Index]:
    """Serve the volume during the block, without another index behind it."""
    kept = {name: value for name, value in environ.items() if not name.startswith(_LEFT_OUT)}
    kept = {name: value for name, value in kept.items() if name.lower() not in _PROXIES}
    kept["PPM_WEBHOOKS"] = os.devnull  # the volume may have a list of them, whose receivers have the events already
    log = folder / "log"
    for attempt in range(1, _ATTEMPTS + 1):
        port = _free_port()
        process = _start(volume, port, log, kept)
        try:
            if _answers(volume, process, port):
                yield Index(port=port, issued=issued, folder=folder, environ=kept)
                return
            if attempt == _ATTEMPTS:
                raise PpmError(f"The restored index can't be served: {_end_of(log.read_bytes())}")
        finally:
            _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _start(volume: Volume, port: int, log: Path, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # -P: this installation, and not a folder named ppmctl in the current one
    command = [sys.executable, "-P", "-m", "ppmctl", "serve", "--root", str(volume.root), "--host", _HOST]
    options = ["--port", str(port), "--upstream", "none", "--read-access", "authenticated"]
    with log.open("wb") as output:
        return subprocess.Popen(
            [*command, *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=dict(environ),
        )


def _answers(volume: Volume, process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server answers; return False if it ends or takes too long."""
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        # the record: the answer of another process on this port does not count
        if running.newest(volume) is not None and unix_http.is_healthy((_HOST, port), timeout=5.0):
            return True
        time.sleep(0.05)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _pip() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-I", "-m", "pip"]
    program = shutil.which("pip3") or shutil.which("pip")
    if program is None:
        raise PpmError(
            "A drill installs packages with pip, which is not installed here.",
            hint="On Debian: sudo apt install python3-pip. To leave this part out: --sample 0",
        )
    return [program]


def _end_of(printed: bytes) -> str:
    lines = printed.decode(errors="replace").strip().splitlines()[-_LINES:]
    return masked(" | ".join(lines)) or "it printed nothing"
