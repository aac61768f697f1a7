"""Stand in for systemd: hold a server's socket, pass it on, and receive the server's notifications."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPMessage
from pathlib import Path

import requests

from ppmctl.server.unix_http import Connection
from support.servers import PPMCTL, ppmctl

# sd_listen_fds(3): the sockets begin at descriptor 3, and LISTEN_PID is the process that gets them, which only
# knows its own id.
_LAUNCHER = """
import os, sys
passed = int(sys.argv[1])
if passed != 3:
    os.dup2(passed, 3)
os.set_inheritable(3, True)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = "1"
os.execvp(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A complete HTTP answer."""

    status: int
    reason: str
    headers: HTTPMessage
    body: bytes


@dataclass(kw_only=True)
class Unit:
    """A socket unit whose service can be started, stopped and killed repeatedly; the socket stays open."""

    root: Path
    path: Path
    listener: socket.socket
    notified: socket.socket
    log: Path
    secret: str
    options: tuple[str, ...] = ()
    command: tuple[str, ...] = PPMCTL
    environ: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the service; a request that comes earlier waits in the socket."""
        # -I -S: the launcher starts faster
        launch = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(self.listener.fileno())]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*launch, *self.command, "serve", "--root", str(self.root), *self.options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=(self.listener.fileno(),),
                env={**os.environ, "NOTIFY_SOCKET": str(self.notified.getsockname()), **self.environ},
            )

    def stop(self) -> int:
        """Send SIGTERM to the main process, like KillMode=mixed; return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=90)

    def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=30)

    def receives_notification(self, wanted: str, *, within: float) -> bool:
        """Return whether this notification comes `within` so many seconds; ignore others."""
        until = time.monotonic() + within
        while (left := until - time.monotonic()) > 0:
            self.notified.settimeout(left)
            with contextlib.suppress(TimeoutError):
                if wanted in self.notified.recv(4096).decode().splitlines():
                    return True
        return False

    def drop_notifications(self) -> None:
        """Drop the notifications received so far."""
        self.notified.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.notified.recv(4096)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 90,
    ) -> Reply:
        """Send one request as the admin on a new connection, as nginx does; raise OSError if it is lost."""
        signed = base64.b64encode(f"admin:{self.secret}".encode()).decode()
        connection = Connection(str(self.path), timeout=timeout)
        try:
            more = {"Host": "index.example", "Authorization": f"Basic {signed}"}
            connection.request(method, path, body, {**more, **(headers or {})})
            answer = connection.getresponse()
            return Reply(status=answer.status, reason=answer.reason, headers=answer.headers, body=answer.read())
        finally:
            connection.close()

    def upload(self, made: tuple[str, bytes], *, headers: Mapping[str, str] | None = None) -> Reply:
        prepared = requests.Request(
            "POST", "http://index.example/", data={":action": "file_upload"}, files={"content": made}
        ).prepare()
        assert isinstance(prepared.body, bytes)
        return self.request("POST", "/", body=prepared.body, headers={**prepared.headers, **(headers or {})})


@contextlib.contextmanager
def unit(
    root: Path,
    *options: str,
    environ: Mapping[str, str] | None = None,
    command: tuple[str, ...] = PPMCTL,
) -> Iterator[Unit]:
    """Yield a unit for the volume at `root`, with an admin and not yet started; stop its service at the end."""
    folder = Path(tempfile.mkdtemp(prefix="ppm-"))  # a short path: a socket's address is limited to 107 bytes
    root.parent.mkdir(parents=True, exist_ok=True)
    ppmctl("init", "--root", str(root))
    secret = ppmctl("user", "add", "admin", "--role", "admin", "--root", str(root)).stdout.strip()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        listener.bind(str(folder / "ppm.sock"))
        listener.listen(4096)
        notified.bind(str(folder / "notify"))
        made = Unit(
            root=root,
            path=folder / "ppm.sock",
            listener=listener,
            notified=notified,
            log=root.with_name(root.name + ".log"),
            secret=secret,
            options=options,
            command=command,
            environ=dict(environ or {}),
        )
        try:
            yield made
        finally:
            made.kill()
            shutil.rmtree(folder)
