"""Write `audit.jsonl`: a line for each change and each refused one, with user, address, time and result.

`paths` returns all files of the audit log, also the rotated ones.

Changes are always written. Refused writes are limited (`Refusals`), so that they can't fill the volume.
"""

from __future__ import annotations

import atexit
import json
import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ppmctl import files
from ppmctl.access import secret_mask, shared_audit
from ppmctl.access.audit_files import paths as paths
from ppmctl.distributions.distribution import one_line
from ppmctl.index import project_folder
from ppmctl.index.layout import Volume
from ppmctl.secret import masked

log = logging.getLogger(__name__)

# Limits of refused writes per server, for one client and for all. A line has about 250 bytes, 1.5 KB at most.
CLIENT_AT_ONCE, CLIENT_A_MINUTE = 500, 2
ALL_AT_ONCE, ALL_A_MINUTE = 2_000, 5
SUMMARY_EVERY = 60.0  # seconds

_CLIENTS = 1_000  # with a limit of their own
_MAX_FIELD = 1_000  # characters
_ATTEMPT = "ppm.attempt"


@dataclass(kw_only=True)
class Attempt:
    """A request that may change something, for the audit log if it is refused.

    `by`: the credential's name. `claimed`: the user name that was sent with a wrong password. `parts`: of a request
    that asks for several changes, those that were refused, each with its HTTP status.
    """

    origin: str
    what: str
    action: str = "write"
    by: str = ""
    claimed: str = ""
    reason: str = ""
    parts: list[tuple[Attempt, int]] = field(default_factory=list)

    @classmethod
    def of(cls, environ: dict[str, Any]) -> Attempt:
        """Return the attempt of a WSGI request: always the same object for the same request."""
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
        attempt: Attempt = environ.setdefault(_ATTEMPT, cls(origin=environ.get("REMOTE_ADDR", ""), what=path))
        return attempt


def write(volume: Volume, *, action: str, by: str, origin: str, what: str, result: str, **more: int) -> None:
    """Append a line. `result` is `done(…)` or the reason of a refusal.

    If the file can't be written, the line goes to the server's log instead. With storage the line of a change is sent
    to the bucket before this returns, and that of a refusal soon after. What can't be sent is sent again later by
    this node, and is lost with its volume.
    """
    texts = {"action": action, "by": by, "from": origin, "what": what, "result": result}
    safe = {key: masked(secret_mask.mask(text))[:_MAX_FIELD] for key, text in texts.items()}
    line = shared_audit.printable(json.dumps({"time": project_folder.now(), **safe, **more}, ensure_ascii=False))
    try:
        files.append(volume.audit, line.encode() + b"\n")
    except OSError as exc:
        log.error("%s can't be written (%s): %s", volume.audit, exc.strerror, line)
        return
    if is_done(result):
        shared_audit.send(volume)


def done(notes: Sequence[str] = ()) -> str:
    """Return the `result` of a change that was made, with notes about it."""
    return ": ".join(["done", *(["; ".join(notes)] if notes else [])])


def is_done(result: str) -> bool:
    """Return whether a line has this `result` because the change was made."""
    return result.partition(":")[0] == "done"


class Refusals:
    """The refused writes of one server: a line for each, up to a limit; then a line a minute that counts them."""

    def __init__(self, volume: Volume, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._volume = volume
        self._clock = clock
        self._guard = threading.Lock()
        self._all = _Limit(ALL_AT_ONCE, ALL_A_MINUTE, clock())
        self._clients: OrderedDict[str, _Limit] = OrderedDict()
        self._left: Counter[str] = Counter()

    def write(self, attempt: Attempt, status: int) -> None:
        """Write that `attempt` was answered with this HTTP status, or count it."""
        # without its secret a name proves nothing, so the limit is the address's
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
        """Write how many refused writes were only counted, if any were."""
        with self._guard:
            left, self._left = self._left, Counter()
        if not left:
            return
        (client, most), count = left.most_common(1)[0], left.total()
        result = f"{count} more refused writes were only counted, {most} of them from {client or 'one client'}"
        write(self._volume, action="write", by="", origin="", what="", result=result, refused=count)

    def _may(self, client: str) -> bool:
        now = self._clock()
        own = self._clients.get(client) or _Limit(CLIENT_AT_ONCE, CLIENT_A_MINUTE, now)
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


class _Limit:
    """A limit of so many at once, and then so many a minute."""

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
