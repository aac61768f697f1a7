"""A whole look: what is tried in which order, and what can't be tried where something else is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from self_check import access, installing, probe, publishing, reach, tls
from self_check.certificate import Certificate
from self_check.client import PORTS, Index, NoAnswer, Trust
from self_check.findings import Finding, State, Verdict, untried, wrong
from self_check.look import SITE, Check, Look
from self_check.pages import Unreadable
from self_check.settings import Credential, Settings

Checks = tuple[tuple[str, Check], ...]

ANYBODY: Checks = (
    ("health", access.healthy),
    ("headers", access.headers),
    ("reading, no credential", access.reading),
    ("reading, wrong secret", access.wrong_reading),
    ("upload, no credential", access.anonymous_upload),
    ("upload, wrong secret", access.wrong_upload),
)
LENT: Checks = (
    ("reading, as a reader", access.readers_page),
    ("upload, as a reader", access.readers_upload),
    ("a name that is not here", access.elsewhere),
    ("private names", access.private),
    ("upload, as a publisher", publishing.accepted),
)
PROBE: Checks = (
    ("upload, same name again", publishing.immutable),
    ("its page in JSON", publishing.json_page),
    ("its page in HTML", publishing.html_page),
    ("list of projects", publishing.listed),
    ("its metadata", publishing.metadata),
    ("its file", publishing.file),
    ("a part of its file", publishing.part_of_file),
    ("its file, no credential", publishing.closed_file),
    ("side files", publishing.side_files),
    ("pip install", installing.installed),
)
GONE: Checks = (("the probe removed", publishing.gone),)


def arrive(
    settings: Settings, credentials: Mapping[str, Credential], stored: dict[str, bool]
) -> tuple[list[Finding], Look | None]:
    """Try all that can be tried, and publish the probe; with what to look on with, if there is a server.

    `stored` is filled as in `Look`, so that the caller knows it also where this is interrupted.
    """
    findings, index, accepts = _reach(settings)
    if index is None:
        why = "no server was reached that is known to be this index"
        return findings + _untried(why, ANYBODY, LENT, PROBE), None
    look = Look(
        settings=settings,
        index=index,
        probe=probe.make(settings.version),
        credentials=credentials,
        pip_may=accepts,
        stored=stored,
    )
    findings += _tried(look, ANYBODY)
    if not credentials:
        return findings + _untried("there are no credentials to try it with", LENT, PROBE), look
    findings += _tried(look, LENT)
    if stored.get(settings.version) is not True:
        return findings + _untried("the probe is not in the index", PROBE), look
    return findings + _tried(look, PROBE), look


def leave(look: Look, *, was_published: bool, revoked: Credential | None) -> list[Finding]:
    """What is to be seen when the probe was removed and a credential taken away."""
    findings = _tried(look, GONE) if was_published else []
    if revoked:
        findings.append(attempt("credential taken away", lambda: publishing.revoked(look, revoked)))
    return findings


def attempt(what: str, check: Callable[[], Verdict]) -> Finding:
    """Run a check; that nothing came, or nothing that makes sense, is a verdict as well."""
    try:
        verdict = check()
    except NoAnswer as exc:
        verdict = wrong(str(exc), "On the host: systemctl status nginx ppm.service; tail /var/log/nginx/error.log.")
    except Unreadable as exc:
        verdict = wrong(str(exc), SITE)
    return Finding(what=what, verdict=verdict)


def _reach(settings: Settings) -> tuple[list[Finding], Index | None, bool]:
    """Whether there is the right server; the index to go on with, and whether clients accept it."""
    addresses, verdict = reach.addresses(settings)
    findings = [Finding(what="address", verdict=verdict)]
    if not addresses:
        return findings, None, False
    if settings.has_own_tls:
        findings += _port_80(settings, addresses)
    address, verdict = reach.port(addresses, settings.scheme)
    findings.append(Finding(what=f"port {PORTS[settings.scheme]}", verdict=verdict))
    if not address:
        return findings, None, False
    index = Index(domain=settings.domain, address=address, scheme=settings.scheme)
    if settings.scheme == "https":
        found, trust, accepts = _tls(settings, index)
        if trust is None:
            return findings + found, None, False
        findings += found
        index = replace(index, trust=trust)
    else:
        accepts = True
    if settings.has_own_tls or settings.scheme == "http":
        findings.append(attempt("another host", lambda: reach.stranger(index, settings.scheme)))
    return findings, index, accepts


def _port_80(settings: Settings, addresses: list[str]) -> list[Finding]:
    address, verdict = reach.port(addresses, "http")
    findings = [Finding(what="port 80", verdict=verdict)]
    if address:
        index = Index(domain=settings.domain, address=address, scheme="http")
        findings.append(attempt("port 80, redirect", lambda: reach.plain_http(index)))
        if settings.tls == "letsencrypt":
            findings.append(attempt("port 80, challenges", lambda: reach.challenges(index)))
        findings.append(attempt("port 80, another host", lambda: reach.stranger(index, "http")))
    return findings


def _tls(settings: Settings, index: Index) -> tuple[list[Finding], Trust | None, bool]:
    try:
        found = tls.served(index)
    except (NoAnswer, ValueError) as exc:
        said = Finding(what="TLS", verdict=wrong(f"there is none: {exc}", f"On the host: nginx -t; ss -ltnp. {SITE}"))
        return [said], None, False
    identity = [
        attempt("certificate, trust", lambda: _chain(settings, index, found)),
        attempt("certificate, name", lambda: tls.name(index, settings, found)),
        Finding(what="certificate, time", verdict=tls.lifetime(settings, found)),
    ]
    passes = all(finding.verdict.state in (State.OK, State.WARNING) for finding in identity)
    findings = list(identity)
    if (
        passes
        and (refused := attempt("certificate", lambda: tls.whole(index, settings))).verdict.state is not State.OK
    ):
        findings.append(refused)
        passes = False
    if settings.has_own_tls:
        verdict = tls.same_as_on_host(settings, found)
        findings.append(Finding(what="certificate, nginx", verdict=verdict))
    findings += [
        attempt("TLS versions", lambda: tls.protocols(index)),
        attempt("HTTP/2", lambda: tls.http2(index)),
    ]
    if settings.has_own_tls:
        findings.append(attempt("TLS, another host", lambda: tls.stranger(index)))
    return findings, tls.find_trust(settings, found, passes=passes), passes


def _chain(settings: Settings, index: Index, found: Certificate) -> Verdict:
    try:
        return tls.chain(index, settings, found)
    except tls.NoAuthorities as exc:
        return wrong(str(exc), "Put right ppm_ca_certificates, or -e self_check_ca_certificates=FILE.")


def _tried(look: Look, checks: Checks) -> list[Finding]:
    return [attempt(what, partial(check, look)) for what, check in checks]


def _untried(why: str, *groups: Iterable[tuple[str, Check]]) -> list[Finding]:
    return [Finding(what=what, verdict=untried(why)) for checks in groups for what, _ in checks]
