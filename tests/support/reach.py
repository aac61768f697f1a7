"""A `requests` session that reaches a host by name (URL, SNI and Host header) without DNS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter


class _At(HTTPAdapter):
    """Connects to a fixed address for any name in the URL; the certificate must be for the name."""

    def __init__(self, address: Callable[[], str], **options: Any) -> None:
        self._address = address
        super().__init__(**options)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: bool | str, cert: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] == "https":
            pool |= {"server_hostname": host["host"], "assert_hostname": host["host"]}
        return {**host, "host": self._address()}, pool

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        request.headers.setdefault("Host", urlsplit(request.url or "").netloc)
        return super().send(request, *args, **options)


def session(domain: str, address: Callable[[], str] | str, ca: Path | None = None) -> requests.Session:
    """Return a session that sends `https://domain/…` and `http://domain/…`, on any port, to an IP address.

    `ca` is the PEM file of the root that the domain's certificate must chain to. A callable `address` is called at
    every request, as a restarted host may have another. Other names are resolved as usual; this machine's proxies,
    .netrc and CAs are not used.
    """
    made = requests.Session()
    made.trust_env = False
    made.verify = str(ca) if ca else True
    where = address if callable(address) else lambda: address
    for scheme in ("https", "http"):
        for end in ("/", ":"):
            made.mount(f"{scheme}://{domain}{end}", _At(where, pool_maxsize=64))
    return made
