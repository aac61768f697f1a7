"""Answer requests for pages and files in the server's main loop, without the application.

Only where the answer is certain: a GET of a page, a file or its metadata that is on the disk, with a credential that
the application has authenticated before, and with headers that are known to change nothing else. Every other request
goes to the application, which alone refuses and redirects. Both give the same bytes: tests/e2e/test_front.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import BinaryIO

from ppmctl.access.credential_files import Credentials
from ppmctl.index.pages import JSON_PAGE, PACKED
from ppmctl.server import simple_api
from ppmctl.server.front_request import Client, Clients, Target, Targets
from ppmctl.server.request_metrics import RequestMetrics
from ppmctl.server.settings import ServerSettings
from ppmctl.server.small_files import SmallFiles, Stored, opened

_LONGEST = 8_000  # bytes of a head
_PATHS = (b"GET /simple/", b"GET /packages/")
_END = b"\r\n\r\n"
_UNLESS = re.compile(rb'\r\n(?i:if-none-match): ("[0-9a-f]{1,16}-[0-9a-f]{1,16}")(?=\r\n)')
_SINCE = re.compile(rb"\r\n(?i:if-modified-since): [A-Za-z0-9,: ]{1,40}(?=\r\n)")
_STATUS = {200: "200 OK", 304: "304 NOT MODIFIED"}
_OF_PAGE = "Vary: Accept, Accept-Encoding\r\nCache-Control: no-cache\r\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The bytes of an answer, and what the log needs. Its body has `length` bytes; if it is large, it is a `file`.

    `began` is the time of `time.perf_counter` when the request was there.
    """

    content: bytes
    file: BinaryIO | None
    status: int
    length: int
    client: Client
    target: Target
    began: float

    @property
    def left(self) -> int:
        """The bytes of the file."""
        return 0 if self.file is None else self.length


@dataclass(frozen=True, slots=True)
class _Found:
    """A page or file, and the lines of headers that are not its own."""

    path: str
    stored: Stored
    kind: str
    common: str
    encoding: str = ""
    last: str = ""

    @property
    def whole(self) -> str:
        """The headers of an answer with the file."""
        stored = self.stored
        about = f"Last-Modified: {stored.modified}\r\nETag: {stored.etag}\r\nContent-Length: {stored.size}\r\n"
        return f"{self.kind}{self.common}{self.encoding}{about}{self.last}"

    @property
    def unchanged(self) -> str:
        """The headers of an answer to a client that has the file."""
        return f"{self.common}ETag: {self.stored.etag}\r\n{self.last}"


class Front:
    """Answers of one index. All methods are called in the server's main loop."""

    def __init__(self, settings: ServerSettings, credentials: Credentials, metrics: RequestMetrics) -> None:
        self._clients = Clients(credentials, public_reads=settings.public_reads)
        self._targets = Targets(settings.volume)
        self._metrics = metrics
        self._of_file = f"Cache-Control: {simple_api.file_cache(settings)}\r\n"
        self._files = SmallFiles()
        self._second, self._date = 0, ""

    def answer(self, received: bytes, server: str, *, may_open: bool = True) -> Answer | None:
        """Return the answer to what a connection has received, or None if the application has to give it.

        `server` is the value of the header Server. Only with `may_open` the answer can have an open file.
        """
        began = time.perf_counter()
        if not received.startswith(_PATHS) or len(received) > _LONGEST or received.find(_END) != len(received) - 4:
            return None
        end = received.find(b"\r\n")
        headers, etag = _without_condition(received[end:-2])
        client = self._clients.find(headers[2:-2])
        target = self._targets.find(received[:end]) if client is not None else None
        if client is None or target is None or not _may_read(client, target):
            return None
        try:
            found = self._file(target) if target.media_type else self._page(client, target)
            stored, is_same = found.stored, found.stored.etag == etag
            is_small = is_same or stored.content is not None
            if not (is_small or may_open):
                return None
            file = None if is_small else opened(found.path, stored)
        except OSError:  # a page that is missing is written again, for example
            return None
        status, length = (304, 0) if is_same else (200, stored.size)
        first = f"HTTP/1.1 {_STATUS[status]}\r\nServer: {server}\r\nDate: {self._now()}\r\nConnection: keep-alive\r\n"
        head = f"{first}{found.unchanged if is_same else found.whole}\r\n".encode("latin-1")
        self._metrics.count(target.kind, str(status), time.perf_counter() - began)
        return Answer(
            content=head if is_same else head + (stored.content or b""),
            file=file,
            status=status,
            length=length,
            client=client,
            target=target,
            began=began,
        )

    def _page(self, client: Client, target: Target) -> _Found:
        """Find a page in the form that the client asks for. Raise OSError if there is no such page or form."""
        if client.form is None:
            raise FileNotFoundError(target.location)
        page, encoding = f"{target.location}/{client.form.page}", ""
        os.stat(f"{target.location}/{JSON_PAGE}")  # without it, the application writes all forms again
        stored = None
        if client.takes_gzip:
            with contextlib.suppress(FileNotFoundError):  # short pages have no compressed file
                stored = self._files.read(page + PACKED)
                page, encoding = page + PACKED, "Content-Encoding: gzip\r\n"
        kind = f"Content-Type: {client.form.content_type}\r\n"
        return _Found(page, stored or self._files.read(page), kind, _OF_PAGE, encoding)

    def _file(self, target: Target) -> _Found:
        kind = f"Content-Type: {target.media_type}\r\n"
        return _Found(
            target.location, self._files.read(target.location), kind, self._of_file, last="Accept-Ranges: bytes\r\n"
        )

    def _now(self) -> str:
        """Return the time for the header Date."""
        second = int(time.time())
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True)
        return self._date


def _without_condition(headers: bytes) -> tuple[bytes, str]:
    """Return headers without If-None-Match with one ETag, and that ETag; "" if there is none.

    So all requests of a client have the same headers. If-Modified-Since, which clients send too, does not count then.
    """
    tags = _UNLESS.findall(headers) if b"one-" in headers else []
    if len(tags) != 1:
        return headers, ""  # other conditions are left in it, and are not allowed
    return _SINCE.sub(b"", _UNLESS.sub(b"", headers), count=1), tags[0].decode("ascii")


def _may_read(client: Client, target: Target) -> bool:
    if target.project:
        return client.by.may("read", target.project)
    return client.by.may("read") and not client.by.is_read_limited  # such a list is made for each
