"""An index as `make bench` measures it beside others, and ppm and a bare nginx: how each is started and stopped."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from support import debian, raw, rendering, servers, webserver
from support.rendering import Places
from support.webserver import Site

from bench import web
from ppmctl.server import content_negotiation

CACHE = Path(__file__).parents[1] / ".cache" / "bench"
START_SECONDS = 60


class Index:
    """A server in a folder of its own. `set_up` is called once, then `start` and `stop` in turn.

    `simple` and `upload` are its paths, `page` is the name of a project's page below its folder. `auth` is for
    uploads, and for reads if `is_read_with_auth`.
    """

    name = ""
    how = ""  # how it is set up, for the reader of the table
    simple, upload, page = "/simple/", "/", ""
    auth: tuple[str, str] | None = None
    is_read_with_auth = False
    takes_uploads = True
    has_tls = can_tls = False  # it has it here, or could have it

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.roots: list[subprocess.Popen[bytes]] = []

    def install(self) -> None:
        """Install it, unless it is there."""

    def set_up(self) -> None:
        """Make its configuration, in its folder, which is empty."""

    def launch(self) -> None:
        """Start its processes (`roots`), without waiting."""

    def started(self) -> None:
        """Do what it needs after each start."""

    @cached_property
    def port(self) -> int:
        return servers.free_port()

    @property
    def host(self) -> str:
        return "localhost" if self.has_tls else "127.0.0.1"

    @property
    def url(self) -> str:
        return f"{'https' if self.has_tls else 'http'}://{self.host}:{self.port}"

    @property
    def ca(self) -> Path | None:
        return None

    def start(self, project: str = "") -> float:
        """Start it; return the seconds until it answers, with `project` until that project's page is there."""
        began = time.perf_counter()
        self.launch()
        wanted = f"{self.simple}{project}/{self.page}" if project else self.simple
        while time.perf_counter() - began < START_SECONDS and all(root.poll() is None for root in self.roots):
            with contextlib.suppress(OSError, http.client.HTTPException):
                status = self.get(wanted)[0]
                if status == 200 or (not project and status < 500):
                    taken = time.perf_counter() - began
                    self.started()
                    return taken
            time.sleep(0.01)
        self.stop()
        log = (self.folder / "log").read_text(errors="replace") if (self.folder / "log").exists() else ""
        raise RuntimeError(f"{self.name} did not start: {log.strip()[-300:]}")

    def stop(self) -> None:
        """End all of its processes."""
        for kind in (signal.SIGTERM, signal.SIGKILL):
            for root in self.roots:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(root.pid, kind)
            with contextlib.suppress(subprocess.TimeoutExpired):
                for root in self.roots:
                    root.wait(timeout=15)
        self.roots = []

    def close(self) -> None:
        """Remove what it has outside of its folder."""

    def processes(self) -> list[int]:
        """Return the ids of its processes."""
        found, left = [], [root.pid for root in self.roots]
        while left:
            pid = left.pop()
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    left += map(int, (task / "children").read_text().split())
                found.append(pid)
        return found

    def connect(self) -> http.client.HTTPConnection:
        if self.has_tls:
            return http.client.HTTPSConnection(self.host, self.port, timeout=60, context=self._context)
        return http.client.HTTPConnection(self.host, self.port, timeout=60)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)

    def reading(self) -> dict[str, str]:
        """Return the headers with which it is read."""
        accepted = {"Accept": content_negotiation.TABLE[0][1]}
        return accepted | ({"Authorization": raw.basic(*self.auth)} if self.auth and self.is_read_with_auth else {})

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, str, bytes]:
        """Return the status, the content type and the body of a page or file."""
        with contextlib.closing(self.connect()) as connection:
            connection.request("GET", path, headers=dict(self.reading() if headers is None else headers))
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type", ""), answer.read()

    def popen(self, command: list[str]) -> None:
        """Start a process of it, in a group of its own."""
        with (self.folder / "log").open("ab") as log:
            self.roots.append(
                subprocess.Popen(
                    command,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )


class Embedded(Index):
    name = "ppm embedded"
    how = "`ppmctl serve`: one process with threads, every read with a credential"
    is_read_with_auth = True

    def set_up(self) -> None:
        self.auth = "admin", webserver.admin(self.folder / "root")

    def launch(self) -> None:
        arguments = ["serve", "--root", str(self.folder / "root"), "--port", str(self.port), "--upstream", "none"]
        self.popen([*servers.PPMCTL, *arguments])


class BehindNginx(Index):
    name = "ppm behind nginx"
    how = "the role's nginx of Debian 13 with TLS, authentication and both logs, and `ppmctl serve` behind it"
    is_read_with_auth = has_tls = True

    def set_up(self) -> None:
        self.tree = debian.tree(13)
        self.rendered = self.folder / "rendered"
        rendering.render([(self.rendered, rendering.variables(self.tree, ipv6=False, ppm_upstream="none"))])
        self.site: Site = webserver.start(self.rendered, self.tree, self.folder / "root")
        self.port, self.auth = self.site.port, self.site.auth
        self.roots = [self.site.nginx, self.site.process]
        self.stop()

    def close(self) -> None:
        if hasattr(self, "site"):
            shutil.rmtree(self.site.places.folder, ignore_errors=True)

    @property
    def ca(self) -> Path:
        return self.site.ca

    def launch(self) -> None:
        self.site.places.socket.unlink(missing_ok=True)
        self.roots = [webserver.start_nginx(self.tree, self.site.places)]
        self.site.start_application()
        self.roots.append(self.site.process)


class BareNginx(Index):
    """An nginx that serves the pages and files of ppm as plain files."""

    name = "bare nginx"
    how = "the same pages and files as plain files, with the same TLS, authentication and access log"
    page = "index.json"
    is_read_with_auth = has_tls = True
    takes_uploads = False

    def __init__(self, folder: Path, of: BehindNginx) -> None:
        super().__init__(folder)
        self.of = of

    def set_up(self) -> None:
        configuration = rendering.parse(self.of.rendered)
        self.of.start()  # its certificate is checked by a request to either
        process, self.port = web.start_bare(self.of.tree, self.of.site, self.folder / "nginx", configuration)
        self.roots, self.auth = [process], self.of.auth
        self.stop()
        self.of.stop()

    @property
    def ca(self) -> Path:
        return self.of.ca

    def launch(self) -> None:
        folder = self.folder / "nginx"
        places = Places(folder=folder, root=folder, socket=folder / "none", plain_port=0, tls_port=self.port)
        self.roots = [webserver.start_nginx(self.of.tree, places)]
