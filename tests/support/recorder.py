"""A proxy between a client and a server that records requests and answers, and can disturb them."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import unquote


@dataclass(frozen=True, kw_only=True)
class Act:
    """An action in the middle of a request, before or after the server handles it.

    The request gets no answer, unless it `is_passed_on`.
    """

    act: Callable[[], object]
    after: bool = False
    is_passed_on: bool = False


# How a request is disturbed: not at all; answered 503 without the server; its connection ends before the server
# receives it, or after the server has handled it; answered as the last request for this path was.
Trouble = Literal["none", "503", "cut", "lost", "old"] | Act

_OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding"}


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request as received, and its answer's status and type. `path` is decoded."""

    method: str
    path: str
    headers: Message
    status: int
    answered_as: str | None


@dataclass(kw_only=True)
class Recorder:
    """The requests recorded so far; `url` is the URL for clients, instead of the server's."""

    url: str
    exchanges: list[Exchange] = field(default_factory=list)

    def paths(self, *, status: int = 200) -> list[str]:
        """Return the paths that were answered with `status`."""
        return [exchange.path for exchange in self.exchanges if exchange.status == status]


@contextmanager
def recording(
    port: int, *, troubles: Iterable[tuple[str, Trouble]] = (), certificate: tuple[Path, Path] | None = None
) -> Iterator[Recorder]:
    """Forward requests unchanged to 127.0.0.1:`port`, and record them.

    The first request with the method of the first of `troubles` gets that trouble, and so on. If the server does not
    answer, the client gets 503, as from nginx. With a `certificate` (chain, key) the URL is https://localhost.
    """
    recorder = Recorder(url="")
    ahead = list(troubles)
    answers: dict[str, tuple[http.client.HTTPResponse, bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            trouble = ahead.pop(0)[1] if ahead and ahead[0][0] == self.command else None
            if trouble == "503":
                self.refuse()
                return
            if isinstance(trouble, Act) and not trouble.after:
                trouble.act()
                if not trouble.is_passed_on:
                    return
                trouble = None
            if trouble == "cut":
                return  # HTTP/1.0: the connection ends
            kept = {name: value for name, value in self.headers.items() if name.lower() not in _OF_THE_CONNECTION}
            if trouble == "old":
                self.answer(*answers[self.path])
                return
            upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                upstream.request(self.command, self.path, body=body or None, headers=kept)
                answer = upstream.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                upstream.close()
                self.refuse()
                return
            recorder.exchanges.append(
                Exchange(
                    method=self.command,
                    path=unquote(self.path),
                    headers=self.headers,
                    status=answer.status,
                    answered_as=answer.getheader("Content-Type"),
                )
            )
            if trouble == "lost" or isinstance(trouble, Act):
                upstream.close()
                if isinstance(trouble, Act):
                    trouble.act()
                return
            answers[self.path] = answer, content
            self.answer(answer, content)
            upstream.close()

        def answer(self, answer: http.client.HTTPResponse, content: bytes) -> None:
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in _OF_THE_CONNECTION:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def refuse(self) -> None:
            self.send_response_only(503)
            self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD = do_POST = pass_on  # noqa: N815 - http.server's names

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        recorder.url = f"http://127.0.0.1:{listener.server_address[1]}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            listener.socket = context.wrap_socket(listener.socket, server_side=True)
            recorder.url = f"https://localhost:{listener.server_address[1]}"
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield recorder
        finally:
            listener.shutdown()
            thread.join()
