"""One request to one address, and nothing in between: no proxy, no redirect followed, no connection kept."""

from __future__ import annotations

import base64
import hashlib
import http.client
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message

from self_check.settings import Credential

TIMEOUT = 20.0  # seconds, for each step
LARGEST = 32 << 20  # bytes of an answer
PORTS = {"http": 80, "https": 443}


class NoAnswer(Exception):
    """No answer came, and why. `closed`: the server ended the connection without a word."""

    def __init__(self, message: str, *, closed: bool = False) -> None:
        super().__init__(message)
        self.closed = closed


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Which servers are talked to: those that `context` accepts, and where `only` is set, its SHA-256 alone."""

    context: ssl.SSLContext
    only: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    reason: str
    headers: Message
    body: bytes

    def header(self, name: str) -> str:
        return str(self.headers.get(name, ""))

    @property
    def content_type(self) -> str:
        """The media type alone."""
        return self.header("Content-Type").partition(";")[0].strip().lower()

    @property
    def is_redirect(self) -> bool:
        return self.status in (301, 302, 303, 307, 308)

    def __str__(self) -> str:
        said = self.body[:300].decode(errors="replace").strip() if self.content_type == "text/plain" else ""
        line = " ".join((said or self.reason).split())
        return f"{self.status} ({line})" if line else str(self.status)


@dataclass(frozen=True, kw_only=True)
class Index:
    """The index at one address. `trust` is for https; without it nobody is asked there."""

    domain: str
    address: str
    scheme: str
    trust: Trust | None = None

    def get(self, path: str, credential: Credential | None = None, **headers: str) -> Answer:
        return self.ask("GET", path, credential=credential, headers=headers)

    def ask(
        self,
        method: str,
        path: str,
        *,
        credential: Credential | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        scheme: str = "",
        host: str = "",
    ) -> Answer:
        """Send a request and read the answer, whatever its status; NoAnswer where none came.

        `scheme` and `host` (the Host header) are the index's own unless they are given.
        """
        sent = {"Host": host or self.domain, "Connection": "close", "User-Agent": "ppm-self-check"}
        sent |= {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        if credential:
            pair = f"{credential.name}:{credential.secret}".encode()
            sent["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        connection = self._connection(scheme or self.scheme)
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            return Answer(
                status=answer.status, reason=answer.reason, headers=answer.headers, body=answer.read(LARGEST)
            )
        except (http.client.HTTPException, OSError) as exc:
            raise explained(exc) from exc
        finally:
            connection.close()

    def _connection(self, scheme: str) -> http.client.HTTPConnection:
        trust = self.trust if scheme == "https" else None
        if scheme == "https" and trust is None:
            raise NoAnswer("nobody there is trusted")
        return _Connection(self, PORTS[scheme], trust)


class _Connection(http.client.HTTPConnection):
    def __init__(self, index: Index, port: int, trust: Trust | None) -> None:
        super().__init__(index.domain, port, timeout=TIMEOUT)
        self._index, self._trust = index, trust

    def connect(self) -> None:
        plain = socket.create_connection((self._index.address, self.port), timeout=TIMEOUT)
        self.sock = plain
        if self._trust:
            self.sock = handshake(plain, self._index.domain, self._trust)


def handshake(plain: socket.socket, name: str, trust: Trust) -> ssl.SSLSocket:
    """TLS with the server of that name; nothing was sent to one that is not trusted. It closes what it can't use."""
    try:
        secured = trust.context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise
    if trust.only and fingerprint(secured.getpeercert(binary_form=True) or b"") != trust.only:
        secured.close()
        raise NoAnswer("another certificate was served this time: more than one server answers at this address")
    return secured


def fingerprint(certificate: bytes) -> str:
    return hashlib.sha256(certificate).hexdigest()


def explained(exc: Exception) -> NoAnswer:
    """Why there was no answer, in plain words."""
    match exc:
        case NoAnswer():
            return exc
        case http.client.RemoteDisconnected() | ConnectionResetError() | BrokenPipeError() | ssl.SSLEOFError():
            return NoAnswer("the connection was closed without an answer", closed=True)
        case ssl.SSLCertVerificationError():
            return NoAnswer(f"the certificate does not pass: {exc.verify_message}")
        case ssl.SSLError():
            return NoAnswer(f"no TLS connection ({getattr(exc, 'reason', '') or exc})", closed=True)
        case TimeoutError():
            return NoAnswer(f"no answer within {TIMEOUT:.0f} seconds")
        case ConnectionRefusedError():
            return NoAnswer("nothing listens there (connection refused)")
        case OSError():
            return NoAnswer(exc.strerror or str(exc))
        case _:
            return NoAnswer(f"what came is no HTTP ({type(exc).__name__})")
