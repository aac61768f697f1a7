"""`audit.jsonl`: one line for every change, who made it and from where, refused ones too."""

from __future__ import annotations

import json
import logging
import os

from ppmctl import folder
from ppmctl.volume import Volume

log = logging.getLogger(__name__)


def write(volume: Volume, *, action: str, by: str, origin: str, what: str, result: str) -> None:
    """Append a line. One write to a file opened for appending: lines of several processes never mix.

    `result` is "done", or why it was refused. A log that can't be written is said in the server's log; the
    change stands.
    """
    line = {"time": folder.now(), "action": action, "by": by, "from": origin, "what": what, "result": result}
    try:
        descriptor = os.open(volume.audit, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.write(descriptor, json.dumps(line, ensure_ascii=False).encode() + b"\n")
        finally:
            os.close(descriptor)
    except OSError as exc:
        log.error("%s can't be written (%s): %s", volume.audit, exc.strerror, line)
