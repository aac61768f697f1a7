"""Report to the service manager that a server is ready and alive, after asking it for /healthz as a client does.

Without such a report a manager restarts the server (WatchdogSec= of systemd). A server counts as alive if it answers,
or if any request makes progress: threads that are busy with large uploads are not stuck. The answer may be 503: a
restart repairs neither a full disk nor a missing page.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

READY = "READY=1"
ALIVE = "WATCHDOG=1"

_READY_TIMEOUT = 10.0  # seconds for one attempt at the first answer; the manager limits their number
_AFTER_FAILURE = 0.1  # seconds


class Pulse:
    """Counts an application's progress: requests that begin, and each piece of a body that is read."""

    def __init__(self) -> None:
        self.beats = 0

    def beat(self) -> None:
        self.beats += 1  # two threads at once may count one, which is enough: only changes matter

    def of(self, application: WSGIApplication) -> WSGIApplication:
        """Return an application that counts the progress of `application`."""

        def counted(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            self.beat()
            environ["wsgi.input"] = _Body(environ["wsgi.input"], self)
            return application(environ, start_response)

        return counted


class _Body:
    def __init__(self, body: Any, pulse: Pulse) -> None:
        self._body = body
        self._pulse = pulse

    def read(self, *size: int) -> bytes:
        self._pulse.beat()
        chunk: bytes = self._body.read(*size)
        return chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)


@dataclass(kw_only=True)
class Watchdog:
    """Sends READY when `ask` (which gets a timeout in seconds) is first true, then ALIVE as often as is expected.

    `interval` is the time in seconds within which the manager expects each ALIVE; None if it expects only READY.
    `is_stopping` returns whether the server is ending: then it takes no requests, and must not be restarted.
    """

    notify: Callable[[str], None]
    ask: Callable[[float], bool]
    pulse: Pulse
    interval: float | None
    is_stopping: Callable[[], bool]
    sleep: Callable[[float], None] = time.sleep
    _beats: int = 0  # of the pulse, at the last look

    def start(self) -> None:
        threading.Thread(target=self.run, name="watchdog", daemon=True).start()

    def run(self) -> None:
        while not self.ask(_READY_TIMEOUT):
            self.sleep(_AFTER_FAILURE)
        self.notify(READY)
        self._beats = self.pulse.beats
        while self.interval is not None:
            self.sleep(self.interval / 2 if self.look(self.interval / 4) else _AFTER_FAILURE)

    def look(self, timeout: float) -> bool:
        """Check once whether the server is alive, send ALIVE if it is, and return it."""
        answered = self.is_stopping() or self.ask(timeout)
        before, self._beats = self._beats, self.pulse.beats
        alive = answered or self._beats != before
        if alive:
            self.notify(ALIVE)
        return alive
