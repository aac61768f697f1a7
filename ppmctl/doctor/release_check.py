"""Check whether this release works on this machine, without the network, and leave nothing behind.

Check its settings and its volume; then serve a temporary volume on a Unix socket, with a process of the same
installation, upload a probe, read it in each form, and stop the server.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import http.client
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ppmctl.access import accounts, credential_files
from ppmctl.access.account import Actor, Issued
from ppmctl.client.credential import Credential
from ppmctl.client.http import READ_TIMEOUT, Answer, Transport
from ppmctl.client.index_url import Address
from ppmctl.doctor import checks
from ppmctl.doctor.expected import Expected
from ppmctl.doctor.finding import Context
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume
from ppmctl.server import unix_http
from ppmctl.server.settings import server_settings, unknown_variables
from ppmctl.storage import configured

_USER = "self-check"
_OF_SERVICE = ("PPM_", "LISTEN_", "NOTIFY_", "WATCHDOG_")  # variables that are for the real server
_START_SECONDS = 60.0
_STOP_SECONDS = 75.0


class SelfCheckError(PpmError):
    """This release does not work here. `log` is what its server printed, "" if it did not start."""

    def __init__(self, message: str, *, hint: str = "", log: str = "") -> None:
        super().__init__(message, hint=hint)
        self.log = log


def check(volume: Volume, environ: Mapping[str, str]) -> None:
    """Check all of it with a prepared volume. Raise SelfCheckError for the first fault."""
    _check_settings(volume, environ)
    _check_credentials(volume)
    try:
        with tempfile.TemporaryDirectory(prefix="ppm-", ignore_cleanup_errors=True) as folder:
            _check_server(Path(folder), environ)
    except OSError as exc:
        raise SelfCheckError(
            f"A temporary volume can't be used: {exc.strerror or exc}{f' ({exc.filename})' if exc.filename else ''}.",
            hint="Set TMPDIR to another folder.",
        ) from exc


def _check_settings(volume: Volume, environ: Mapping[str, str]) -> None:
    try:
        server_settings(volume.root, environ=environ)
    except PpmError as exc:
        raise SelfCheckError(exc.message, hint=exc.hint) from exc
    for name, near in unknown_variables(environ).items():
        raise SelfCheckError(
            f"{name} is set, and ppm has no such setting.", hint=f"Did you mean {near}?" if near else ""
        )


def _check_credentials(volume: Volume) -> None:
    try:
        with contextlib.suppress(FileNotFoundError):
            volume.htpasswd.read_bytes()
        credential_files.read_access(volume.access)
    except OSError as exc:
        raise SelfCheckError(f"The credentials can't be read: {exc}") from exc


def _check_server(folder: Path, environ: Mapping[str, str]) -> None:
    volume, log = Volume(root=folder / "volume"), folder / "log"
    try:
        volume.prepare()
        configured.stay_alone(volume.root)  # the probe must not get into the index's bucket
        issued = accounts.create_user(volume, Actor(name=_USER, origin="here"), _USER, role="admin")
        with _served(volume, folder / "s", log, environ) as address:
            _use(address, issued)
    except PpmError as exc:
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        raise SelfCheckError(exc.message, hint=exc.hint, log=text) from exc


@contextlib.contextmanager
def _served(volume: Volume, address: Path, log: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Serve the volume at a Unix socket during the block, and check that the server stops cleanly."""
    # -P: this installation, and not a folder named ppmctl in the current one
    command = [sys.executable, "-P", "-m", "ppmctl", "serve", "--root", str(volume.root)]
    options = ["--host", f"unix:{address}", "--upstream", "none"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={name: value for name, value in environ.items() if not name.startswith(_OF_SERVICE)},
        )
    try:
        _wait(process, str(address))
        yield str(address)
        process.terminate()
        try:
            code = process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired as exc:
            raise PpmError(f"The server did not end within {_STOP_SECONDS:.0f} seconds of SIGTERM.") from exc
        if code != 0:
            raise PpmError(f"The server ended with exit code {code} after SIGTERM.")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=_STOP_SECONDS)


def _wait(process: subprocess.Popen[bytes], address: str) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise PpmError(f"The server ended with exit code {process.returncode} instead of serving.")
        if unix_http.is_healthy(address, timeout=5.0):
            return
        time.sleep(0.05)
    raise PpmError(f"The server did not answer within {_START_SECONDS:.0f} seconds.")


def _use(address: str, issued: Issued) -> None:
    """Publish the probe and read it, as `ppmctl doctor` does; raise PpmError for the first fault."""
    context = Context(
        address=Address(base="http://localhost", upload="http://localhost/legacy/"),
        credential=Credential(username=_USER, secret=issued.secret, source="this check"),
        environ={},
        home=Path(),
        cwd=Path(),
        transport=functools.partial(_Local, address),
        expected=Expected(tls="none", read_access="authenticated", upstream="none", publish="1.0"),
    )
    for finding in checks.walk(context, checks.RELEASE):
        if finding.state != "ok":
            raise PpmError(f"{finding.message}.")


class _Local(Transport):
    """Connections to the server at a Unix socket."""

    def __init__(self, socket: str, credential: Credential | None, home: str) -> None:
        super().__init__(credential, home)
        self._socket = socket

    def request(self, method: str, url: str, **options: Any) -> Answer:
        """Send one request and read the whole answer; raise PpmError if there is none."""
        sent, path = dict(options.get("headers") or {}), url.removeprefix("http://localhost")
        if self.credential is not None:
            pair = f"{self.credential.username}:{self.credential.secret.reveal()}".encode()
            sent["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        connection = unix_http.Connection(self._socket, timeout=options.get("read_timeout", READ_TIMEOUT))
        try:
            connection.request(method, path, options.get("data"), sent)
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(url=url, status=answer.status, reason=answer.reason, headers=named, body=answer.read())
        except (OSError, http.client.HTTPException) as exc:
            raise PpmError(f"{method} {path} was not answered: {exc or type(exc).__name__}.") from exc
        finally:
            connection.close()
