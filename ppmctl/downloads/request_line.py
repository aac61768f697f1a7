"""The lines of a log of requests: their format, and what a request was for.

A line has tabs between its fields, and no address and no user name. nginx escapes the values as in JSON
(`escape=json`), so no client can write a tab or a line break into one. roles/nginx has the same format.

    time, bytes of the body, Content-Length, status, method, path, User-Agent, Content-Range
"""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from ppmctl.distributions.distribution import parse_filename
from ppmctl.distributions.names import is_normalised
from ppmctl.errors import InvalidDistribution

Kind = Literal["page", "file", "metadata", "environment", "web", "other"]
KINDS: tuple[Kind, ...] = ("page", "file", "metadata", "environment", "web", "other")

# what the URLs of web pages begin with, as in ppmctl.web.site
WEB = frozenset(
    {"account", "admin", "environment", "environments", "join", "login", "logout", "project", "projects", "static"}
)
_METADATA = ".metadata"
_LONGEST_PATH = 1_000  # bytes; a longer one is of no file
_STATUS = re.compile(rb"[1-5][0-9][0-9]")
_escaped = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps makes such an encoder each time
_RANGE = re.compile(rb"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})")


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a path leads to. `project`, `version` and `filename` are those of a distribution, "" for others."""

    kind: Kind
    project: str = ""
    version: str = ""
    filename: str = ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a file: its first byte, and the size of the whole file."""

    start: int
    total: int


def line(
    *, time: float, sent: int, length: int | None, status: int, method: str, path: str, agent: str, content_range: str
) -> bytes:
    """Return the line of a request, with a line break; `time` in seconds since the epoch."""
    texts = (_escaped(text)[1:-1] for text in (method, path, agent, content_range))
    head = f"{time:.3f}\t{sent}\t{'' if length is None else length}\t{status}"
    return "\t".join([head, *texts]).encode("utf-8", "surrogateescape") + b"\n"


def target(path: bytes) -> Target:
    """Return what a logged path (without a query) leads to."""
    first = path.split(b"/", 2)[1:2]
    match first:
        case [b"simple"]:
            return Target(kind="page")
        case [b"packages"] | [b"project"] | [b""]:
            return _file(path)
        case [b"env"]:
            return Target(kind="environment")
    name = first[0].decode("latin-1") if first else ""
    return Target(kind="web" if name in WEB or path == b"/upload/files" else "other")


def _file(path: bytes) -> Target:
    """Return the distribution or its metadata at a path of installers, or at one of the web pages."""
    parts: list[str] = []
    if len(path) <= _LONGEST_PATH and b"\\" not in path:
        parts = posixpath.normpath(unquote(path.decode("latin-1"))).lstrip("/").split("/")
    match parts:
        case ["packages", project, filename]:
            kind: Kind = "file"
        case ["project", project, "files", filename]:
            kind = "web"
        case ["project", *_]:
            return Target(kind="web")
        case ["simple", *_]:
            return Target(kind="page")
        case _:
            return Target(kind="other")
    if kind == "file" and filename.endswith(_METADATA):
        kind, filename = "metadata", filename.removesuffix(_METADATA)
    try:
        if not is_normalised(project):
            return Target(kind="other")
        parsed = parse_filename(filename, project=project)
    except InvalidDistribution:
        return Target(kind="other")
    if parsed.project != project:
        return Target(kind="other")
    return Target(kind=kind, project=project, version=str(parsed.version), filename=filename)


def status(text: bytes) -> int:
    """Return the status of an answer; 0 for a text that is none, as in a damaged line."""
    return int(text) if _STATUS.fullmatch(text) else 0


def part(content_range: bytes) -> Part | None:
    """Return the part that an answer's Content-Range names; None for another text."""
    match = _RANGE.fullmatch(content_range)
    return Part(start=int(match[1]), total=int(match[3])) if match and int(match[3]) else None


def agent(text: bytes) -> str:
    """Return a logged User-Agent as the client sent it, or as it is logged if it can't be decoded."""
    decoded = text.decode("utf-8", "replace")
    try:
        sent = json.loads(f'"{decoded}"')
    except ValueError:
        return decoded
    return str(sent)
