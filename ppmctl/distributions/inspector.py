"""The child process that reads files made by strangers, with limits of processor time, memory and open files.

`inspection` starts it, and asks it for one file after the other, or for a call of a function with a stranger's texts:
JSON on a socket.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ppmctl.distributions import budget, distribution
from ppmctl.distributions.environment_revision import environment_of
from ppmctl.errors import InvalidDistribution

_MAX_REQUEST = 8 << 20  # bytes
_MAX_FILES = 32  # open at the same time


def main() -> None:
    """Answer requests until the other end of the socket is closed. Arguments: its number, and the limit of memory."""
    connection = Connection(int(sys.argv[1]))
    _limit(int(sys.argv[2]))
    while True:
        try:
            request = json.loads(connection.recv_bytes(_MAX_REQUEST))
        except EOFError:
            return
        _limit_time(request["seconds"])
        if "call" in request:
            answer = _call(request["call"], request["arguments"])
        else:
            answer = _answer(Path(request["path"]), request["filename"], old=request["old"])
        connection.send_bytes(_packed(answer))


def _packed(answer: dict[str, Any]) -> bytes:
    content = json.dumps(answer).encode()
    return content if len(content) <= budget.MAX_ANSWER else json.dumps({"large": True}).encode()


def _call(function: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Return what a function returned, or why it did not."""
    module, _, name = function.partition(":")
    try:
        return {"returned": getattr(importlib.import_module(module), name)(*arguments)}
    except MemoryError:
        return {"memory": True}
    except Exception as exc:
        return {"failed": f"failed: {distribution.one_line(repr(exc))}"}


def _answer(path: Path, filename: str, *, old: bool) -> dict[str, Any]:
    """Return the values of a `Dist`, or why there are none."""
    try:
        dist = distribution.inspect(path, filename, old=old)
        values: dict[str, Any] = {
            "project": dist.name.project,
            "metadata": base64.b64encode(dist.metadata).decode(),
            "requires_python": dist.requires_python,
            "summary": dist.summary,
            "revision": None,
            "faults": [asdict(fault) for fault in dist.faults],
            "notes": dist.notes,
        }
        if environment_of(dist.name.project) is not None:
            from ppmctl.distributions import environment_wheel

            values["revision"] = asdict(environment_wheel.check(dist.name, path, old=old))
    except InvalidDistribution as exc:
        return {"invalid": _short(exc.message)}
    except MemoryError:
        return {"memory": True}
    except OSError as exc:
        return {"errno": exc.errno, "strerror": exc.strerror}
    except Exception as exc:
        return {"invalid": f"{filename} can't be read: {distribution.one_line(repr(exc))}."}
    return values


def _short(message: str) -> str:
    if len(message) <= budget.MAX_MESSAGE:
        return message
    return f"{distribution.one_line(message, most=budget.MAX_MESSAGE)}."


def _limit(memory: int) -> None:
    """Set the limits that count for all files; `memory` is in bytes, in addition to what is used now."""
    with contextlib.suppress(FileNotFoundError):  # only Linux has it, and limits the size of a process
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        _set(resource.RLIMIT_AS, pages * resource.getpagesize() + memory)
    _set(resource.RLIMIT_NOFILE, _MAX_FILES)
    _set(resource.RLIMIT_FSIZE, 0)
    _set(resource.RLIMIT_CORE, 0)


def _limit_time(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _set(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + seconds)


def _set(limit: int, value: int) -> None:
    _soft, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


if __name__ == "__main__":
    main()
