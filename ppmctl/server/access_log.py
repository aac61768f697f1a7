"""Log each request as a line of JSON on stdout (`ppmctl serve --access-log`), with fields of nginx's log on a host.

JSON escapes what a client could use to forge a line. Of a request it has neither the query nor other headers, which
can hold a secret.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from gunicorn.glogging import Logger

from ppmctl.access import secret_mask


class RequestLogger(Logger):
    """gunicorn's logger, with lines of JSON for requests."""

    def access(self, resp: Any, _req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Log one request; gunicorn calls this after it has sent the response."""
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
