"""Read the heads of requests that `ppmctl.server.front` may answer; all others are left to the application."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

from werkzeug.wrappers import Request

from ppmctl.access import rights, secret_mask
from ppmctl.access.credential_files import Access, Credentials
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume
from ppmctl.server import content_negotiation, request_headers, request_metrics, simple_api
from ppmctl.server.content_negotiation import Form

_MOST_CLIENTS, _MOST_TARGETS = 1_000, 4_000  # remembered; then all are forgotten
_LINE = re.compile(
    rb"GET (/simple/(?:(?P<page>[a-z0-9-]+)/)?|/packages/(?P<project>[a-z0-9-]+)/(?P<file>[A-Za-z0-9._+!-]+))"
    rb" HTTP/1\.1"
)
_HEADER = re.compile(r"([A-Za-z-]+): ([!-~](?:[ -~]*[!-~])?)", re.ASCII)
# The only ones that such a request may have. All but the first five change nothing in an answer.
_ALLOWED = frozenset(
    {"host", "authorization", "accept", "accept-encoding", "connection"}
    | {"user-agent", "accept-language", "cache-control", "pragma", "priority"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Client:
    """What the headers of a request say. `user` and `agent` are for the log; `version` is that of the credentials."""

    by: Access
    form: Form | None
    takes_gzip: bool
    user: str
    agent: str
    version: object


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What a path leads to: a folder of pages, or a file with a media type. `project` is "" for the list of projects.

    `kind` is that of the metrics, `path` is for the log.
    """

    project: str
    location: str
    kind: str
    path: str
    media_type: str = ""


class Clients:
    """The clients that sent a request lately, by their headers.

    No headers are kept, because they have secrets, only a keyed hash of them.
    """

    def __init__(self, credentials: Credentials, *, public_reads: bool) -> None:
        self._credentials = credentials
        self._public_reads = public_reads
        self._key = secrets.token_bytes(32)
        self._known: dict[bytes, Client] = {}

    def find(self, headers: bytes) -> Client | None:
        """Return who sent these lines; None if they have anything unusual, or no credential that is known now."""
        version = None
        if not self._public_reads and (version := self._credentials.version) is None:
            return None
        key = hashlib.blake2b(headers, key=self._key, digest_size=16).digest()
        client = self._known.get(key)
        if client is None or client.version is not version:
            client = self._read(headers, version)
            if client is not None:
                if len(self._known) >= _MOST_CLIENTS:
                    self._known.clear()
                self._known[key] = client
        return client

    def _read(self, headers: bytes, version: object) -> Client | None:
        environ = {"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.1", "PATH_INFO": "/"}
        for line in headers.decode("latin-1").split("\r\n"):
            match = _HEADER.fullmatch(line)
            name = match[1].lower() if match else ""
            key = "HTTP_" + name.upper().replace("-", "_")
            if match is None or name not in _ALLOWED or key in environ:
                return None
            environ[key] = match[2]
        if environ.get("HTTP_CONNECTION", "keep-alive").lower() != "keep-alive":
            return None
        try:
            request = Request(environ)
            request_headers.check(request)
            sent = request.authorization
        except (PpmError, ValueError):
            return None
        by, name = rights.ANYONE, ""
        if "HTTP_AUTHORIZATION" in environ:
            if sent is None or sent.type != "basic" or sent.username is None or sent.password is None:
                return None
            name = sent.username
        if not self._public_reads:
            known = self._credentials.known(name, sent.password or "") if sent is not None else None
            if known is None:
                return None
            by = known
        return Client(
            by=by,
            form=content_negotiation.negotiate(environ.get("HTTP_ACCEPT", "")),
            takes_gzip=request.accept_encodings["gzip"] > 0,
            user=secret_mask.mask(name),
            agent=secret_mask.mask(environ.get("HTTP_USER_AGENT", "")),
            version=version,
        )


class Targets:
    """What the paths lead to that were requested lately, by the first line of a request."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._known: dict[bytes, Target] = {}

    def find(self, line: bytes) -> Target | None:
        """Return what a GET is for; None unless it is a page with its canonical URL, a file or its metadata."""
        target = self._known.get(line)
        if target is None:
            target = self._read(line)
            if target is not None:
                if len(self._known) >= _MOST_TARGETS:
                    self._known.clear()
                self._known[line] = target
        return target

    def _read(self, line: bytes) -> Target | None:
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        path, page, project, filename = ((text or b"").decode("ascii") for text in match.groups())
        if secret_mask.has_whole_secret(path):
            return None
        name = page or project
        try:
            if filename:
                if not simple_api.may_have(name, filename):
                    return None
                location = self._volume.file(name, filename)
            else:
                location = self._volume.pages(name) if name else self._volume.simple
        except PpmError:  # not a normalised name
            return None
        return Target(
            project=name,
            location=str(location),
            kind=request_metrics.kind_of("GET", path),
            path=secret_mask.mask(path),
            media_type=simple_api.media_type(filename) if filename else "",
        )
