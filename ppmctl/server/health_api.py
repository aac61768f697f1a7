"""Answer `/healthz` (reads work) and `/healthz/write` (publishing works), without a credential.

The answers tell no name of a file, project or user. On a host nginx answers the first one by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from werkzeug.wrappers import Request, Response

from ppmctl.errors import Refused
from ppmctl.index.layout import Volume
from ppmctl.server import health
from ppmctl.server.health import READS, WRITES

_FRESH = 5.0  # seconds for which a result counts, so that many requests cost no more than one
_TIMEOUT = 3.0  # seconds for the attempt


class WriteCheck:
    """Whether the volume can be written: tried once for all requests at the same time, and then not for a while."""

    def __init__(
        self,
        volume: Volume,
        *,
        problem: Callable[[Volume], str] = health.write_problem,
        clock: Callable[[], float] = time.monotonic,
        timeout: float = _TIMEOUT,
    ) -> None:
        self._volume = volume
        self._problem = problem
        self._clock = clock
        self._timeout = timeout
        self._guard = threading.Lock()
        self._result, self._known_at = "", -_FRESH
        self._begun: float | None = None  # when the attempt that is running began
        self._done = threading.Event()

    def problem(self) -> str:
        """Return why nothing can be published, as one line; "" if it works."""
        with self._guard:
            now = self._clock()
            if now - self._known_at < _FRESH:
                return self._result
            if self._begun is None:
                self._begun, self._done = now, threading.Event()
                threading.Thread(target=self._try, args=(self._done,), name="write check", daemon=True).start()
            done, left = self._done, self._begun + self._timeout - now
        if done.wait(max(left, 0)):
            return self._result
        return f"The volume does not answer within {self._timeout:g} seconds"

    def _try(self, done: threading.Event) -> None:
        try:
            result = self._problem(self._volume)
        except Exception as exc:  # whatever it is, requests must not wait for a thread that ended
            result = f"The volume can't be checked: {type(exc).__name__}"
        with self._guard:
            self._result, self._known_at, self._begun = result, self._clock(), None
        done.set()


class HealthApi:
    """The two answers for one index."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self.writes = WriteCheck(volume)

    def answer(self, request: Request) -> Response | None:
        """Return "ok" for the two paths, None for another one. Raise Refused: 503 with the reason."""
        if request.path not in (READS, WRITES):
            return None
        problem = health.page_problem(self._volume) if request.path == READS else self.writes.problem()
        if problem:
            raise Refused(503, problem)
        return Response("ok\n", mimetype="text/plain")
