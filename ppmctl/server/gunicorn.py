"""Run the index's application under gunicorn, with its background threads (`ppmctl serve`)."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.http import wsgi
from gunicorn.workers.gthread import ThreadWorker

from ppmctl.access import secret_mask
from ppmctl.errors import PpmError
from ppmctl.index.store import Store
from ppmctl.server import access_log, bind_check, lifecycle, running, unix_http
from ppmctl.server.settings import ServerSettings
from ppmctl.server.systemd import Service
from ppmctl.server.watchdog import Pulse, Watchdog
from ppmctl.server.worker import ENDING, Worker, descriptors

if TYPE_CHECKING:
    from ppmctl.server.app import Index
    from ppmctl.server.front import Front

log = logging.getLogger(__name__)

_MOST_CONNECTIONS = 1000
# File descriptors: of the process itself, and of a request besides its connection (an upload's file, the archive that
# is checked, side files, a lock).
_OWN_DESCRIPTORS, _REQUEST_DESCRIPTORS = 128, 8
_STOP_AFTER = "PPM_STOP_AFTER"
_NGINX_BEGINS_WITHIN, _NGINX_STOPS_WITHIN = 2.0, 95.0  # seconds: after the signal, and after it has begun


Application = Callable[[ServerSettings, Store], "Index"]


def serve(
    application: Application,
    settings: ServerSettings,
    service: Service,
    *,
    announce: Callable[[], None],
    access_log: bool = False,
    threads: Mapping[str, Callable[[], None]] | None = None,
) -> None:
    """Serve the index of `application` until a signal ends it. Call `announce` right before it starts.

    `threads` are run beside the server's own, by name.

    The volume must be prepared. If `service` has sockets, they are used instead of the settings' host and port.
    With `access_log`, each request is a line on stdout.
    Raise PpmError where the address can't be used, or where there is no folder for temporary files.
    """
    secret_mask.mask_logs()
    wsgi.SERVER = "ppm"  # the header Server, which otherwise names gunicorn
    _check_temporary()
    if not service.sockets:
        bind_check.check(settings)
    announce()
    _Server(application, settings, service, access_log=access_log, threads=threads or {}).run()


class _Arbiter(Arbiter):
    def handle_term(self) -> None:
        """Stop, but not before a nginx that is stopped at the same time: it passes on what it has accepted."""
        path, began = os.environ.get(_STOP_AFTER, ""), time.monotonic()
        while path and (time.monotonic() - began < _NGINX_BEGINS_WITHIN or _is_stopping(Path(path))):
            for number in self.wait_for_signals(timeout=0.1):
                if number == signal.SIGCHLD:
                    self.reap_workers()
                elif number in ENDING:
                    path = ""  # the second signal: it waits no longer
            self.manage_workers()
        super().handle_term()

    def spawn_worker(self) -> int:
        """Start a worker, and hold back signals that end the server until the worker can receive them.

        Otherwise gunicorn loses such a signal: the new process puts it into a queue that nobody reads, and is killed
        after `graceful_timeout`, with all its requests.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            return int(super().spawn_worker())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_stopping(path: Path) -> bool:
    """Return whether nginx is being stopped: it makes the file `path` then. One that was killed leaves it."""
    try:
        return time.time() - path.stat().st_mtime < _NGINX_STOPS_WITHIN
    except OSError:
        return False


class _Server(BaseApplication):
    def __init__(
        self,
        application: Application,
        settings: ServerSettings,
        service: Service,
        *,
        access_log: bool,
        threads: Mapping[str, Callable[[], None]],
    ) -> None:
        self._application = application
        self._settings = settings
        self._service = service
        self._access_log = access_log
        self._threads = threads
        self._registration = running.Registration(settings.volume, read_access=settings.read_access)
        self._store = Store(settings.volume)
        self.pulse = Pulse()
        self.front: Front | None = None
        super().__init__()

    def run(self) -> None:
        _Arbiter(self).run()

    def load_config(self) -> None:
        host = self._settings.host
        for name, value in {
            "bind": host if self._settings.is_local else f"{_bracketed(host)}:{self._settings.port}",
            # only owner and group may connect to the socket: X-Real-IP is trusted on it
            "umask": 0o117,
            # One process with threads: disk and hashlib let other threads run, and caches exist once.
            "workers": 1,
            "worker_class": Worker,
            "threads": self._settings.threads,
            "worker_connections": most_connections(self._settings.threads, descriptors()),
            "timeout": 120,
            "graceful_timeout": 60,
            "keepalive": 15,
            "limit_request_line": 8190,
            "forwarder_headers": "",  # a client's SCRIPT_NAME would end up in redirects
            "control_socket_disable": True,  # it would be a file in the current folder
            "loglevel": "warning",
            "proc_name": "ppm",
            "accesslog": "-" if self._access_log else None,
            "logger_class": access_log.logger(self._settings.volume),
            "when_ready": self._ready,
            "on_exit": lambda _arbiter: self._registration.end(),
            "post_worker_init": self._start_threads,
            "worker_exit": lambda _arbiter, _worker: lifecycle.finish(self._store),
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Callable[..., Any]:
        lifecycle.repair(self._store)
        index = self._application(self._settings, self._store)
        self.front = None if "SCRIPT_NAME" in os.environ else index.front
        return self.pulse.of(index)

    def _ready(self, arbiter: Arbiter) -> None:
        self._registration.begin(arbiter.LISTENERS[0].getsockname())
        _handle_ctrl_c()

    def _start_threads(self, worker: ThreadWorker) -> None:
        lifecycle.start(self._store, self._settings, self._threads)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both processes; the arbiter handles it
        if self._service.notify_address:
            address = worker.sockets[0].getsockname()
            Watchdog(
                notify=self._service.notify,
                ask=lambda timeout: unix_http.is_answering(address, timeout=timeout),
                pulse=self.pulse,
                interval=self._service.watchdog,
                is_stopping=lambda: not worker.alive,
            ).start()


def most_connections(threads: int, descriptors: int) -> int:
    """Return how many connections may be open at the same time; with them requests still have descriptors left."""
    left = descriptors - _OWN_DESCRIPTORS - threads * _REQUEST_DESCRIPTORS
    return max(threads + 1, min(_MOST_CONNECTIONS, left))


def _handle_ctrl_c() -> None:
    """Let the first Ctrl-C end the server after the current uploads, as SIGTERM does, and the second at once."""

    def stop(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, lambda _number, _frame: os.kill(os.getpid(), signal.SIGQUIT))
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGINT, stop)


def _check_temporary() -> None:
    """Raise PpmError if gunicorn can't make the file by which it checks its worker."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError as exc:
        raise PpmError(
            "No folder for temporary files can be written: neither /tmp nor the folder in TMPDIR."
            " A container with a read-only root file system needs one: --tmpfs /tmp."
        ) from exc


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
