"""Send the lines of this node's audit log to the bucket, in order: an object has the lines of one moment or more.

`storage/audit-sent.json` has the number of the last object and the place behind its lines, so a killed process loses
nothing. Lines of other nodes have a `node` (`ppmctl.access.audit_follower`) and are not sent.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from itertools import chain

from ppmctl import files
from ppmctl.access import audit_outbox
from ppmctl.access.audit_outbox import Place
from ppmctl.errors import NOT_SUCH_JSON, PpmError
from ppmctl.index.layout import Volume
from ppmctl.storage import configured, keys
from ppmctl.storage.bucket import Bucket, Exists, Unavailable

log = logging.getLogger(__name__)

MOST_LINES = 4000  # in an object, of about 250 bytes each


@dataclass(frozen=True, kw_only=True)
class _Sent:
    number: int
    place: Place


def send(volume: Volume) -> None:
    """Send what the bucket does not have, if the volume has one; a failure is logged, and the next call repeats it.

    Of several processes and threads one sends the lines of all.
    """
    if not volume.is_cache:
        return
    try:
        with files.lock(volume.audit_lock):
            send_to(configured.opened(volume.bucket), volume)
    except (OSError, PpmError) as exc:
        log.error("Lines of the audit log are not in the bucket yet: %s", exc)


def send_to(bucket: Bucket, volume: Volume) -> None:
    """Send the same to a bucket. The caller holds `audit_lock`. Raise OSError or PpmError."""
    node = configured.node(volume.root)
    sent = _read(volume)
    if sent is None:
        sent = _Sent(number=_last_number(bucket, node), place=Place())
        _write(volume, sent)  # what is sent next is recognised after a crash
    while lines := audit_outbox.after(volume, sent.place, most=MOST_LINES):
        number = _put(
            bucket, node, sent.number, b"".join(line.text for line in lines if not _is_elsewhere(line.text))
        )
        sent = _Sent(number=number, place=lines[-1].after)
        _write(volume, sent)
        if len(lines) < MOST_LINES:
            break


def send_whole(bucket: Bucket, volume: Volume) -> None:
    """Write the whole audit log to a bucket that is being filled, with the lines of other nodes, as this node's.

    What an earlier attempt wrote is replaced; `send` then goes on behind it. The caller holds `audit_lock`.
    """
    node = configured.node(volume.root)
    bucket.delete(*list(bucket.keys(keys.audit_of(node))))
    sent = _Sent(number=0, place=Place())
    while lines := audit_outbox.after(volume, sent.place, most=MOST_LINES):
        bucket.write(keys.audit(node, sent.number + 1), b"".join(line.text for line in lines))
        sent = _Sent(number=sent.number + 1, place=lines[-1].after)
    _write(volume, sent)
    volume.audit_seen.unlink(missing_ok=True)


def _put(bucket: Bucket, node: str, last: int, content: bytes) -> int:
    """Write the lines to the object after the number `last`, and return its number.

    A process that was killed, or whose answer was lost, may have written the first of these lines already.
    """
    while content:
        last += 1
        try:
            bucket.create(keys.audit(node, last), content)
        except Exists:
            found = bucket.read(keys.audit(node, last))
            if found is None:
                raise Unavailable(f"{keys.audit(node, last)} was deleted meanwhile.") from None
            if not content.startswith(found.content):  # from before this volume was restored
                last = _last_number(bucket, node)
                continue
            content = content[len(found.content) :]
        else:
            return last
    return last


def _last_number(bucket: Bucket, node: str) -> int:
    return max(chain([0], map(keys.audit_number, bucket.keys(keys.audit_of(node)))))


def _read(volume: Volume) -> _Sent | None:
    try:
        values = json.loads(volume.audit_sent.read_bytes())
        return _Sent(number=int(values["number"]), place=Place(**values["place"]))
    except FileNotFoundError:
        return None
    except NOT_SUCH_JSON as exc:
        log.error("%s can't be read; the whole audit log is sent again: %s", volume.audit_sent, exc)
        return None


def _write(volume: Volume, sent: _Sent) -> None:
    volume.audit_sent.parent.mkdir(mode=0o700, exist_ok=True)
    files.write_atomic(volume.audit_sent, json.dumps(asdict(sent)).encode())


def _is_elsewhere(line: bytes) -> bool:
    try:
        return "node" in json.loads(line)
    except NOT_SUCH_JSON:
        return False


def printable(text: str) -> str:
    """Return the JSON text with control and other unprintable characters as JSON escapes."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)
