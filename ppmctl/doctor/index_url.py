"""Check whether the URL is that of an index: redirects, and mistakes in typing it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from ppmctl.client.http import Answer, origin
from ppmctl.client.index_url import Address, base_url
from ppmctl.client.simple_api import is_index
from ppmctl.doctor.finding import Context, Finding
from ppmctl.errors import PpmError, UsageError
from ppmctl.secret import masked

_MOST_REDIRECTS = 10
_DENIED = (401, 403)
_PROXY = (
    "On the index's machine: the proxy that ends TLS must send X-Forwarded-Proto: https, and be one of"
    " ppm_trusted_proxies"
)


def without_userinfo(url: str) -> str:
    """Return a URL without what is before its @."""
    return re.sub(r"(?<=://)[^/\s]*@", "", url)


def is_same_index(url: str, address: Address) -> bool:
    """Return whether a client's URL is that of the index at `address`."""
    try:
        return base_url(without_userinfo(url), where="") == address.base
    except UsageError:
        return False


def check_url(context: Context) -> Iterator[Finding]:
    """Follow the redirects of the list of projects, and check that it is one."""
    hops = [context.listed]
    while hops[-1].location and len(hops) <= _MOST_REDIRECTS:
        if hops[-1].location in [each.url for each in hops]:
            break
        hops.append(context.ask("GET", hops[-1].location))
    last, simple = hops[-1], context.address.simple
    if last.location:
        way = masked(" → ".join([*(each.url for each in hops[:3]), last.location]))
        hint = f"{_PROXY}, and must not redirect requests that came over https."
        yield Finding("url", "fail", f"it redirects in a loop: {way}", hint)
    elif len(hops) > 1:
        yield _redirect(context, hops)
    elif last.status in _DENIED or is_index(last):
        yield Finding("url", "ok", f"there is an index at {simple}")
    elif last.status in (200, 404, 410):
        page = "a web page, not a list of projects" if last.status == 200 else f"nothing ({last.status})"
        yield Finding("url", "fail", f"there is {page} at {simple}", _search(context))
    else:
        hint = "The index's own log shows why; on a host: journalctl -u ppm.service -u nginx.service"
        yield Finding("url", "fail", f"{simple} answers {last.status}: {last.says}", hint)


def _redirect(context: Context, hops: list[Answer]) -> Finding:
    start, last = context.address.simple, hops[-1]
    base = last.url.removesuffix("/").removesuffix("/simple") + "/"
    hint = f"Use {base} instead: ppmctl login {base}, or export PPMCTL_INDEX={base}"
    old, new = urlsplit(start), urlsplit(last.url)
    if any(urlsplit(each.url).scheme == "http" for each in hops[1:]) and old.scheme == "https":
        message, hint = f"it redirects from https to plain HTTP: {last.url}", f"{_PROXY}."
    elif old.hostname == new.hostname and (old.scheme, new.scheme) == ("http", "https"):
        message = f"it redirects to https: the first request can be read, and uploads do not follow ({last.url})"
    elif origin(start) != origin(last.url) and last.status in _DENIED:
        message = f"it redirects to {last.url}, which asks for a credential: clients send it only to {old.netloc}"
    elif origin(start) != origin(last.url):
        message = f"it redirects to another server: {last.url}; pip and uv follow, ppmctl and uploads do not"
    elif last.status in _DENIED or is_index(last):
        return Finding("url", "warn", masked(f"it redirects to {last.url}, once for each page"), hint)
    else:
        message, hint = f"it redirects to {last.url}, where there is no list of projects", _search(context)
    return Finding("url", "fail", masked(message), hint)


def _search(context: Context) -> str:
    """Return where the index is, if it is at a similar URL."""
    for base, simple in similar(context.address):
        try:
            answer = context.ask("GET", simple)
        except PpmError:
            continue
        if is_index(answer) and simple == f"{base}/simple/":
            return f"The index is at {base}/ : ppmctl doctor {base}/"
        if is_index(answer):
            return (
                f"The list is at {simple} : pip takes that as its index URL, but ppmctl and uploads need it at"
                " …/simple/ ; serve the folder that has it under the name simple."
            )
    return "Is the URL right? It is the index URL of pip, with or without /simple/: pip config list"


def similar(address: Address) -> Iterator[tuple[str, str]]:
    """Yield similar base URLs and those of their lists, the most probable first."""
    parts = urlsplit(address.base)
    root, names = f"{parts.scheme}://{parts.netloc}", [name for name in parts.path.split("/") if name]
    bases = ["/".join([root, *names[:end]]) for end in range(len(names), -1, -1)]
    yield from ((base, f"{base}/simple/") for base in bases[1:])
    yield from ((base, f"{base}/{path}/") for base in bases for path in ("+simple", "pypi/simple"))
    yield from ((base, f"{base}/") for base in bases[:1])
