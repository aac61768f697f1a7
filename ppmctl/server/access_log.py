"""Log each request as a line of JSON on stdout (`ppmctl serve --access-log`), with fields of nginx's log on a host.

JSON escapes what a client could use to forge a line. Of a request it has neither the query nor other headers, which
can hold a secret. Another line, without address and user, goes to the volume, where downloads are counted.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from gunicorn.glogging import Logger

from ppmctl.access import secret_mask
from ppmctl.downloads import request_line
from ppmctl.downloads.request_log import RequestLog
from ppmctl.index.layout import Volume


def logger(volume: Volume) -> type[RequestLogger]:
    """Return the logger of a server of `volume`."""

    class OfVolume(RequestLogger):
        requests = RequestLog(volume)

    return OfVolume


class RequestLogger(Logger):
    """gunicorn's logger, with lines of JSON for requests."""

    requests: RequestLog

    def access(self, resp: Any, _req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Log one request; gunicorn calls this after it has sent the response, or when that failed."""
        connection = environ.get("gunicorn.socket")
        if connection is None or connection.family != socket.AF_UNIX:  # a web server in front has its own log
            self.requests.write(_line(resp, environ))
        if not self.access_log_enabled:
            return
        values = {
            "client": environ.get("REMOTE_ADDR", ""),
            "user": self._get_user(environ) or "",
            "method": environ["REQUEST_METHOD"],
            "path": environ["RAW_URI"].partition("?")[0],
            "protocol": environ["SERVER_PROTOCOL"],
            "agent": environ.get("HTTP_USER_AGENT", ""),
        }
        line = {
            "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            **{name: secret_mask.mask(value) for name, value in values.items()},
            "status": int(str(resp.status).partition(" ")[0]),
            "sent": resp.sent or 0,
            "seconds": round(request_time.total_seconds(), 3),
        }
        self.access_log.info("%s", json.dumps(line))


def _line(resp: Any, environ: dict[str, Any]) -> bytes:
    """Return the line of a request for the log of requests."""
    method, status = environ["REQUEST_METHOD"], int(str(resp.status or "0").partition(" ")[0])
    is_cut = sys.exc_info()[0] is not None  # how much of a file was sent before is not known
    has_body = method != "HEAD" and status not in (204, 304)
    headers = {name.lower(): value for name, value in resp.headers}
    return request_line.line(
        time=time.time(),
        sent=resp.sent if is_cut or not has_body else resp.sent or resp.response_length or 0,
        length=resp.response_length,
        status=status,
        method=method,
        path=secret_mask.mask(environ["RAW_URI"].partition("?")[0]),
        agent=secret_mask.mask(environ.get("HTTP_USER_AGENT", "")),
        content_range=headers.get("content-range", ""),
    )
