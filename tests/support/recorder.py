"""A listener between a client and a server that writes down what each of them says."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

_OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding"}


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request as it came, and its answer's status and type. `path` is decoded."""

    method: str
    path: str
    headers: Message
    status: int
    answered_as: str | None


@dataclass(kw_only=True)
class Recorder:
    """What was recorded so far; `url` is where a client is sent instead of to the server."""

    url: str
    exchanges: list[Exchange] = field(default_factory=list)

    def paths(self, *, status: int = 200) -> list[str]:
        """The paths that were answered with `status`."""
        return [exchange.path for exchange in self.exchanges if exchange.status == status]


@contextmanager
def recording(port: int) -> Iterator[Recorder]:
    """Pass requests on to 127.0.0.1:`port`, unchanged, and record them."""
    recorder = Recorder(url="")

    class Handler(BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kept = {name: value for name, value in self.headers.items() if name.lower() not in _OF_THE_CONNECTION}
            upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            upstream.request(self.command, self.path, body=body or None, headers=kept)
            answer = upstream.getresponse()
            content = answer.read()
            recorder.exchanges.append(
                Exchange(
                    method=self.command,
                    path=unquote(self.path),
                    headers=self.headers,
                    status=answer.status,
                    answered_as=answer.getheader("Content-Type"),
                )
            )
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in _OF_THE_CONNECTION:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            upstream.close()

        do_GET = do_HEAD = do_POST = pass_on  # noqa: N815 - http.server's names

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        recorder.url = f"http://127.0.0.1:{listener.server_address[1]}"
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        try:
            yield recorder
        finally:
            listener.shutdown()
            thread.join()
