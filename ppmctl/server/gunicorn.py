"""`ppmctl serve`: the index's application under gunicorn, with its threads."""

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
from ppmctl.errors import PpmError
from ppmctl.index import pages, rebuild, recovery
from ppmctl.index.store import Store
from ppmctl.server import bind_check, drop_folder, unix_http
from ppmctl.server.app import Index
from ppmctl.server.settings import ServerSettings
from ppmctl.server.systemd import Service
from ppmctl.server.watchdog import Pulse, Watchdog

log = logging.getLogger(__name__)

_BOOT_ID = "PPM_BOOT_ID"  # a service may be kept from seeing the next; systemd's %b is the same
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
_ROOT_EVERY = 1.0  # seconds at least between two writings of the list of projects
_ENDING = frozenset({signal.SIGTERM, signal.SIGQUIT})


def serve(settings: ServerSettings, service: Service, *, announce: Callable[[], None]) -> None:
    """Serve the index until a signal ends it; `announce` is called when nothing seems to be in the way.

    Where `service` has sockets, those are served, and host and port of the settings count for nothing. The volume
    was prepared. PpmError where nobody can listen there, or there is no folder for temporary files.
    """
    _check_temporary()
    if not service.sockets:
        bind_check.check(settings)
    announce()
    _Server(settings, service).run()


class _Arbiter(Arbiter):
    def spawn_worker(self) -> int:
        """A signal that ends the server while a worker is born waits until the worker can hear it.

        gunicorn loses it: the new process puts it into a queue that nobody reads, serves on, and is killed after
        the time for a graceful end, with all requests that it has by then.
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
            # A proxy's connection ends with its answer. One that is kept would be closed by a restart at the very
            # moment at which the proxy sends the next request, which it then can't answer.
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
            # of a socket that is made here: whoever may connect is believed about the client's address
            "umask": 0o117,
            # One process with threads: the work is the disk's and hashlib's, which let other threads run, and
            # one process holds one copy of everything.
            "workers": 1,
            "worker_class": _Worker,
            "threads": self._settings.threads,
            "timeout": 120,
            "graceful_timeout": 60,
            "keepalive": 15,
            "limit_request_line": 8190,
            "forwarder_headers": "",  # a client's SCRIPT_NAME would end up in redirects
            "control_socket_disable": True,  # it would be a file in whatever folder this was started in
            "loglevel": "warning",
            "proc_name": "ppm",
            "when_ready": lambda _arbiter: _obey_ctrl_c(),
            "post_worker_init": self._start_threads,
            "worker_exit": lambda _arbiter, _worker: self._finish(),
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Callable[..., Any]:
        mended = recovery.repair(self._store)
        if mended.projects or mended.swept:
            log.warning("Mended after a crash: %d projects, %d folders.", len(mended.projects), mended.swept)
        return self._pulse.of(Index(self._settings, self._store))

    def _start_threads(self, worker: ThreadWorker) -> None:
        watcher = drop_folder.Watcher(self._store)
        works = [("root list", self._write_root), ("drop folder", watcher.run), ("pages", self._after_reboot)]
        works.append(("credentials", expiry.Pruner(self._settings.volume).run))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the worker too; its master decides
        for name, work in works:
            threading.Thread(target=work, name=name, daemon=True).start()
        if self._service.notify_address:
            address = worker.sockets[0].getsockname()
            Watchdog(
                notify=self._service.notify,
                ask=lambda patience: unix_http.is_healthy(address, timeout=patience),
                pulse=self._pulse,
                interval=self._service.watchdog,
                is_stopping=lambda: not worker.alive,
            ).start()

    def _finish(self) -> None:
        if pages.root_is_marked(self._store.volume):  # also where the thread is at it: it dies with the process
            self._store.write_root()
        self._store.area.close()

    def _after_reboot(self) -> None:
        """Compare all pages with their folders, once a boot: a power cut takes what was not fsynced."""
        boot = self._store.volume.boot
        try:
            current = boot_id(os.environ)
            before = _plain(boot.read_text(encoding="ascii", errors="replace")) if boot.exists() else ""
            if before == current:
                return
            if before:
                done = rebuild.rebuild(self._store)
                log.warning(
                    "The machine was started anew: of %d projects %d had old pages.", done.projects, done.written
                )
            files.write_atomic(boot, f"{current}\n".encode())
        except (OSError, PpmError) as exc:
            log.error("The pages can't be compared after a reboot (ppmctl index rebuild does it): %s", exc)

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
    """What tells this boot of the machine from others: PPM_BOOT_ID, or the kernel's. OSError if neither is there."""
    return _plain(environ.get(_BOOT_ID, "")) or _plain(_BOOT_ID_FILE.read_text(encoding="ascii"))


def _plain(written: str) -> str:
    return written.strip().replace("-", "")  # the kernel writes it with hyphens, systemd without


def _obey_ctrl_c() -> None:
    """Ctrl-C ends the server as SIGTERM does, when the uploads under way are done; the second does not wait."""

    def stop(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, lambda _number, _frame: os.kill(os.getpid(), signal.SIGQUIT))
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGINT, stop)


def _check_temporary() -> None:
    """gunicorn's worker has a file there, by which it is known to live."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError as exc:
        raise PpmError(
            "There is no folder for temporary files that can be written: neither /tmp nor what TMPDIR names."
            " A container with a read-only root file system needs one: --tmpfs /tmp."
        ) from exc


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
