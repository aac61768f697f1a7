"""`audit.jsonl`: one line for every change and every refused one: who, from where, what, when, with what result.

Changes are always written. Of refused writes a flood is cut off (`Refusals`): whoever has no right to write must not
be able to fill the volume with that.
"""

from __future__ import annotations

import atexit
import json
import logging
import re
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ppmctl import files
from ppmctl.distributions.distribution import one_line
from ppmctl.index import project_folder
from ppmctl.index.layout import Volume

log = logging.getLogger(__name__)

# Refused writes, per server: of one client, and of all together. Each is a line of 250 bytes or so, 1.5 KB at most.
CLIENT_AT_ONCE, CLIENT_A_MINUTE = 500, 2
ALL_AT_ONCE, ALL_A_MINUTE = 2_000, 5
SUMMARY_EVERY = 60.0  # seconds

_CLIENTS = 1_000  # whose refusals are counted apart
_MAX_FIELD = 1_000  # characters
_ATTEMPT = "ppm.attempt"
# An issued secret that somebody put where a name belongs: nobody's project has capitals and small letters so mixed.
_SECRET = re.compile(r"ppm_(?=[a-z0-9_-]*[A-Z])(?=[A-Z0-9_-]*[a-z])[A-Za-z0-9_-]{20,}")


@dataclass(kw_only=True)
class Attempt:
    """A request that may change something, as far as it is known: what is said of it if it is refused.

    `by` is whose credential it came with; `claimed` is the name that came with none that is right.
    """

    origin: str
    what: str
    action: str = "write"
    by: str = ""
    claimed: str = ""
    reason: str = ""

    @classmethod
    def of(cls, environ: dict[str, Any]) -> Attempt:
        """The attempt that a WSGI request is, from its first step to its answer the same object."""
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
        found: Attempt = environ.setdefault(_ATTEMPT, cls(origin=environ.get("REMOTE_ADDR", ""), what=path))
        return found


def write(volume: Volume, *, action: str, by: str, origin: str, what: str, result: str, **more: int) -> None:
    """Append a line.

    `result` is "done", or why it was refused. A log that can't be written is said in the server's log; the
    change stands.
    """
    said = {"action": action, "by": by, "from": origin, "what": what, "result": result}
    line = {
        "time": project_folder.now(),
        **{key: _SECRET.sub("ppm_***", text)[:_MAX_FIELD] for key, text in said.items()},
    }
    written = _printable(json.dumps({**line, **more}, ensure_ascii=False))
    try:
        files.append(volume.audit, written.encode() + b"\n")
    except OSError as exc:
        log.error("%s can't be written (%s): %s", volume.audit, exc.strerror, written)


def _printable(text: str) -> str:
    """JSON in which all that a terminal might obey, or that is no character, is an escape of JSON's."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)


class Refusals:
    """The refused writes of one server: each a line, until there are too many; then one a minute that counts them."""

    def __init__(self, volume: Volume, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._volume = volume
        self._clock = clock
        self._guard = threading.Lock()
        self._all = _Allowance(ALL_AT_ONCE, ALL_A_MINUTE, clock())
        self._clients: OrderedDict[str, _Allowance] = OrderedDict()
        self._left: Counter[str] = Counter()

    def write(self, attempt: Attempt, status: int) -> None:
        """Write that `attempt` was answered with `status`, or count it."""
        # a name that came without its secret is anybody's, and not what a flood is known by
        client = attempt.by or attempt.origin
        with self._guard:
            if not self._may(client):
                self._count(client)
                return
        write(
            self._volume,
            action=attempt.action,
            by=one_line(attempt.by or attempt.claimed),
            origin=one_line(attempt.origin),
            what=one_line(attempt.what),
            result=one_line(attempt.reason),
            status=status,
        )

    def write_summary(self) -> None:
        """Write how many were only counted, if any were."""
        with self._guard:
            left, self._left = self._left, Counter()
        if not left:
            return
        (client, most), count = left.most_common(1)[0], left.total()
        result = f"{count} more refused writes have no line of their own, {most} of them of {client or 'one client'}"
        write(self._volume, action="write", by="", origin="", what="", result=result, refused=count)

    def _may(self, client: str) -> bool:
        now = self._clock()
        own = self._clients.get(client) or _Allowance(CLIENT_AT_ONCE, CLIENT_A_MINUTE, now)
        self._clients[client] = own
        self._clients.move_to_end(client)
        if len(self._clients) > _CLIENTS:
            self._clients.popitem(last=False)
        return own.take(now) and self._all.take(now)

    def _count(self, client: str) -> None:
        if not self._left:
            timer = threading.Timer(SUMMARY_EVERY, self.write_summary)
            timer.daemon = True
            timer.start()
            atexit.unregister(self.write_summary)
            atexit.register(self.write_summary)
        self._left[client if client in self._left or len(self._left) < _CLIENTS else ""] += 1


class _Allowance:
    """So many at once, and then so many a minute."""

    def __init__(self, at_once: int, a_minute: float, now: float) -> None:
        self._at_once, self._a_second = at_once, a_minute / 60
        self._left, self._seen = float(at_once), now

    def take(self, now: float) -> bool:
        self._left = min(self._at_once, self._left + (now - self._seen) * self._a_second)
        self._seen = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
