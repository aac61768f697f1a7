"""The discovery document of an index, `/.well-known/ppm.json`, readable without a credential.

It holds what configures a client, and nothing that identifies an index: no version, no names, no users.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal, get_args

from ppmctl.errors import NOT_SUCH_JSON

PATH = "/.well-known/ppm.json"

Upstream = Literal["redirect", "none"]
ReadAccess = Literal["authenticated", "public"]

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Offer:
    """How an index answers a name that it does not have (`upstream`), and a request without a credential."""

    upstream: Upstream
    read_access: ReadAccess


def document(*, upstream: str, read_access: str) -> bytes:
    """Return the document of an index with these settings: one line of JSON, as nginx's template has it."""
    values = {
        "ppm": _FORMAT,
        "simple": "/simple/",
        "upload": "/legacy/",
        "env": "/env/",
        "upstream": upstream,
        "read": read_access,
    }
    return json.dumps(values).encode() + b"\n"


def parse(body: bytes) -> Offer | None:
    """Return the content of a document; None if it is invalid, or in a format that only newer clients know."""
    try:
        values = json.loads(body)
        number, upstream, read = values["ppm"], values["upstream"], values["read"]
    except NOT_SUCH_JSON:
        return None
    is_known = type(number) is int and number == _FORMAT
    if is_known and upstream in get_args(Upstream) and read in get_args(ReadAccess):
        return Offer(upstream=upstream, read_access=read)
    return None
