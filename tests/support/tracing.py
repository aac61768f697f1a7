"""The operations that a server makes on the files of its volume, traced by strace."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from support import servers
from support.evidence import until
from support.servers import PPMCTL, Server

_CALL = re.compile(r"^(\d+) +(\d+\.\d+) (\w+)\((.*)$")
# parts of paths that differ between runs: names with a process id, random names
_CHANCE = re.compile(r"(?<=[./-])(?:\d+-)?[0-9a-f]{8,16}\b")


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One system call on a path below the volume's root; its paths are relative to the root."""

    thread: int
    time: float
    call: str
    paths: tuple[str, ...]

    def touches(self, *starts: str) -> bool:
        """Return whether one of its paths begins with one of `starts`."""
        return any(path.startswith(starts) for path in self.paths)

    def __str__(self) -> str:
        return f"{self.call} {' '.join(self.paths)}"


@dataclass(kw_only=True)
class Traced:
    """A server under strace from its start. Its operations are read between two positions in the log."""

    server: Server
    log: Path
    session: requests.Session = field(default_factory=requests.Session)

    def operations(self, *, start: int = 0) -> list[Operation]:
        """Return the operations on the volume since the log was `start` bytes long, but for counts of downloads."""
        with self.log.open("rb") as file:
            file.seek(start)
            lines = file.read().decode(errors="replace").splitlines()
        operations = list(_parse(lines, self.server.root))
        # the thread that counts, and the line that each request adds to the log after its answer
        counting = {each.thread for each in operations if each.touches("stats", "locks/downloads")}
        return [each for each in operations if each.thread not in counting and not each.touches("requests")]

    def now(self) -> int:
        return self.log.stat().st_size

    @contextmanager
    def request(self, touches: str) -> Iterator[list[Operation]]:
        """Yield a list for the operations of a request's thread, which is the one that touched the path `touches`.

        It is filled when the block ends. The request is made in the block, on `session`.
        """
        of_request: list[Operation] = []
        self.settle()
        start = self.now()
        yield of_request
        self.settle()
        operations = self.operations(start=start)
        threads = {operation.thread for operation in operations if touches in operation.paths}
        threads -= of_search(operations)
        assert len(threads) == 1, f"{touches} was touched by {len(threads)} threads: {[str(o) for o in operations]}"
        of_request += [operation for operation in operations if operation.thread in threads]

    def settle(self) -> None:
        """Wait until the last request on `session` is over: a connection handles its next request only then."""
        assert self.session.get(f"{self.server.url}/.well-known/ppm.json", timeout=120).ok  # it reads no file

    def wait_for(self, calls: tuple[str, ...], path: str, *, start: int = 0) -> None:
        """Wait until the server made one of these calls (prefixes of their names) on `path`."""

        def made() -> bool:
            return any(
                path in operation.paths
                for operation in self.operations(start=start)
                if operation.call.startswith(calls)
            )

        until(made, f"{calls} {path}")


def start(root: Path, *options: str) -> Traced:
    """Serve `root` under strace and wait until it answers and its start-up is over."""
    log = root.with_name(root.name + ".strace")
    log.unlink(missing_ok=True)
    # -y prints the path of a descriptor; --seccomp-bpf stops the server only at the traced calls
    flags = ("-f", "-qq", "-y", "-ttt", "-s", "0", "--seccomp-bpf", "-e", "trace=%file,%desc", "-e", "signal=none")
    command = ("strace", *flags, "-o", str(log), *PPMCTL)
    traced = Traced(server=servers.start(root, options=options, command=command, wait=120), log=log)
    traced.session.auth = traced.server.auth
    # the last step of a start-up: the boot id is read, or written if it has changed
    traced.wait_for(("close", "rename"), "index/boot")
    return traced


def of_search(operations: Sequence[Operation]) -> set[int]:
    """Return the threads that update the search index, which look at projects independently of requests."""
    return {each.thread for each in operations if any("search" in path for path in each.paths)}


def counted(
    operations: Sequence[Operation], leave: Callable[[Operation], bool] = lambda _operation: False
) -> Counter[str]:
    """Count each operation, in any order, without those for which `leave` is true."""
    return Counter(str(operation) for operation in operations if not leave(operation))


def _parse(lines: Sequence[str], root: Path) -> Iterator[Operation]:
    within = re.compile(re.escape(str(root)) + r"(/[^\s\">]*)?(?=[\">])")
    for line in lines:
        call = _CALL.match(line)
        if call is None:
            continue  # the second half of a call that another thread interrupted, or the end of a process
        thread, time, name, arguments = call.groups()
        arguments = arguments.rpartition(") = ")[0] or arguments  # the result may be on the second half
        paths = tuple(_CHANCE.sub("*", (below or "/")[1:]) for below in within.findall(arguments))
        if paths:
            yield Operation(thread=int(thread), time=float(time), call=name, paths=paths)
