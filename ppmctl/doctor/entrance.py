"""Whether the URL is the one of an index: redirects on the way to its list of projects, and slips in writing it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from ppmctl.address import Address
from ppmctl.doctor.finding import Finding, Visit
from ppmctl.errors import PpmError
from ppmctl.simple import is_index
from ppmctl.transport import Answer, origin

_MOST_REDIRECTS = 10
_DENIED = (401, 403)


def check(visit: Visit) -> Iterator[Finding]:
    """Follow what the list of projects leads to, then see whether it is one."""
    hops = [visit.listed]
    while hops[-1].location and len(hops) <= _MOST_REDIRECTS:
        if hops[-1].location in [each.url for each in hops]:
            break
        hops.append(visit.ask("GET", hops[-1].location))
    last = hops[-1]
    if last.location:
        way = " → ".join([*(each.url for each in hops[:3]), last.location])
        yield Finding(
            "url",
            "fail",
            f"it redirects for ever: {way}",
            "On the index's machine: what ends TLS in front of it has to send X-Forwarded-Proto: https, be one of"
            " ppm_trusted_proxies, and redirect nothing that came over https.",
        )
    elif len(hops) > 1:
        yield _moved(visit, hops)
    elif last.status in _DENIED or is_index(last):
        yield Finding("url", "ok", f"there is an index at {visit.address.simple}")
    elif last.status == 200 or last.status in (404, 410):
        said = "a web page, not a list of projects" if last.status == 200 else f"nothing ({last.status})"
        yield Finding("url", "fail", f"there is {said} at {visit.address.simple}", _elsewhere(visit))
    else:
        yield Finding(
            "url",
            "fail",
            f"{visit.address.simple} answers {last.status}: {last.says}",
            "The index's own log says why; on a host: journalctl -u ppm.service -u nginx.service",
        )


def _moved(visit: Visit, hops: list[Answer]) -> Finding:
    start, last = visit.address.simple, hops[-1]
    where = last.url.removesuffix("/").removesuffix("/simple") + "/"
    use = f"Use {where} in place of it: ppmctl login {where}, or export PPMCTL_INDEX={where}"
    here, there = urlsplit(start), urlsplit(last.url)
    if any(urlsplit(each.url).scheme == "http" for each in hops[1:]) and here.scheme == "https":
        return Finding(
            "url",
            "fail",
            f"it redirects from https to plain HTTP: {last.url}",
            "On the index's machine: what ends TLS in front of it has to send X-Forwarded-Proto: https, and be one of"
            " ppm_trusted_proxies.",
        )
    if here.hostname == there.hostname and (here.scheme, there.scheme) == ("http", "https"):
        return Finding(
            "url",
            "fail",
            f"it redirects to https: what is sent first is readable, and uploads do not follow ({last.url})",
            use,
        )
    if origin(start) != origin(last.url):
        if last.status in _DENIED:
            return Finding(
                "url",
                "fail",
                f"it redirects to {last.url}, which asks for a credential: clients show it to {here.netloc} alone",
                use,
            )
        followed = "pip and uv follow, ppmctl and uploads do not"
        return Finding("url", "fail", f"it redirects to another server: {last.url}; {followed}", use)
    if last.status in _DENIED or is_index(last):
        return Finding("url", "warn", f"it redirects to {last.url}, once for each page", use)
    return Finding(
        "url", "fail", f"it redirects to {last.url}, where there is no list of projects", _elsewhere(visit)
    )


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
