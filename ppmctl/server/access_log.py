"""Log each request as a line of JSON on stdout (`ppmctl serve --access-log`), with fields of nginx's log on a host.

JSON escapes what a client could use to forge a line. Of a request it has neither the query nor other headers, which
can hold a secret. Another line, without address and user, goes to the volume, where downloads are counted.
"""

from __future__ import annotations

import json
import select
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

_STDOUT = 1  # its descriptor, to which gunicorn writes the lines


def logger(volume: Volume) -> type[RequestLogger]:
    """Return the logger of a server of `volume`."""

    class OfVolume(RequestLogger):
        requests = RequestLog(volume)

    return OfVolume


class RequestLogger(Logger):
    """gunicorn's logger, with lines of JSON for requests."""

    requests: RequestLog

    def can_print(self) -> bool:
        """Return whether a line would not wait for the one who reads stdout: a pager or a terminal may pause."""
        return not self.access_log_enabled or bool(select.select((), (_STDOUT,), (), 0)[1])

    def access(self, resp: Any, _req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Log one request; gunicorn calls this after it has sent the response, or when that failed."""
        connection = environ.get("gunicorn.socket")
        method, status = environ["REQUEST_METHOD"], int(str(resp.status or "0").partition(" ")[0])
        is_cut = sys.exc_info()[0] is not None  # how much of a file was sent before is not known
        has_body = method != "HEAD" and status not in (204, 304)
        self.write(
            # a web server in front has its own log
            is_counted=connection is None or connection.family != socket.AF_UNIX,
            address=environ.get("REMOTE_ADDR", ""),
            user=secret_mask.mask(self._get_user(environ) or ""),
            method=secret_mask.mask(method),
            path=secret_mask.mask(environ["RAW_URI"].partition("?")[0]),
            protocol=environ["SERVER_PROTOCOL"],
            agent=secret_mask.mask(environ.get("HTTP_USER_AGENT", "")),
            status=status,
            sent=resp.sent if is_cut or not has_body else resp.sent or resp.response_length or 0,
            length=resp.response_length,
            content_range=next((value for name, value in resp.headers if name.lower() == "content-range"), ""),
            seconds=request_time.total_seconds(),
        )

    def write(
        self,
        *,
        is_counted: bool,
        address: str,
        user: str,
        method: str,
        path: str,
        protocol: str,
        agent: str,
        status: int,
        sent: int,
        length: int | None,
        seconds: float,
        content_range: str = "",
    ) -> None:
        """Write the lines of a request, whose texts have no secret; `is_counted`: also the one on the volume."""
        if is_counted:
            line = request_line.line(
                time=time.time(),
                sent=sent,
                length=length,
                status=status,
                method=method,
                path=path,
                agent=agent,
                content_range=content_range,
            )
            self.requests.write(line)
        if self.access_log_enabled:
            line_of_json = {
                "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
                "client": address,
                "user": user,
                "method": method,
                "path": path,
                "protocol": protocol,
                "agent": agent,
                "status": status,
                "sent": sent,
                "seconds": round(seconds, 3),
            }
            self.access_log.info("%s", json.dumps(line_of_json))
