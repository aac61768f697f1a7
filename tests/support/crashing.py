"""`ppmctl`, killed in the middle of what it does: python tests/support/crashing.py serve …

The variable CRASH_PLAN names a file. While it holds a plan, the process and its whole group get SIGKILL right
before the file operation that the plan names, and the file beside it (`….reached`) says which that was.
Nothing of ppmctl is replaced: an audit hook of the interpreter sees each operation before it is made.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, str(Path(__file__).resolve()))
VARIABLE = "CRASH_PLAN"

# audit event → how many of its first arguments are paths
EVENTS = {
    "open": 1,
    "os.link": 2,
    "os.mkdir": 1,
    "os.remove": 1,
    "os.rename": 2,
    "os.rmdir": 1,
    "os.utime": 1,
    "shutil.rmtree": 1,
}


class Plan:
    """The plan that the processes with `environ` obey; armed and disarmed while they run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reached = path.with_name(path.name + ".reached")

    @property
    def environ(self) -> dict[str, str]:
        return {VARIABLE: str(self._path)}

    def arm(self, event: str, pattern: str, *, count: int = 1, by: signal.Signals = signal.SIGKILL) -> None:
        """Kill before the `count`th `event` from now on whose path (for two, "from -> to") matches `pattern`.

        `by` is another signal that the group is to get instead.
        """
        assert event in EVENTS, event
        self._reached.unlink(missing_ok=True)
        written = self._path.with_name(self._path.name + ".new")
        written.write_text(json.dumps({"event": event, "pattern": pattern, "count": count, "by": by}))
        written.replace(self._path)

    def disarm(self) -> str:
        """Take the plan back; the operation that a process died before, or "" if none did."""
        self._path.unlink(missing_ok=True)
        return self._reached.read_text() if self._reached.exists() else ""


class _Hook:
    def __init__(self, plan: str) -> None:
        self._plan = plan
        self._inside = threading.local()
        self._guard = threading.Lock()
        self._text = b""
        self._seen = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in EVENTS or getattr(self._inside, "busy", False):
            return
        self._inside.busy = True  # what the hook itself does is no operation of the program
        try:
            self._consider(event, arguments[: EVENTS[event]])
        finally:
            self._inside.busy = False

    def _consider(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not all(isinstance(argument, str | bytes | os.PathLike) for argument in arguments):
            return
        try:
            with open(self._plan, "rb") as file:
                text = file.read()
        except FileNotFoundError:
            return
        plan = json.loads(text)
        operation = " -> ".join(os.fsdecode(argument) for argument in arguments)
        if event != plan["event"] or not re.search(plan["pattern"], operation):
            return
        with self._guard:
            self._seen = self._seen + 1 if text == self._text else 1
            self._text = text
            if self._seen < plan["count"]:
                return
            Path(self._plan + ".reached").write_text(f"{event} {operation}")
            os.killpg(0, plan["by"])


def main() -> None:
    if os.getpgrp() != os.getpid():  # the group that is killed is this program's own, whoever started it
        os.setpgid(0, 0)
    sys.path.pop(0)  # the folder of this file, whose names are none of the program's
    from ppmctl.cli import main as ppmctl

    sys.addaudithook(_Hook(os.environ[VARIABLE]))
    ppmctl()


if __name__ == "__main__":
    main()
