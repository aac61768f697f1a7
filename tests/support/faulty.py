"""A small foreign index with faults: a test defines the answer of each path."""

from __future__ import annotations

import email.utils
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.servers import JSON

EMPTY = json.dumps({"meta": {"api-version": "1.4"}, "projects": []}).encode()


@dataclass(frozen=True, kw_only=True)
class Response:
    """A configured answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def moved(cls, url: str) -> Response:
        return cls(status=301, headers={"Location": url})


LIST = Response(body=EMPTY, headers={"Content-Type": JSON})


@contextmanager
def index(
    answers: Mapping[str, Response] | None = None,
    *,
    certificate: tuple[Path, Path] | None = None,
    ahead: float = 0,
    host: str = "127.0.0.1",
) -> Iterator[int]:
    """Serve `answers` by path, and 404 for other paths, and yield the port; by default an empty index.

    `certificate` are files with a chain and a key, for TLS. `ahead`: seconds by which its clock is fast.
    """
    known = {"/simple/": LIST} if answers is None else answers

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            response = known.get(self.path, Response(status=404))
            self.send_response_only(response.status)
            self.send_header("Date", email.utils.formatdate(time.time() + ahead, usegmt=True))
            self.send_header("Content-Length", str(len(response.body)))
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(response.body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_arguments: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_arguments: Any) -> None:
            """Ignore errors: a client that does not trust the certificate disconnects."""

    server = Server((host, 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        # the handshake is in each connection's thread, so that a client that disconnects doesn't block others
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
