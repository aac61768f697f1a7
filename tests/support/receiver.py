"""A receiver of webhooks: a real HTTP server that checks signatures by the specification, not by product code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def is_signed(headers: dict[str, str], body: bytes, key: bytes = KEY) -> bool:
    """Return whether one of the signatures is that of the id, the time and the body (Standard Webhooks 1.0.0)."""
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    is_recent = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    return is_recent and f"v1,{digest}" in headers["webhook-signature"].split(" ")


@dataclass
class Receiver:
    """What was received, in order. `answers` are the next statuses, then it answers 204; "hang" never ends."""

    port: int = 0
    path: str = "/hook"
    answers: list[int | str] = field(default_factory=list)
    attempts: list[tuple[str, int | str]] = field(default_factory=list)  # id and answer
    messages: list[dict[str, Any]] = field(default_factory=list)  # those that were answered with 2xx
    ids: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # without a right signature
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    def files(self) -> list[str]:
        """Return the files of the events, without those that were sent again."""
        first = dict(zip(reversed(self.ids), reversed(self.messages), strict=True))
        return [first[each]["data"].get("file", "") for each in dict.fromkeys(self.ids)]


@contextmanager
def receiving(port: int = 0, known: Receiver | None = None) -> Iterator[Receiver]:
    """Run a receiver; with `known` it goes on with what that has, after a restart."""
    receiver = known or Receiver()
    guard = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:
                self.close_connection = True
                return  # the sender was killed: it has sent no event
            headers = {name.lower(): value for name, value in self.headers.items()}
            with guard:
                answer = receiver.answers.pop(0) if receiver.answers else 204
                receiver.attempts.append((headers["webhook-id"], answer))
                if not is_signed(headers, body) or headers["content-type"] != "application/json":
                    receiver.wrong.append(headers["webhook-id"])
                if isinstance(answer, int) and answer < 300:
                    receiver.ids.append(headers["webhook-id"])
                    receiver.messages.append(json.loads(body))
            if answer == "drip":
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                while not receiver.released.wait(0.2):
                    self.wfile.write(b"X-A: b\r\n")
                return
            if not isinstance(answer, int):
                receiver.released.wait(60)
                return
            self.send_response(answer)
            if answer == 302:
                self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
