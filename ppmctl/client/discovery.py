"""Ask an index for its discovery document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppmctl.client.http import Transport
from ppmctl.errors import CredentialError
from ppmctl.index.discovery import PATH, Offer, parse

if TYPE_CHECKING:
    from ppmctl.client.index_url import Address


def discover(address: Address, transport: Transport) -> Offer | None:
    """Return what the index offers, or None if it has no discovery document, so that ppm does not serve it.

    The request needs no credential: pass a transport without one. A busy index raises Unavailable.
    """
    try:
        answer = transport.ask("GET", f"{address.base}{PATH}", headers={"Accept": "application/json"})
    except CredentialError:
        return None
    return parse(answer.body) if answer.status == 200 else None
