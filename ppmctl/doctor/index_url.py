"""Whether the URL is the one of an index: redirects on the way to its list of projects, and slips in writing it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from ppmctl.client.http import Answer, origin
from ppmctl.client.index_url import Address
from ppmctl.client.simple_api import is_index
from ppmctl.doctor.finding import Finding, Visit
from ppmctl.errors import PpmError

_MOST_REDIRECTS = 10
_DENIED = (401, 403)
_BEHIND = (
    "On the index's machine: what ends TLS in front of it has to send X-Forwarded-Proto: https, and be one of"
    " ppm_trusted_proxies"
)


def check(visit: Visit) -> Iterator[Finding]:
    """Follow what the list of projects leads to, then see whether it is one."""
    hops = [visit.listed]
    while hops[-1].location and len(hops) <= _MOST_REDIRECTS:
        if hops[-1].location in [each.url for each in hops]:
            break
        hops.append(visit.ask("GET", hops[-1].location))
    last, simple = hops[-1], visit.address.simple
    if last.location:
        way = " → ".join([*(each.url for each in hops[:3]), last.location])
        mend = f"{_BEHIND}, and redirect nothing that came over https."
        yield Finding("url", "fail", f"it redirects for ever: {way}", mend)
    elif len(hops) > 1:
        yield _moved(visit, hops)
    elif last.status in _DENIED or is_index(last):
        yield Finding("url", "ok", f"there is an index at {simple}")
    elif last.status in (200, 404, 410):
        said = "a web page, not a list of projects" if last.status == 200 else f"nothing ({last.status})"
        yield Finding("url", "fail", f"there is {said} at {simple}", _elsewhere(visit))
    else:
        mend = "The index's own log says why; on a host: journalctl -u ppm.service -u nginx.service"
        yield Finding("url", "fail", f"{simple} answers {last.status}: {last.says}", mend)


def _moved(visit: Visit, hops: list[Answer]) -> Finding:
    start, last = visit.address.simple, hops[-1]
    where = last.url.removesuffix("/").removesuffix("/simple") + "/"
    mend = f"Use {where} in place of it: ppmctl login {where}, or export PPMCTL_INDEX={where}"
    here, there = urlsplit(start), urlsplit(last.url)
    if any(urlsplit(each.url).scheme == "http" for each in hops[1:]) and here.scheme == "https":
        said, mend = f"it redirects from https to plain HTTP: {last.url}", f"{_BEHIND}."
    elif here.hostname == there.hostname and (here.scheme, there.scheme) == ("http", "https"):
        said = f"it redirects to https: what is sent first is readable, and uploads do not follow ({last.url})"
    elif origin(start) != origin(last.url) and last.status in _DENIED:
        said = f"it redirects to {last.url}, which asks for a credential: clients show it to {here.netloc} alone"
    elif origin(start) != origin(last.url):
        said = f"it redirects to another server: {last.url}; pip and uv follow, ppmctl and uploads do not"
    elif last.status in _DENIED or is_index(last):
        return Finding("url", "warn", f"it redirects to {last.url}, once for each page", mend)
    else:
        said, mend = f"it redirects to {last.url}, where there is no list of projects", _elsewhere(visit)
    return Finding("url", "fail", said, mend)


def _elsewhere(visit: Visit) -> str:
    """Where the index is instead, if it is near: what was forgotten or added when the URL was written."""
    address = visit.address
    for base, simple in near(address):
        try:
            answer = visit.ask("GET", simple)
        except PpmError:
            continue
        if not is_index(answer):
            continue
        if simple == f"{base}/simple/":
            return f"The index is at {base}/ : ppmctl doctor {base}/"
        return (
            f"The list is at {simple} : pip takes that as its index URL, ppmctl and uploads need it at …/simple/ ;"
            " serve the folder that has it under the name simple."
        )
    return "Is the URL right? It is what pip has as its index URL, with or without /simple/: pip config list"


def near(address: Address) -> Iterator[tuple[str, str]]:
    """The URLs of indexes and of their lists that may have been meant, the likeliest first."""
    parts = urlsplit(address.base)
    root, names = f"{parts.scheme}://{parts.netloc}", [name for name in parts.path.split("/") if name]
    bases = ["/".join([root, *names[:end]]) for end in range(len(names), -1, -1)]
    yield from ((base, f"{base}/simple/") for base in bases[1:])
    yield from ((base, f"{base}/{way}/") for base in bases for way in ("+simple", "pypi/simple"))
    yield from ((base, f"{base}/") for base in bases[:1])
