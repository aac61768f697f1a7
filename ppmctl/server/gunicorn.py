"""Run the index's application under gunicorn, with its background threads (`ppmctl serve`)."""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.http import wsgi
from gunicorn.http.body import ChunkedReader
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import ThreadWorker

from ppmctl import files
from ppmctl.access import expiry, secret_mask
from ppmctl.distributions import inspection
from ppmctl.errors import PpmError
from ppmctl.index import pages, rebuild, recovery
from ppmctl.index.store import Store
from ppmctl.server import bind_check, drop_folder, unix_http
from ppmctl.server.app import Index
from ppmctl.server.settings import ServerSettings
from ppmctl.server.systemd import Service
from ppmctl.server.waiting import Waiting
from ppmctl.server.watchdog import Pulse, Watchdog

log = logging.getLogger(__name__)

_BOOT_ID = "PPM_BOOT_ID"  # systemd's %b, for a service whose sandbox hides the kernel's file
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
_ROOT_EVERY = 1.0  # seconds between two writes of the list of projects, at least
_ENDING = frozenset({signal.SIGTERM, signal.SIGQUIT})
_MOST_CONNECTIONS = 1000
# File descriptors: of the process itself, and of a request besides its connection (an upload's file, the archive that
# is checked, side files, a lock).
_OWN_DESCRIPTORS, _REQUEST_DESCRIPTORS = 128, 8
_ACCEPT_PAUSE = 0.5  # seconds after a connection for which no descriptor was left
_WARN_EVERY = 60.0  # seconds


def serve(settings: ServerSettings, service: Service, *, announce: Callable[[], None]) -> None:
    """Serve the index until a signal ends it. Call `announce` right before it starts.

    The volume must be prepared. If `service` has sockets, they are used instead of the settings' host and port.
    Raise PpmError where the address can't be used, or where there is no folder for temporary files.
    """
    secret_mask.mask_logs()
    wsgi.SERVER = "ppm"  # the header Server, which otherwise names gunicorn
    _check_temporary()
    if not service.sockets:
        bind_check.check(settings)
    announce()
    _Server(settings, service).run()


class _Arbiter(Arbiter):
    def spawn_worker(self) -> int:
        """Start a worker, and hold back signals that end the server until the worker can receive them.

        Otherwise gunicorn loses such a signal: the new process puts it into a queue that nobody reads, and is killed
        after `graceful_timeout`, with all its requests.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            return int(super().spawn_worker())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Request(Request):
    """A request whose answer closes the connection, unless its whole body is here: nobody waits for the rest."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self._is_received():
            self._expected_100_continue = False

    def should_close(self) -> bool:
        if not self._is_received():
            self.force_close()
        return bool(super().should_close())

    def _is_received(self) -> bool:
        reader = self.body.reader
        if isinstance(reader, ChunkedReader):
            return bool(reader.parser is None)
        return bool(reader.length <= self.unreader.buf.seek(0, os.SEEK_END))


class _Parser(RequestParser):
    mesg_class = _Request


class _Worker(ThreadWorker):
    """A worker whose threads get requests that have arrived; `waiting` has the other connections."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._accept_from = 0.0  # no sooner than at this time
        self._warned = -_WARN_EVERY
        if any(listener.FAMILY == socket.AF_UNIX for listener in self.sockets):
            # A restart would close a kept connection just when the proxy sends its next request, which then fails.
            self.max_keepalived = 0

    def accept(self, listener: Any) -> None:
        """Accept a connection. If that fails, as without a free descriptor, new connections wait a moment.

        The error would end the worker, and with it all requests that it is processing.
        """
        try:
            super().accept(listener)
        except OSError as exc:
            now = time.monotonic()
            self._accept_from = now + _ACCEPT_PAUSE
            self.set_accept_enabled(False)
            if now - self._warned >= _WARN_EVERY:
                self._warned = now
                limit = f" (ulimit -n: {_descriptors()})" if files.is_out_of_descriptors(exc) else ""
                log.error("New connections have to wait: %s%s", exc.strerror, limit)

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled and time.monotonic() >= self._accept_from)

    def init_signals(self) -> None:
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)

    def run(self) -> None:
        self._waiting = Waiting(self.poller, self._hand_over, self._closed)
        super().run()

    def enqueue_req(self, conn: Any) -> None:
        if conn.parser is None:
            conn.parser = _Parser(self.cfg, conn.sock, conn.client)
            conn.initialized = conn.data_ready = True
        self._waiting.receive(conn, conn.parser.unreader.take_buffered())

    def finish_request(self, conn: Any, fs: Any) -> None:
        if fs.cancelled() or fs.exception() is not None or not fs.result():
            self._waiting.leave(conn)
        else:
            super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        super().murder_pending()
        self._waiting.close_late()
        if self.nr_conns >= self.worker_connections:
            self._waiting.close_oldest(max(self.worker_connections // 10, 1))

    def _cap_keepalive(self, deadline: float) -> None:
        super()._cap_keepalive(deadline)
        self._waiting.stop(deadline)

    def _hand_over(self, conn: Any, received: bytes) -> None:
        conn.parser.unreader.unread(received)
        super().enqueue_req(conn)

    def _closed(self) -> None:
        self.nr_conns -= 1


class _Server(BaseApplication):
    def __init__(self, settings: ServerSettings, service: Service) -> None:
        self._settings = settings
        self._service = service
        self._store = Store(settings.volume)
        self._pulse = Pulse()
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
            "worker_class": _Worker,
            "threads": self._settings.threads,
            "worker_connections": most_connections(self._settings.threads, _descriptors()),
            "timeout": 120,
            "graceful_timeout": 60,
            "keepalive": 15,
            "limit_request_line": 8190,
            "forwarder_headers": "",  # a client's SCRIPT_NAME would end up in redirects
            "control_socket_disable": True,  # it would be a file in the current folder
            "loglevel": "warning",
            "proc_name": "ppm",
            "when_ready": lambda _arbiter: _handle_ctrl_c(),
            "post_worker_init": self._start_threads,
            "worker_exit": lambda _arbiter, _worker: self._finish(),
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Callable[..., Any]:
        repaired = recovery.repair(self._store)
        if repaired.projects or repaired.swept:
            log.warning("Repaired after a crash: %d projects, %d folders.", len(repaired.projects), repaired.swept)
        return self._pulse.of(Index(self._settings, self._store))

    def _start_threads(self, worker: ThreadWorker) -> None:
        inspection.start()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both processes; the arbiter handles it
        for name, work in {
            "root list": self._write_root,
            "drop folder": drop_folder.Watcher(self._store).run,
            "pages": self._after_reboot,
            "credentials": expiry.Pruner(self._settings.volume).run,
        }.items():
            threading.Thread(target=work, name=name, daemon=True).start()
        if self._service.notify_address:
            address = worker.sockets[0].getsockname()
            Watchdog(
                notify=self._service.notify,
                ask=lambda timeout: unix_http.is_healthy(address, timeout=timeout),
                pulse=self._pulse,
                interval=self._service.watchdog,
                is_stopping=lambda: not worker.alive,
            ).start()

    def _finish(self) -> None:
        if pages.root_is_marked(self._store.volume):  # the thread that writes it may die halfway
            self._store.write_root()
        self._store.area.close()

    def _after_reboot(self) -> None:
        """Write outdated pages again, once after each boot: a power failure loses what was not synced to disk."""
        boot = self._store.volume.boot
        try:
            current = boot_id(os.environ)
            before = _without_hyphens(boot.read_text(encoding="ascii", errors="replace")) if boot.exists() else ""
            if before == current:
                return
            if before:
                done = rebuild.rebuild(self._store)
                log.warning("After a reboot or upgrade %d of %d projects had old pages.", done.written, done.projects)
            files.write_atomic(boot, f"{current}\n".encode())
        except (OSError, PpmError) as exc:
            log.error("The pages can't be checked after a reboot; run ppmctl index rebuild: %s", exc)

    def _write_root(self) -> None:
        pause = threading.Event()
        while self._store.root_is_old.wait():
            try:
                self._store.write_root()
            except OSError as exc:
                self._store.root_is_old.set()
                log.error("The list of projects can't be written, trying again: %s", exc)
            pause.wait(_ROOT_EVERY)


def most_connections(threads: int, descriptors: int) -> int:
    """Return how many connections may be open at the same time; with them requests still have descriptors left."""
    left = descriptors - _OWN_DESCRIPTORS - threads * _REQUEST_DESCRIPTORS
    return max(threads + 1, min(_MOST_CONNECTIONS, left))


def _descriptors() -> int:
    """Return how many descriptors this process may have."""
    limit, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def boot_id(environ: Mapping[str, str]) -> str:
    """Return the id of the machine's current boot: PPM_BOOT_ID, or the kernel's. Raise OSError without either."""
    return _without_hyphens(environ.get(_BOOT_ID, "")) or _without_hyphens(_BOOT_ID_FILE.read_text(encoding="ascii"))


def _without_hyphens(boot: str) -> str:
    return boot.strip().replace("-", "")  # the kernel writes hyphens, systemd does not


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
