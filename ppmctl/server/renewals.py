"""Record how the certificate was renewed where another container does that: compose's certbot writes a file about it.

On a host, certbot's unit records it itself (`ppmctl operation record certificate`).
"""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

from ppmctl.access import operation_log
from ppmctl.access.account import SERVER
from ppmctl.distributions.distribution import one_line
from ppmctl.errors import NOT_SUCH_JSON
from ppmctl.index import operation_result
from ppmctl.index.layout import Volume
from ppmctl.index.operation_result import CERTIFICATE, OperationResult

log = logging.getLogger(__name__)

NAME = "renewal.json"  # beside the copy of the certificate (the setting `certificate`)
_EVERY = 5.0  # seconds
_LARGEST = 64 << 10  # bytes


class Renewals:
    """Follows the file {"succeeded": true, "detail": "…", "time": "…"} of another container."""

    def __init__(self, volume: Volume, certificate: Path) -> None:
        self._volume = volume
        self._path = certificate.with_name(NAME)
        self._seen = b""

    def run(self) -> None:
        """Look for a new result every few seconds, for ever."""
        pause = threading.Event()
        while True:
            try:
                self.look()
            except OSError as exc:
                log.error("The renewal of the certificate can't be recorded: %s", exc)
            pause.wait(_EVERY)

    def look(self) -> bool:
        """Record the result in the file, unless it is the last recorded one; return whether it was. Raise OSError."""
        try:
            with self._path.open("rb") as file:
                content = file.read(_LARGEST)
        except FileNotFoundError:
            return False
        if content == self._seen:
            return False
        try:
            values = json.loads(content)
            time, succeeded, detail = str(values["time"]), values["succeeded"] is True, one_line(values["detail"])
        except NOT_SUCH_JSON:
            return False
        last = operation_result.read(self._volume, CERTIFICATE)
        is_new = last is None or last.figures.get("time") != time
        if is_new:
            result = OperationResult(name=CERTIFICATE, succeeded=succeeded, detail=detail, figures={"time": time})
            operation_log.record(self._volume, SERVER, result)
        self._seen = content
        return is_new
