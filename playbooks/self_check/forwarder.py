"""A proxy on the loopback that leads one name to one address, for programs that can't be told the address."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

from self_check.client import PORTS, TIMEOUT

_LONGEST_HEAD = 64 << 10


@contextlib.contextmanager
def forwarding(domain: str, address: str) -> Iterator[str]:
    """The URL of a proxy that connects to `address` whoever asks for `domain`, and to nobody else, while in use."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        ended = threading.Event()
        thread = threading.Thread(target=_accept, args=(listener, ended, domain, address), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


def target(line: str) -> tuple[str, int]:
    """Whom a request's first line asks for: its host and port. ValueError where it is none for a proxy."""
    method, asked, _protocol = line.split(" ")
    parts = urlsplit(f"//{asked}" if method == "CONNECT" else asked)
    if not parts.hostname:
        raise ValueError(line)
    return parts.hostname, parts.port or PORTS[parts.scheme or "https"]


def _accept(listener: socket.socket, ended: threading.Event, domain: str, address: str) -> None:
    while not ended.is_set():
        try:
            client, _ = listener.accept()
        except TimeoutError:
            continue
        threading.Thread(target=_serve, args=(client, domain, address), daemon=True).start()


def _serve(client: socket.socket, domain: str, address: str) -> None:
    with client, contextlib.suppress(OSError, ValueError):
        client.settimeout(TIMEOUT)
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(4096)
            if not data or len(head) > _LONGEST_HEAD:
                return
            head += data
        line = head.partition(b"\r\n")[0].decode("ascii")
        host, port = target(line)
        if host != domain:
            client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        with socket.create_connection((address, port), timeout=TIMEOUT) as server:
            if line.startswith("CONNECT "):
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                server.sendall(head)  # a server takes a whole URL in the first line as well (RFC 9112, 3.2.2)
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join(TIMEOUT)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Hand on what comes, until one side is done."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
