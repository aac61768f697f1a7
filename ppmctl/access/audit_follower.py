"""Bring the audit of the other nodes of a bucket into this node's audit log, and report what they changed.

Each line gets the `node` where it was written. `storage/audit-seen.json` has the number of the last object of each
node. A node that writes nothing is asked less often: there is no list of the nodes that still exist.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ppmctl import files
from ppmctl.access import audit_files, audit_query, shared_audit
from ppmctl.errors import NOT_SUCH_JSON, PpmError
from ppmctl.index.layout import Volume
from ppmctl.storage import configured, keys
from ppmctl.storage.bucket import Found, Unavailable

log = logging.getLogger(__name__)

EVERY, SELDOM, FIND_EVERY = 2.0, 60.0, 30.0  # seconds: a busy node, one that is idle, and to look for new nodes
_IDLE_SHARE = 20  # an idle node is asked again after this part of the time for which it has been idle
_MOST_LINES = 4000  # of a node that are taken over in one step; the last objects may have more
_READS = 8  # objects that are read at the same time, at most
_AT_ONCE = 1000  # lines that are appended in one step
_EVER = datetime.min.replace(tzinfo=UTC)
_CLOCKS_DIFFER = timedelta(minutes=15)  # between nodes, at most

# Called with the projects that other nodes changed, or None for all of them. If it raises, it is called again.
Changed = Callable[[Set[str] | None], None]


@dataclass(kw_only=True)
class _Node:
    """Another node: the number of its last object here, when it last had a new one, and when it is asked next.

    `is_at_end`: the last time it was asked, all that it had was read.
    """

    number: int
    active: float
    due: float
    is_at_end: bool = False


class AuditFollower:
    """Follows the audit of other nodes on one volume with a bucket."""

    def __init__(self, volume: Volume, changed: Changed, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._volume = volume
        self._bucket = configured.opened(volume.bucket)
        self._own = configured.node(volume.root)
        self._changed = changed
        self._clock = clock
        self._nodes: dict[str, _Node] = {}
        self._find_at, self._has_looked = clock(), False
        self._may_repeat = True  # a process that was killed may have appended what is read again
        self._problem = ""
        self._known_until = _EVER  # changes before were reported, until all lines are read

    def run(self, stop: threading.Event | None = None) -> None:
        """Follow until `stop` is set; a failure is logged once."""
        stop = stop or threading.Event()
        while not stop.is_set():
            shared_audit.send(self._volume)  # what could not be sent before
            try:
                self.step()
                self._problem = ""
            except Exception as exc:  # a bug too: later changes are followed
                if str(exc) != self._problem:
                    is_expected = isinstance(exc, PpmError | OSError)
                    log.error("Other nodes can't be followed: %s", exc, exc_info=not is_expected)
                self._problem = str(exc)
            stop.wait(EVERY)

    def step(self) -> int:
        """Take over what is new, and return the number of lines. Raise Unavailable or OSError."""
        now, began = self._clock(), time.time()
        if not self._nodes:
            self._nodes = {name: _Node(number=number, active=now, due=now) for name, number in self._seen().items()}
        if now >= self._find_at:
            self._find()
        if not self._volume.audit_seen.exists():
            self._changed(None)  # before the audit, which may be long
            self._known_until = datetime.fromtimestamp(began, UTC) - _CLOCKS_DIFFER
            self._write_numbers()
            self._note_followed(began)
        lines: list[bytes] = []
        numbers = {name: self._read(name, node, lines) for name, node in self._nodes.items() if node.due <= now}
        if lines:
            self._changed(_projects(lines, self._known_until))
            self._append(sorted(lines, key=_time))
        for name, number in numbers.items():
            node = self._nodes[name]
            if number > node.number:
                node.number, node.active = number, now
            node.due = now + min(max(EVERY / 2, (now - node.active) / _IDLE_SHARE), SELDOM)
        if lines:
            self._write_numbers()
            self._may_repeat = False
        if all(node.is_at_end for node in self._nodes.values()):
            self._known_until = _EVER
            self._note_followed(began)
        return len(lines)

    def _find(self) -> None:
        """Find nodes that are new, and once the first number of each: old objects may have been deleted."""
        now = self._clock()
        for name in self._bucket.folders(keys.AUDIT):
            node = self._nodes.get(name)
            if name == self._own or (node is not None and self._has_looked):
                continue
            after = keys.audit(name, node.number if node else 0)
            first = next(iter(self._bucket.keys(keys.audit_of(name), after=after)), None)
            if first is not None:
                self._nodes[name] = _Node(number=keys.audit_number(first) - 1, active=now, due=now)
        self._has_looked, self._find_at = True, now + FIND_EVERY

    def _read(self, name: str, node: _Node, lines: list[bytes]) -> int:
        """Add the next lines of a node, and return the number of their last object. Raise Unavailable without any."""
        number, enough, at_once = node.number, len(lines) + _MOST_LINES, 1
        node.is_at_end = False
        try:
            while len(lines) < enough:
                for found in self._read_objects([keys.audit(name, number + each + 1) for each in range(at_once)]):
                    if found is None:
                        node.is_at_end = True
                        return number
                    number += 1
                    lines += _marked(found.content, name)
                at_once = min(2 * at_once, _READS)  # a node that is up to date costs one request
        except Unavailable:
            if number == node.number:
                raise
        return number

    def _read_objects(self, names: list[str]) -> Iterator[Found | None]:
        if len(names) == 1:
            yield self._bucket.read(names[0])
            return
        with ThreadPoolExecutor(len(names)) as pool:
            yield from pool.map(self._bucket.read, names)

    def _write_numbers(self) -> None:
        seen = {name: node.number for name, node in self._nodes.items()}
        self._volume.audit_seen.parent.mkdir(mode=0o700, exist_ok=True)
        files.write_atomic(self._volume.audit_seen, json.dumps(seen).encode(), sync=True)

    def _note_followed(self, began: float) -> None:
        self._volume.followed.touch()
        os.utime(self._volume.followed, (began, began))

    def _append(self, lines: list[bytes]) -> None:
        if self._may_repeat:
            present = self._tail(sum(map(len, lines)))
            lines = [line for line in lines if line not in present]
        self._may_repeat = True  # until the numbers are written
        for start in range(0, len(lines), _AT_ONCE):
            files.append(self._volume.audit, b"".join(lines[start : start + _AT_ONCE]))

    def _tail(self, size: int) -> set[bytes]:
        """Return the last lines of the audit log, at least of this size in bytes."""
        tail: set[bytes] = set()
        for path in audit_files.paths(self._volume)[-2:]:
            with path.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 2 * size))
                tail.update(file)
        return tail

    def _seen(self) -> dict[str, int]:
        try:
            return {
                str(name): int(number) for name, number in json.loads(self._volume.audit_seen.read_bytes()).items()
            }
        except FileNotFoundError:
            return {}
        except NOT_SUCH_JSON as exc:
            log.error("%s can't be read; the audit of other nodes is read again: %s", self._volume.audit_seen, exc)
            return {}


def _marked(content: bytes, node: str) -> Iterator[bytes]:
    """Yield the lines of an object with their node; invalid ones are left out."""
    for line in content.splitlines():
        try:
            values = json.loads(line)
            values["node"] = node
        except NOT_SUCH_JSON:
            continue
        yield shared_audit.printable(json.dumps(values, ensure_ascii=False)).encode() + b"\n"


def _time(line: bytes) -> str:
    return str(json.loads(line).get("time", ""))


def _projects(lines: list[bytes], since: datetime) -> set[str]:
    """Return the projects that the lines say were changed since then."""
    entries = [entry for entry in map(audit_query.parse, lines) if entry is not None and entry.is_done]
    return {entry.project for entry in entries if entry.project is not None and entry.time >= since}
