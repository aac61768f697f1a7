"""Headers of a request that are removed or refused before anything reads them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from werkzeug.http import parse_date
from werkzeug.wrappers import Request

from ppmctl.access import secret_mask
from ppmctl.errors import Refused

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

IS_FORWARDED = "ppm.is_forwarded"  # whether the request has a header of a proxy
_OF_PROXIES = ("HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_VIA")
_DATES = ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_RANGE")
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?\])(:[0-9]{1,5})?", re.ASCII)
_ABSOLUTE = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)
# pypiserver and other libraries would build links from these, or route by them
_DROPPED = tuple(
    f"HTTP_{name}"
    for name in (
        *("FORWARDED", "X_FORWARDED_HOST", "X_FORWARDED_PORT", "X_FORWARDED_PREFIX", "X_FORWARDED_SERVER"),
        *("X_HOST", "X_HTTP_HOST_OVERRIDE", "X_HTTP_METHOD_OVERRIDE", "X_ORIGINAL_URI", "X_ORIGINAL_URL"),
        *("X_REWRITE_URL", "X_SCRIPT_NAME", "X_FORWARDED_PATH", "X_FORWARDED_URI", "X_ORIGINAL_HOST"),
    )
)


def drop(environ: WSGIEnvironment) -> None:
    """Remove headers with which a client could change links and redirects; of a proxy's only the scheme counts.

    Also remove dates with numbers that werkzeug can't read: a condition that is no date is ignored (RFC 9110).
    """
    environ[IS_FORWARDED] = any(name in environ for name in (*_DROPPED, *_OF_PROXIES))
    for name in _DROPPED:
        environ.pop(name, None)
    if environ.get("HTTP_X_FORWARDED_PROTO") not in ("http", "https"):
        environ.pop("HTTP_X_FORWARDED_PROTO", None)
    for name in _DATES:
        try:
            parse_date(environ.get(name))
        except OverflowError:
            del environ[name]
    if absolute := _ABSOLUTE.match(environ.get("RAW_URI", "")):
        environ["HTTP_HOST"] = absolute[1]  # RFC 9112, section 3.2.2


def check(request: Request) -> None:
    """Raise Refused for an invalid Host, and for a secret in a place that is logged or displayed."""
    host = request.environ.get("HTTP_HOST")
    if host is None and request.environ.get("SERVER_PROTOCOL") == "HTTP/1.1":
        raise Refused(400, "The header Host is missing")
    if host and not _HOST.fullmatch(host):
        raise Refused(400, "The header Host is not a host name, with or without a port")
    query, referrer = request.environ.get("QUERY_STRING", ""), request.headers.get("Referer", "")
    sent = query, _user_name(request), referrer, host or ""
    if any(map(secret_mask.has_secret, sent)) or secret_mask.has_whole_secret(request.path):
        raise Refused(401, "Send a secret only as the password. Replace a secret that was in a URL or a user name")


def _user_name(request: Request) -> str:
    try:
        return request.authorization.username or "" if request.authorization else ""
    except ValueError:  # not ASCII
        return ""
