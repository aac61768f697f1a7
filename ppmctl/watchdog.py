"""A server that asks itself for /healthz, as a client would, and says so to its service manager: ready, alive.

A manager that does not hear it within its time starts the server anew (WatchdogSec= of systemd). So it is said only
of a server that answers, or in which something moves: threads that are busy with large uploads are not stuck.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

READY = "READY=1"
ALIVE = "WATCHDOG=1"

_READY_PATIENCE = 10.0  # seconds for one attempt at the first answer; there are as many as the manager allows
_AFTER_FAILURE = 0.1  # seconds


class Pulse:
    """Counts what moves in an application: requests that begin, and each piece of a body that is read."""

    def __init__(self) -> None:
        self.beats = 0

    def beat(self) -> None:
        self.beats += 1  # two threads at once may count one: that it changed is all that is asked

    def of(self, application: WSGIApplication) -> WSGIApplication:
        """`application`, felt."""

        def felt(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            self.beat()
            environ["wsgi.input"] = _Body(environ["wsgi.input"], self)
            return application(environ, start_response)

        return felt


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


class Watchdog:
    """Says READY once `ask` (with its patience in seconds) was answered, then ALIVE as often as is expected.

    `interval` is the time in seconds within which the manager wants to hear of it; None: it wants READY alone.
    `is_stopping` says whether the server is ending: then it takes no request, nor is to be started anew.
    """

    def __init__(
        self,
        *,
        notify: Callable[[str], None],
        ask: Callable[[float], bool],
        pulse: Pulse,
        interval: float | None,
        is_stopping: Callable[[], bool],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._notify = notify
        self._ask = ask
        self._pulse = pulse
        self._interval = interval
        self._is_stopping = is_stopping
        self._sleep = sleep
        self._felt = pulse.beats

    def start(self) -> None:
        threading.Thread(target=self.run, name="watchdog", daemon=True).start()

    def run(self) -> None:
        while not self._ask(_READY_PATIENCE):
            self._sleep(_AFTER_FAILURE)
        self._notify(READY)
        self._felt = self._pulse.beats
        while self._interval is not None:
            self._sleep(self._interval / 2 if self.look(self._interval / 4) else _AFTER_FAILURE)

    def look(self, patience: float) -> bool:
        """Look once, and say ALIVE if that is so; whether it is."""
        answered = self._is_stopping() or self._ask(patience)
        before, self._felt = self._felt, self._pulse.beats
        alive = answered or self._felt != before
        if alive:
            self._notify(ALIVE)
        return alive
