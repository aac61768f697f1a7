"""A client that sends an upload in pieces, as slowly as a test needs, or aborts it."""

from __future__ import annotations

import http.client
import socket
import struct
from types import TracebackType

import requests

from support.servers import Server
from support.streams import Made


class SlowUpload:
    """One upload on a new connection: `send` a part of the body, then call `answer` or leave."""

    def __init__(self, server: Server, made: Made) -> None:
        form = {":action": "file_upload", "protocol_version": "1"}
        request = requests.Request(
            "POST", server.url + "/", data=form, files={"content": made.file}, auth=server.auth
        )
        prepared = request.prepare()
        assert isinstance(prepared.body, bytes)
        self._left = prepared.body
        self._size = len(prepared.body)
        self._connection = socket.create_connection(("127.0.0.1", server.port), timeout=120)
        lines = [f"{name}: {value}" for name, value in prepared.headers.items()]
        head = ["POST / HTTP/1.1", f"Host: 127.0.0.1:{server.port}", "Connection: close", *lines, "", ""]
        self._connection.sendall("\r\n".join(head).encode())

    def __enter__(self) -> SlowUpload:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _exc: BaseException | None, _where: TracebackType | None
    ) -> None:
        self._connection.close()

    def send(self, share: float) -> None:
        """Send a share (0 to 1) of the whole body."""
        now = max(1, int(self._size * share))
        self._connection.sendall(self._left[:now])
        self._left = self._left[now:]

    def answer(self) -> int:
        """Send the rest of the body; return the answer's status."""
        self._connection.sendall(self._left)
        return self.early_answer()

    def early_answer(self) -> int:
        """Return the status of an answer that comes before the end of the body."""
        response = http.client.HTTPResponse(self._connection)
        response.begin()
        response.read()
        return response.status

    def reset(self) -> None:
        """Abort the connection: the server's next read fails (RST), instead of reaching the end."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()
