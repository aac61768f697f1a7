"""Keep work that takes long from using all threads of a server."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from ppmctl.errors import PpmError

_PATIENCE = 60.0  # seconds; a client that is refused has to send its file again
_BRIEFLY = 1.0  # seconds for the other threads, so that no burst of short work is refused


class ThreadLimit:
    """Half of a server's threads may do the same work at the same time, while a quarter of them waits for that."""

    def __init__(self, threads: int, refusal: Callable[[], PpmError]) -> None:
        """`refusal` makes the error for a thread that has waited too long."""
        self._refusal = refusal
        self._working = threading.BoundedSemaphore(max(threads // 2, 1))
        self._waiting = threading.BoundedSemaphore(threads // 4)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Do the work within. Raise what `refusal` makes."""
        if not self._working.acquire(blocking=False) and not self._waits():
            raise self._refusal()
        try:
            yield
        finally:
            self._working.release()

    def _waits(self) -> bool:
        """Wait until this thread may do the work; return False if it may not."""
        if not self._waiting.acquire(blocking=False):
            return self._working.acquire(timeout=_BRIEFLY)
        try:
            return self._working.acquire(timeout=_PATIENCE)
        finally:
            self._waiting.release()
