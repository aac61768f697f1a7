"""Run the index's application under gunicorn, with its background threads (`ppmctl serve`)."""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.gthread import ThreadWorker

from ppmctl import files
from ppmctl.access import expiry
from ppmctl.distributions import inspection
from ppmctl.errors import PpmError
from ppmctl.index import pages, rebuild, recovery
from ppmctl.index.store import Store
from ppmctl.server import bind_check, drop_folder, unix_http
from ppmctl.server.app import Index
from ppmctl.server.settings import ServerSettings
from ppmctl.server.systemd import Service
from ppmctl.server.watchdog import Pulse, Watchdog

log = logging.getLogger(__name__)

_BOOT_ID = "PPM_BOOT_ID"  # systemd's %b, for a service whose sandbox hides the kernel's file
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
_ROOT_EVERY = 1.0  # seconds between two writes of the list of projects, at least
_ENDING = frozenset({signal.SIGTERM, signal.SIGQUIT})


def serve(settings: ServerSettings, service: Service, *, announce: Callable[[], None]) -> None:
    """Serve the index until a signal ends it. Call `announce` right before it starts.

    The volume must be prepared. If `service` has sockets, they are used instead of the settings' host and port.
    Raise PpmError where the address can't be used, or where there is no folder for temporary files.
    """
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


class _Worker(ThreadWorker):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if any(listener.FAMILY == socket.AF_UNIX for listener in self.sockets):
            # A restart would close a kept connection just when the proxy sends its next request, which then fails.
            self.max_keepalived = 0

    def init_signals(self) -> None:
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


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
                log.warning("The machine was rebooted: %d of %d projects had old pages.", done.written, done.projects)
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
