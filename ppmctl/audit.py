"""`audit.jsonl`: one line for every change, who made it and from where, refused ones too."""

from __future__ import annotations

import json
import logging

from ppmctl import files, folder
from ppmctl.volume import Volume

log = logging.getLogger(__name__)


def write(volume: Volume, *, action: str, by: str, origin: str, what: str, result: str) -> None:
    """Append a line.

    `result` is "done", or why it was refused. A log that can't be written is said in the server's log; the
    change stands.
    """
    line = {"time": folder.now(), "action": action, "by": by, "from": origin, "what": what, "result": result}
    try:
        # a file's name in drop/ need not be UTF-8; what is not becomes an escape of JSON's
        written = json.dumps(line, ensure_ascii=False).encode(errors="backslashreplace")
        files.append(volume.audit, written + b"\n")
    except OSError as exc:
        log.error("%s can't be written (%s): %s", volume.audit, exc.strerror, line)
