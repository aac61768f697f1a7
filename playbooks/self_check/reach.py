"""Whether the index's name leads to a server, and what that says on port 80."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from self_check.client import PORTS, TIMEOUT, Index, NoAnswer, explained
from self_check.findings import Verdict, good, untried, wrong
from self_check.look import SITE, STRANGERS
from self_check.settings import PROJECT, Settings

STRANGER = "stranger.invalid"  # a name that no host has (RFC 6761)
CHALLENGE = "/.well-known/acme-challenge/ppm-self-check"
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL)


def addresses(settings: Settings) -> tuple[list[str], Verdict]:
    """The addresses of the index."""
    if settings.address:
        return [settings.address], untried(f"self_check_address says {settings.address}; the DNS was not asked")
    try:
        answers = socket.getaddrinfo(settings.domain, None, type=socket.SOCK_STREAM)
    except OSError as exc:
        return [], wrong(
            f"{settings.domain} has no address ({exc.strerror or exc})",
            "Make an A or AAAA record that leads to the host, or put right ppm_domain. To look past the DNS:"
            " -e self_check_address=ADDRESS",
        )
    found = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
    return found, good(f"{settings.domain} leads to {', '.join(found)}")


def port(candidates: Iterable[str], scheme: str) -> tuple[str, Verdict]:
    """The first of the addresses whose port for `scheme` can be reached, "" for none; each of them should be."""
    number = PORTS[scheme]
    reached, unrouted, faults = [], [], []
    for address in candidates:
        try:
            socket.create_connection((address, number), timeout=TIMEOUT).close()
            reached.append(address)
        except OSError as exc:
            if ":" in address and exc.errno in _NO_ROUTE:
                unrouted.append(address)
            else:
                faults.append(f"{address}: {explained(exc)}")
    remedy = (
        f"On the host: systemctl status nginx, ss -ltnp; then see what is between here and port {number} of it:"
        " firewalls, a router's port forwarding, and DNS records of addresses that it no longer has."
    )
    if unrouted and not reached and not faults:
        return "", wrong(f"this machine has no route to {', '.join(unrouted)}", "Look from a machine with IPv6.")
    aside = f"; not tried from here, which has no IPv6: {', '.join(unrouted)}" if unrouted else ""
    if faults or not reached:
        return next(iter(reached), ""), wrong(f"{'; '.join(faults)}{aside}", remedy)
    return reached[0], good(f"{', '.join(reached)} answers{'' if len(reached) == 1 else ' each'}{aside}")


def plain_http(index: Index) -> Verdict:
    """Port 80 sends every request to https, refuses what would carry a secret, and serves nothing else."""
    for path in ("/", f"/simple/{PROJECT}/", "/healthz"):
        answer = index.ask("GET", path, scheme="http")
        target = f"https://{index.domain}{path}"
        if answer.status not in (301, 308) or answer.header("Location") != target:
            to = f" to {answer.header('Location')}" if answer.is_redirect else ""
            return wrong(f"http://{index.domain}{path} is answered {answer}{to} instead of 301 to {target}", SITE)
    answer = index.ask("POST", "/", scheme="http", body=b"")
    if answer.status not in (403, 405):
        return wrong(f"an upload without TLS is answered {answer} instead of 403: a secret could go over it", SITE)
    return good(f"sends everything to https://{index.domain}/, and serves nothing else")


def challenges(index: Index) -> Verdict:
    """The authority's challenges are answered on port 80 itself: behind the redirect they would need a credential."""
    answer = index.ask("GET", CHALLENGE, scheme="http")
    if answer.status == 404:
        return good("nginx answers for them itself on port 80")
    return wrong(f"http://{index.domain}{CHALLENGE} is answered {answer} instead of 404: renewals will fail", SITE)


def stranger(index: Index, scheme: str) -> Verdict:
    """Whoever asks for another host gets no answer."""
    try:
        answer = index.ask("GET", "/healthz", scheme=scheme, host=STRANGER)
    except NoAnswer as exc:
        if exc.closed:
            return good("gets no answer")
        raise
    return wrong(
        f"asked for as {STRANGER}, {scheme}://{index.address}/ answers {answer}",
        f"{SITE} {STRANGERS}",
    )
