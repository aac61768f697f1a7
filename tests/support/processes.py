"""Run a function in a forked process, and kill or stop that process right before its n-th change of a volume's files.

What a kill leaves is what SIGKILL leaves: nothing of the program runs afterwards, and its locks are free.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import crashing

_LONGEST = 60.0  # seconds; only a fault takes longer


@dataclass(frozen=True)
class Killed:
    """The result of a function whose process was killed; `before` is the change that was not made any more."""

    before: str


class Child:
    """A process that runs `work` and is killed, or stopped until `go_on`, before its change number `at` below `root`.

    With fewer changes the function runs to its end.
    """

    def __init__(self, work: Callable[[], Any], root: Path, *, at: int | None = None, stops: bool = False) -> None:
        self._results, results = os.pipe()
        self._held, self._release = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the tests' process has threads that hold no locks
            self.pid = os.fork()
        if self.pid:
            os.close(results)
            return
        try:
            os.close(self._results)
            os.close(self._release)
            if at is not None:
                sys.addaudithook(_Hook(root, at, results, self._held if stops else None))
            _send(results, ("done", work()))
        except BaseException:
            _send(results, ("failed", traceback.format_exc()))
        finally:
            os._exit(0)

    def wait(self, seconds: float = _LONGEST) -> bool:
        """Wait until it has ended or stopped; return whether one is true after `seconds`."""
        return bool(select.select([self._results], [], [], seconds)[0])

    def go_on(self) -> None:
        """Let it go on if it has stopped, or is about to."""
        os.write(self._release, b"x")

    def result(self) -> Any:
        """Return what the function returned, or Killed. Raise AssertionError if it raised an exception."""
        assert self.wait(), "the process does not end"
        content = b""
        while self.wait() and (chunk := os.read(self._results, 1 << 16)):
            content += chunk
        os.waitpid(self.pid, 0)
        for descriptor in (self._results, self._held, self._release):
            os.close(descriptor)
        messages = []
        while content:
            size = int.from_bytes(content[:4], "big")
            messages.append(pickle.loads(content[4 : 4 + size]))  # noqa: S301 - from our own fork
            content = content[4 + size :]
        state, value = messages[-1]
        assert state != "failed", value
        return Killed(value) if state == "killed" else value


class _Hook:
    """Counts the changes below a root, and kills or stops the process before one of them."""

    def __init__(self, root: Path, at: int, results: int, held: int | None) -> None:
        self._root = f"{root}/"
        self._left = at
        self._results = results
        self._held = held
        self._is_busy = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in crashing.EVENTS or self._is_busy or self._left <= 0:
            return
        self._is_busy = True
        try:
            paths = crashing.paths_of(event, arguments)
            if paths and paths[-1].startswith(self._root) and crashing.changes(event, paths[0], arguments):
                self._left -= 1
                if not self._left:
                    self._act(f"{event} {' -> '.join(paths)}".replace(self._root, ""))
        finally:
            self._is_busy = False

    def _act(self, operation: str) -> None:
        if self._held is None:
            _send(self._results, ("killed", operation))
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            _send(self._results, ("stopped", operation))
            os.read(self._held, 1)


def _send(descriptor: int, message: tuple[str, Any]) -> None:
    content = pickle.dumps(message)
    os.write(descriptor, len(content).to_bytes(4, "big") + content)
