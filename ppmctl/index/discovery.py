"""The discovery document of an index, `/.well-known/ppm.json`, which is readable without a credential.

It has what clients are configured by, and nothing that tells one index from another: no version, no names, no users.
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
    """What an index does with names that it does not have (`upstream`), and with a request without a credential."""

    upstream: Upstream
    read_access: ReadAccess


def document(*, upstream: str, read_access: str) -> bytes:
    """Return the document of an index with these settings: one line of JSON. nginx's template has the same words."""
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
    """Return what a document says; None if it is not one, or has a format that only newer clients know."""
    try:
        values = json.loads(body)
        form, upstream, read = values["ppm"], values["upstream"], values["read"]
    except NOT_SUCH_JSON:
        return None
    if type(form) is not int or form != _FORMAT:
        return None
    if upstream not in get_args(Upstream) or read not in get_args(ReadAccess):
        return None
    return Offer(upstream=upstream, read_access=read)
