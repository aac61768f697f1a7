"""HTTP as bytes: requests that no client library would send, and a server's complete answers."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import ssl
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PATIENCE = 15.0  # seconds; a server that has not answered by then hangs


@dataclass(frozen=True, kw_only=True)
class Target:
    """A deployed index, seen from outside. `name` is its ppm_domain; `user` may publish.

    `any_name`: it has no domain and answers to every Host; then it has no TLS either. `project` exists with the wheel
    `file`. `never` are texts that no answer may contain, such as lines of the volume's other files; `server` is the
    header that names the software, for an index without nginx. `limited` is a credential that may not read `project`.
    """

    address: str
    name: str
    user: str
    secret: str
    project: str
    file: str
    port: int = 443
    plain_port: int = 80
    has_tls: bool = True
    ca: Path | None = None
    public: bool = False
    any_name: bool = False
    never: tuple[bytes, ...] = ()
    server: bytes = b""
    limited: tuple[str, str] | None = None

    @property
    def credential(self) -> str:
        return basic(self.user, self.secret)


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, list[str]]
    body: bytes

    def header(self, name: str) -> str:
        return ", ".join(self.headers.get(name, []))


@dataclass(frozen=True, kw_only=True)
class Reply:
    """All answers over one connection. `end` is how it ended: closed, reset, refused (TLS), or silence."""

    raw: bytes
    end: str
    answers: list[Answer] = field(default_factory=list)

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers]

    def __str__(self) -> str:
        printed = ", ".join(map(str, self.statuses)) or (repr(self.raw[:40]) if self.raw else "nothing")
        return f"{printed}, {self.end}"


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


def request(target: Target, line: str, *headers: str, auth: str | None = "", close: bool = True) -> bytes:
    """Return a request with Host; `auth` replaces the target's credential, None omits it."""
    lines = [f"{line} HTTP/1.1", f"Host: {target.name}"]
    if auth is not None:
        lines.append(f"Authorization: {auth or target.credential}")
    lines += [*headers, *(["Connection: close"] if close else [])]
    # unchanged: a backslash, a raw byte above 127 and a control character are sent literally
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@cache
def trusting(root: str | None) -> ssl.SSLContext:
    """Return a TLS context that trusts a root (PEM), or the system's roots; it is cached, as making one is slow."""
    return ssl.create_default_context(cadata=root)


def connect(
    target: Target, *, sni: str | None = "", plain: bool = False, tls: ssl.SSLContext | None = None
) -> socket.socket:
    """Connect; `sni` replaces the target's name, None omits it. `plain`: to the port without TLS."""
    port = target.plain_port if plain or not target.has_tls else target.port
    connection = socket.create_connection((target.address, port), timeout=PATIENCE)
    if plain or not target.has_tls:
        return connection
    context = tls or trusting(target.ca.read_text() if target.ca else None)
    if sni != "":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        return context.wrap_socket(connection, server_hostname=target.name if sni == "" else sni)
    except BaseException:
        connection.close()
        raise


def send(
    target: Target,
    sent: bytes,
    *,
    sni: str | None = "",
    plain: bool = False,
    head: bool = False,
    patience: float = PATIENCE,
) -> Reply:
    """Send bytes over a new connection and read until it ends, for `patience` seconds. `head`: it has no body."""
    try:
        connection = connect(target, sni=sni, plain=plain)
    except ssl.SSLError as exc:
        return Reply(raw=b"", end=f"refused ({exc.reason})")
    except ConnectionError:
        return Reply(raw=b"", end="reset")
    received, end, done = b"", "silence", False
    with contextlib.closing(connection):
        until = time.monotonic() + patience
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the server may have answered already
                connection.sendall(sent)
            while (left := until - time.monotonic()) > 0:
                connection.settimeout(left)
                chunk = connection.recv(1 << 16)
                if not chunk:
                    end = "closed"
                    break
                received += chunk
                complete = [] if done else answers(received, head=head)
                if complete and complete[0].header("connection") == "close":
                    # the server waits for the rest of the announced body
                    connection.shutdown(socket.SHUT_WR)
                    done = True
        except TimeoutError:
            end = "silence"
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            end = "closed"
        except OSError:
            end = "reset"
    return Reply(raw=received, end=end, answers=answers(received, head=head))


def answers(received: bytes, *, head: bool = False) -> list[Answer]:
    """Parse the received bytes into answers, in order."""
    collected = []
    while received.startswith(b"HTTP/1.") and b"\r\n\r\n" in received:
        top, _, received = received.partition(b"\r\n\r\n")
        first, *lines = top.decode("latin-1").split("\r\n")
        headers: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers.setdefault(name.strip().lower(), []).append(value.strip())
        status = int(first.split()[1])
        body = b""
        if not (head or status < 200 or status in (204, 304)):
            body, received = _body(headers, received)
        if status >= 200:
            collected.append(Answer(status=status, headers=headers, body=body))
    return collected


def _body(headers: dict[str, list[str]], received: bytes) -> tuple[bytes, bytes]:
    if "chunked" in "".join(headers.get("transfer-encoding", [])):
        body = b""
        while received:
            size, _, received = received.partition(b"\r\n")
            length = int(size.split(b";")[0] or b"0", 16)
            body, received = body + received[:length], received[length + 2 :]
            if length == 0:
                break
        return body, received
    length = int(headers.get("content-length", [str(len(received))])[0])
    return received[:length], received[length:]


def misplaced(port: int, auth: tuple[str, str], path: str, size: int, ca: Path | None = None) -> tuple[str, bool]:
    """POST so many bytes to `localhost`; return the status line, and whether the connection is as its answer says.

    That is open for another request, or closed.
    """
    client = (
        http.client.HTTPSConnection("localhost", port, timeout=60, context=trusting(ca.read_text()))
        if ca
        else http.client.HTTPConnection("localhost", port, timeout=60)
    )
    with contextlib.closing(client):
        client.request("POST", path, b"x" * size, {"Authorization": basic(*auth)})
        answer = client.getresponse()
        answer.read()
        line = f"{answer.status} {answer.reason}"
        if answer.getheader("Connection", "").lower() == "close":
            return line, True
        client.auto_open = 0
        try:
            client.request("GET", "/healthz")
            return line, client.getresponse().status == 200
        except (http.client.HTTPException, OSError):
            return line, False
