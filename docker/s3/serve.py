"""Serve the S3 bucket `packages` in memory, to try an index with its files in a bucket: moto's server.

It accepts any credential. Requests are handled one at a time, because moto compares an object's tag and replaces the
object in two steps.
"""

from __future__ import annotations

import http.client
import io
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET, PORT = "packages", 9000
TIMEOUT = 3.0  # seconds

_application = DomainDispatcherApplication(create_backend_app)
_handling = threading.Lock()


class Quiet(WSGIRequestHandler):
    def log_request(self, *_arguments: object) -> None:
        """Log no requests."""


def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a request (WSGI), after its body was read: a slow client lets the others wait for nothing."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
    with _handling:
        return list(_application(environ, start_response))


def ask(method: str) -> None:
    """Send a request about the bucket to the server. Raise OSError if it does not succeed."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=TIMEOUT)
    try:
        connection.request(method, f"/{BUCKET}")
        status = connection.getresponse().status
    except http.client.HTTPException as exc:
        raise OSError(f"no answer about the bucket: {exc!r}") from exc
    finally:
        connection.close()
    if status >= 400:
        raise OSError(f"status {status} for the bucket")


def main() -> int:
    if sys.argv[1:] == ["check"]:
        ask("HEAD")
        return 0
    server = make_server("0.0.0.0", PORT, serve, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ask("PUT")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    sys.exit(main())
