"""Refuse a change that a web page of another origin asks for (cross-site request forgery).

A browser sends the credential that it remembers for an index with every request to it, also with one that a foreign
page makes. It names the page in `Sec-Fetch-Site` and `Origin`, which no page can change. Programs send neither.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from werkzeug.wrappers import Request

from ppmctl.distributions.distribution import one_line
from ppmctl.errors import Refused

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN = frozenset({"same-origin", "none"})  # none: an address that the user typed
HOST = "ppm.host"
_ORIGIN = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[^\s/?#@,:\[\]\\]+)(?::([0-9]{1,5}))?", re.ASCII)
_PORTS = {"http": 80, "https": 443}


def take_host(environ: WSGIEnvironment, *, behind_proxy: bool) -> None:
    """Store the host and port that the client asked for. `behind_proxy`: X-Forwarded-Host is the web server's.

    That header is removed: pypiserver would build links with a host that a client names.
    """
    forwarded = environ.pop("HTTP_X_FORWARDED_HOST", "")
    environ[HOST] = (behind_proxy and forwarded) or environ.get("HTTP_HOST", "")


def require(request: Request) -> None:
    """Raise Refused (403) for a request that may change something and that a foreign page sent."""
    if request.method not in _READS and (header := foreign_header(request)):
        raise Refused(403, f"A web page of another site can't change this index ({one_line(header)[:100]})")


def foreign_header(request: Request) -> str:
    """Return the header that names a page of another site as the cause of a request; "" without one."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None and site not in _OWN:
        return f"Sec-Fetch-Site: {site}"
    is_own = origin is None or ((own := _parsed(base(request))) is not None and _parsed(origin) == own)
    return "" if is_own else f"Origin: {origin}"


def base(request: Request) -> str:
    """Return the URL of the index, without a slash at its end, as the client asked for it.

    Behind a proxy that has put the index below a path, that path is missing: no header of it is trusted.
    """
    return f"{request.environ['wsgi.url_scheme']}://{request.environ[HOST]}"


def _parsed(origin: str) -> tuple[str, str, int] | None:
    """Return the scheme, host and port of an origin; None for "null", several origins, and any other text."""
    match = _ORIGIN.fullmatch(origin.lower())
    return (match[1], match[2], int(match[3] or _PORTS[match[1]])) if match else None
