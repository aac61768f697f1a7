"""Run `ppmctl`, and kill it right before a file operation, or record its file operations.

    python tests/support/crashing.py serve …        or, cheaper, support.warm with the environment of a plan

The variable CRASH_PLAN names a file. While it holds a plan, the process and its whole group get SIGKILL right
before the file operation that the plan names, and the file `….reached` next to it names that operation; or each
operation is recorded. Nothing of ppmctl is replaced: an audit hook of the interpreter sees each operation before
it is made.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, str(Path(__file__).resolve()))
VARIABLE = "CRASH_PLAN"

# audit event → how many of its first arguments are paths, and which arguments are the folders they are relative to
EVENTS = {
    "open": (1, None),
    "os.link": (2, 2),
    "os.mkdir": (1, 2),
    "os.remove": (1, 1),
    "os.rename": (2, 2),
    "os.rmdir": (1, 1),
    "os.symlink": (2, 2),
    "os.truncate": (1, None),
    "os.utime": (1, 3),
    "shutil.rmtree": (1, 1),
}
# names that differ each time: a process's folder, a file in it, a file that will be renamed
_CHANCE = re.compile(r"(?<=[/.])(?:[0-9]+-)?[0-9a-f]{8,16}(?=[/. ]|$)")
_DERIVED = "search index"  # a thread that reads projects after their changes, at any time; its file is derived
_STRIPE = re.compile(r"^locks/[0-9a-f]{2}$")  # from a hash of a project's name


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An operation below a volume's root. In its path (two paths: "from -> to") a star stands for parts that vary.

    `number` counts equal operations from 1. One that does not `change` anything, such as a read, leaves the disk
    as it is, so that a kill before it and a kill before the next one have the same effect.
    """

    event: str
    path: str
    thread: str
    changes: bool
    number: int = 1

    def __str__(self) -> str:
        return f"{self.event} {self.path}" + (f" ({self.number})" if self.number > 1 else "")

    def pattern(self, names: Mapping[str, str]) -> str:
        """Return a pattern for `Plan.arm`, with names other than the recorded ones: any name, if not in `names`."""
        pattern = re.escape(self.path).replace(r"\*", "[0-9a-f-]+")
        named = re.sub(r"\\{(\w+)\\}", lambda match: re.escape(names.get(match[1], "")) or "[^/ ]+", pattern)
        return f"^{named}$"


class Plan:
    """The plan of the processes with `environ`; it is armed and disarmed while they run.

    Paths below `root`, if given, are relative to it.
    """

    def __init__(self, path: Path, *, root: Path | None = None) -> None:
        self._path = path
        self._root = root
        self._reached = path.with_name(path.name + ".reached")
        self._recorded = path.with_name(path.name + ".recorded")

    @property
    def environ(self) -> dict[str, str]:
        return {VARIABLE: str(self._path)}

    def arm(self, event: str, pattern: str, *, count: int = 1, by: signal.Signals = signal.SIGKILL) -> None:
        """Kill before the `count`th `event` from now whose path (two paths: "from -> to") matches `pattern`.

        `by` is the signal that the group gets.
        """
        assert event in EVENTS, event
        self._reached.unlink(missing_ok=True)
        self._write({"event": event, "pattern": pattern, "count": count, "by": by})

    def arm_at(self, operation: Operation, names: Mapping[str, str], *, count: int = 1) -> None:
        """Kill before a recorded operation is made again (`count` times), with names other than the recorded ones."""
        self.arm(operation.event, operation.pattern(names), count=operation.number - 1 + count)

    def disarm(self) -> str:
        """Remove the plan; return the operation before which a process died, or "" if none did."""
        self._path.unlink(missing_ok=True)
        return self._reached.read_text() if self._reached.exists() else ""

    @contextlib.contextmanager
    def recording(self, names: Mapping[str, str]) -> Iterator[list[Operation]]:
        """Record the operations below the root during the block; the list is complete at its end.

        A value of `names` in a path is replaced by its key in braces.
        """
        assert self._root is not None, "operations of which volume?"
        self._recorded.write_bytes(b"")
        operations: list[Operation] = []
        self._write({"record": str(self._recorded)})
        yield operations
        self._path.unlink()
        seen: dict[tuple[str, str], int] = {}
        for line in self._recorded.read_text().splitlines():
            values = json.loads(line)
            path = values.pop("path")
            if path.startswith("/"):
                continue  # outside the root
            for placeholder, name in names.items():
                path = path.replace(name, "{" + placeholder + "}")
            path = _STRIPE.sub("locks/*", _CHANCE.sub("*", path))
            number = seen[values["event"], path] = seen.get((values["event"], path), 0) + 1
            operations.append(Operation(path=path, number=number, **values))

    def _write(self, plan: dict[str, Any]) -> None:
        written = self._path.with_name(self._path.name + ".new")
        written.write_text(json.dumps({**plan, "root": str(self._root or "-")}))
        written.replace(self._path)


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
        if threading.current_thread().name == _DERIVED:
            return
        self._inside.busy = True  # the hook's own operations are not the program's
        try:
            self._consider(event, arguments)
        finally:
            self._inside.busy = False

    def _consider(self, event: str, arguments: tuple[Any, ...]) -> None:
        paths = paths_of(event, arguments)
        if not paths:
            return
        try:
            with open(self._plan, "rb") as file:
                text = file.read()
        except FileNotFoundError:
            return
        plan = json.loads(text)
        operation = " -> ".join(path.removeprefix(f"{plan['root']}/") for path in paths)
        if "record" in plan:
            thread = threading.current_thread().name
            line = {
                "event": event,
                "path": operation,
                "thread": thread,
                "changes": changes(event, paths[0], arguments),
            }
            with open(plan["record"], "ab", buffering=0) as file:
                file.write(json.dumps(line).encode() + b"\n")
            return
        if event != plan["event"] or not re.search(plan["pattern"], operation):
            return
        with self._guard:
            self._seen = self._seen + 1 if text == self._text else 1
            self._text = text
            if self._seen < plan["count"]:
                return
            Path(self._plan + ".reached").write_text(f"{event} {operation}")
            os.killpg(0, plan["by"])


def paths_of(event: str, arguments: tuple[Any, ...]) -> list[str]:
    """Return the absolute paths of an event; none for an operation on a descriptor."""
    count, folder = EVENTS[event]
    paths = arguments[:count]
    if not all(isinstance(path, str | bytes | os.PathLike) for path in paths):
        return []
    folders = arguments[folder : folder + count] if folder is not None else ()
    return [_absolute(path, *folders[number : number + 1]) for number, path in enumerate(paths)]


def _absolute(path: Any, folder: int | None = None) -> str:
    """Return the absolute path; `folder` is the descriptor that a relative one begins at."""
    text = os.fsdecode(path)
    is_relative = folder is not None and folder >= 0 and not text.startswith("/")
    return f"{Path(f'/proc/self/fd/{folder}').readlink()}/{text}" if is_relative else text


def changes(event: str, path: str, arguments: tuple[Any, ...]) -> bool:
    """Return whether an operation may change the disk, except for times."""
    match event:
        case "open":  # an existing file that is not truncated is a lock
            flags = arguments[2]
            return bool(flags & (os.O_WRONLY | os.O_TRUNC) or (flags & os.O_CREAT and not os.path.lexists(path)))
        case "os.mkdir":
            return not os.path.lexists(path)
        case "os.remove" | "os.rmdir":
            return os.path.lexists(path)
        case "os.utime" | "shutil.rmtree":  # rmtree's own operations follow as events
            return False
    return True


def obey() -> None:
    """Make this process follow its plan from now on."""
    sys.addaudithook(_Hook(os.environ[VARIABLE]))


def main() -> None:
    if os.getpgrp() != os.getpid():  # the group that is killed must be this program's own
        os.setpgid(0, 0)
    sys.path.pop(0)  # this file's folder: the program must not import from it
    from ppmctl.cli.commands import main as ppmctl

    obey()
    ppmctl()


if __name__ == "__main__":
    main()
