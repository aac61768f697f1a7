"""`/.well-known/ppm.json`: what an index says of itself to who has no credential yet; written and read.

It has what clients are configured by, and nothing that tells one index from another: no version, no names, no users.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from ppmctl.client.http import Transport
from ppmctl.client.simple_api import NOT_SUCH_JSON
from ppmctl.errors import CredentialError

if TYPE_CHECKING:
    from ppmctl.client.index_url import Address
    from ppmctl.server.settings import ServerSettings

PATH = "/.well-known/ppm.json"

Upstream = Literal["redirect", "none"]
ReadAccess = Literal["authenticated", "public"]

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What an index of ppm does: with names that are not in it (`upstream`), and with who has no credential."""

    upstream: Upstream
    read_access: ReadAccess


def document(settings: ServerSettings) -> bytes:
    """The document of an index with these settings: one line of JSON. nginx's template words it in the same way."""
    said = {
        "ppm": _FORMAT,
        "simple": "/simple/",
        "upload": "/legacy/",
        "env": "/env/",
        "upstream": settings.upstream,
        "read": settings.read_access,
    }
    return json.dumps(said).encode() + b"\n"


def parse(body: bytes) -> Offer | None:
    """What a document says; None where it is none, or one that a newer ppm wrote for newer clients."""
    try:
        said = json.loads(body)
        form, upstream, read = said["ppm"], said["upstream"], said["read"]
    except NOT_SUCH_JSON:
        return None
    if type(form) is not int or form != _FORMAT:
        return None
    if upstream not in get_args(Upstream) or read not in get_args(ReadAccess):
        return None
    return Offer(upstream=upstream, read_access=read)


def discover(address: Address, transport: Transport) -> Offer | None:
    """What the index at `address` offers; None where it says nothing of it, and so is no index of ppm's.

    The question needs no credential: hand in a transport without one. Unreachable and PpmError as in
    `Transport.request`; Unavailable where the index may say it in a moment: that must not pass for "nothing".
    """
    try:
        answer = transport.ask("GET", f"{address.base}{PATH}", headers={"Accept": "application/json"})
    except CredentialError:
        return None
    return parse(answer.body) if answer.status == 200 else None
