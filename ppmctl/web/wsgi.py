"""The index as an application for a WSGI server of your own: `gunicorn 'ppmctl.web.wsgi:app(root="/srv/ppm")'`.

`ppmctl serve` brings its own worker. docs/operations.md says what another server lacks.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ppmctl.access import secret_mask
from ppmctl.errors import UsageError
from ppmctl.index.layout import Volume
from ppmctl.index.store import Store
from ppmctl.server import lifecycle, running
from ppmctl.server.setting_table import SETTINGS
from ppmctl.server.settings import ServerSettings, server_settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def app(root: str | None = None, **settings: Any) -> WSGIApplication:
    """Return the application of the index in the folder `root`, by default PPM_ROOT, which is created if missing.

    `settings` are those of `ppmctl serve`, such as read_access="public"; they override variables and ppm.yml. Raise
    PpmError where settings or the volume can't be used.
    """
    root = root or os.environ.get("PPM_ROOT")
    if not root:
        raise UsageError("The folder of the index is missing.", hint="Set PPM_ROOT, or call app(root='/srv/ppm').")
    if unknown := settings.keys() - {setting.name for setting in SETTINGS}:
        raise UsageError(f"{', '.join(sorted(unknown))} is not a setting.", hint="ppmctl serve --help  lists them.")
    secret_mask.mask_logs()
    os.umask(0o022)  # a web server of another user reads packages and pages; secret files have modes of their own
    volume = Volume(root=Path(root).absolute())
    volume.check()
    values = server_settings(volume.root, flags=settings)
    lifecycle.prepare(volume)
    store = Store(volume)
    lifecycle.repair(store)
    return _Application(values, store)


class _Application:
    """The index; its threads start with the first request, because a server may fork after it has loaded it."""

    def __init__(self, settings: ServerSettings, store: Store) -> None:
        from ppmctl.web.application import application  # pypiserver needs HOME: `lifecycle.prepare` sets it

        self._settings = settings
        self._store = store
        self._index = application(settings, store)
        self._guard = Lock()
        self._process = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._process != os.getpid():
            with self._guard:
                if self._process != os.getpid():
                    self._begin(environ)
                    self._process = os.getpid()
        return self._index(environ, start_response)

    def _begin(self, environ: WSGIEnvironment) -> None:
        connection = environ.get("gunicorn.socket")
        if connection is not None:
            registration = running.Registration(self._settings.volume, read_access=self._settings.read_access)
            registration.begin(connection.getsockname(), pid=os.getppid())  # all workers are one server
            _at_exit(registration.end)
        lifecycle.start(self._store, self._settings)
        _at_exit(lambda: lifecycle.finish(self._store))


def _at_exit(work: Callable[[], None]) -> None:
    """Do some work at the end of this process, not of a fork of it."""
    process = os.getpid()
    atexit.register(lambda: work() if process == os.getpid() else None)
