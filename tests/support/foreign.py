"""A foreign index whose pages a test defines, for code that reads any index."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JSON = "application/vnd.pypi.simple.v1+json"


@dataclass
class Foreign:
    """A foreign index of files in memory; `asked` has its requests: path, credential."""

    url: str = ""
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def page(self, path: str, content: Any) -> None:
        self.answers[path] = (200, {"Content-Type": JSON}, json.dumps(content).encode())

    def file(self, path: str, content: bytes) -> None:
        self.answers[path] = (200, {"Content-Type": "application/octet-stream"}, content)

    def project(self, name: str, *files: dict[str, Any]) -> None:
        self.page(f"/simple/{name}/", {"meta": {"api-version": "1.1"}, "name": name, "files": list(files)})


@contextmanager
def foreign() -> Iterator[Foreign]:
    index = Foreign()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.asked.append((self.path, self.headers["Authorization"]))
            status, headers, body = index.answers.get(self.path, (404, {"Content-Type": "text/html"}, b"no"))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            self.do_GET()

        def do_DELETE(self) -> None:
            self.do_GET()

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})  # shutdown waits this long
    thread.start()
    index.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield index
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def listed(name: str, content: bytes, url: str, **more: Any) -> dict[str, Any]:
    return {"filename": name, "url": url, "hashes": {"sha256": hashlib.sha256(content).hexdigest()}, **more}
