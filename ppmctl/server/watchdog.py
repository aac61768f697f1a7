"""A server that asks itself for /healthz, as a client would, and says so to its service manager: ready, alive.

A manager that does not hear it within its time starts the server anew (WatchdogSec= of systemd). So it is said only
of a server that answers, or in which something moves: threads that are busy with large uploads are not stuck.
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


@dataclass(kw_only=True)
class Watchdog:
    """Says READY once `ask` (with its patience in seconds) was answered, then ALIVE as often as is expected.

    `interval` is the time in seconds within which the manager wants to hear of it; None: it wants READY alone.
    `is_stopping` says whether the server is ending: then it takes no request, nor is to be started anew.
    """

    notify: Callable[[str], None]
    ask: Callable[[float], bool]
    pulse: Pulse
    interval: float | None
    is_stopping: Callable[[], bool]
    sleep: Callable[[float], None] = time.sleep
    _felt: int = 0  # as a pulse starts

    def start(self) -> None:
        threading.Thread(target=self.run, name="watchdog", daemon=True).start()

    def run(self) -> None:
        while not self.ask(_READY_PATIENCE):
            self.sleep(_AFTER_FAILURE)
        self.notify(READY)
        self._felt = self.pulse.beats
        while self.interval is not None:
            self.sleep(self.interval / 2 if self.look(self.interval / 4) else _AFTER_FAILURE)

    def look(self, patience: float) -> bool:
        """Look once, and say ALIVE if that is so; whether it is."""
        answered = self.is_stopping() or self.ask(patience)
        before, self._felt = self._felt, self.pulse.beats
        alive = answered or self._felt != before
        if alive:
            self.notify(ALIVE)
        return alive
