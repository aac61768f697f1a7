"""What a host's nginx does before it answers a request: port 80, versions of TLS, names of other hosts."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Iterator
from urllib.parse import urlsplit

from ppmctl.client.http import Answer
from ppmctl.doctor import x509
from ppmctl.doctor.expected import SITE
from ppmctl.doctor.finding import Finding, Visit
from ppmctl.doctor.network import anybody, listening, shaken
from ppmctl.doctor.promises import answered
from ppmctl.doctor.tls import sent_chain
from ppmctl.errors import PpmError

STRANGER = "stranger.invalid"  # a name that no host has (RFC 6761)
_STRANGERS = f"{SITE} If it is another site of this host that answers: it must not be nginx's default_server."
_CHALLENGE = "/.well-known/acme-challenge/ppm-self-check"
_OWN_FAULTS = ("NO_PROTOCOLS_AVAILABLE", "NO_CIPHERS_AVAILABLE", "NO_CIPHER_MATCH")


def port_80(visit: Visit) -> Iterator[Finding]:
    """It sends every request to https, refuses what would carry a secret, and answers an authority's challenges."""
    expected, host = visit.promised, visit.address.host
    if not expected.has_own_tls or urlsplit(visit.address.base).port:
        return
    reached = listening(visit, 80, check="port 80")
    yield reached
    if reached.state == "fail":
        return
    said = ""
    for path in ("/", "/simple/", "/healthz"):
        answer = _plainly(visit, "GET", path)
        if answer.status not in (301, 308) or answer.location != f"https://{host}{path}":
            said = said or f"http://{host}{path} is answered {answer.status} {answer.location}, not 301 to https"
    ok = f"http://{host}/ sends everything to https, and serves nothing else"
    yield Finding("redirect", "fail", said, SITE) if said else Finding("redirect", "ok", ok)
    asked = [("403/405 for an upload without TLS", _plainly(visit, "POST", "/"))]
    yield answered("plain", asked, "an upload without TLS is refused, since a secret could go over it")
    if expected.tls == "letsencrypt":
        asked = [(f"404 for {_CHALLENGE}, or renewals will fail", _plainly(visit, "GET", _CHALLENGE))]
        yield answered("challenges", asked, "nginx answers an authority's challenges itself, on port 80")


def strangers(visit: Visit) -> Iterator[Finding]:
    """Whoever asks for another host gets no answer and no certificate."""
    expected = visit.promised
    shown = []
    if not visit.address.is_encrypted or (expected.has_own_tls and not urlsplit(visit.address.base).port):
        try:
            status = _plainly(visit, "GET", "/healthz", host=STRANGER).status
            shown.append(f"http://{STRANGER}/ is answered {status}")
        except PpmError:  # no answer, as it should be
            pass
    for asked in (STRANGER, "") if visit.address.is_encrypted and expected.has_own_tls else ():
        try:
            with shaken(visit, anybody(), name=asked) as line:
                got = x509.parse(line.getpeercert(binary_form=True) or b"")
            shown.append(f"asked for {asked or 'no name'}, it shows a certificate of {', '.join(got.hosts)}")
        except (ssl.SSLError, ConnectionResetError):
            continue
    ok = Finding("strangers", "ok", "whoever asks for another host gets no answer")
    yield Finding("strangers", "fail", "; ".join(shown), _STRANGERS) if shown else ok


def handshakes(visit: Visit) -> Iterator[Finding]:
    """The host's own certificate is served; TLS 1.2 or 1.3, and none before; HTTP/2."""
    expected = visit.promised
    if not visit.address.is_encrypted:
        return
    if expected.has_own_tls:
        yield _own_certificate(visit, expected.certificate)
    versions = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    spoken = {version: _speaks(visit, version) for version in versions}
    wrong = [version.name for version in versions[:2] if spoken[version]]
    if not (spoken[versions[2]] or spoken[versions[3]]):
        yield Finding("versions", "fail", "neither TLS 1.2 nor TLS 1.3 is spoken", SITE)
    elif wrong:
        yield Finding("versions", "fail", f"still spoken: {', '.join(wrong)}", SITE)
    else:
        untried = "; older ones can't be tried from here" if None in spoken.values() else ", and none before"
        yield Finding("versions", "ok", f"TLS 1.2 or 1.3{untried}")
    context = anybody()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with shaken(visit, context) as line:
        chosen = line.selected_alpn_protocol()
    not_spoken = Finding("http2", "fail", f"HTTP/2 is not spoken, but {chosen or 'HTTP/1.1'}", SITE)
    yield Finding("http2", "ok", "HTTP/2 is spoken") if chosen == "h2" else not_spoken


def _own_certificate(visit: Visit, pem: str) -> Finding:
    """A renewed certificate does not help until nginx was told; and a name may lead to another host."""
    try:
        own = x509.read_first(pem)
    except ValueError:
        return Finding("nginx", "skip", "which certificate the host has is not known")
    if sent_chain(visit)[0].der == own.der:
        return Finding("nginx", "ok", "it serves the host's own certificate")
    mend = (
        "On the host: nginx -t && systemctl reload nginx. If that does not help, the name leads to another machine."
    )
    return Finding("nginx", "fail", "it serves another certificate than the host has (/etc/ppm/tls)", mend)


def _plainly(visit: Visit, method: str, path: str, *, host: str = "") -> Answer:
    """Return what is answered on the plain port to nobody; `host` is another one to ask for."""
    where = visit.address.base.replace("https://", "http://", 1)
    return visit.request(method, f"{where}{path}", None, headers={"Host": host} if host else {})


def _speaks(visit: Visit, version: ssl.TLSVersion) -> bool | None:
    """Return whether the server speaks this version; None if this machine's OpenSSL does not."""
    context = anybody()
    try:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # it is old ones that are tried
            context.minimum_version = context.maximum_version = version
        if version < ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("ALL:@SECLEVEL=0")
        with shaken(visit, context) as line:
            return line.version() is not None
    except ssl.SSLError as exc:
        return None if exc.reason in _OWN_FAULTS else False
    except ConnectionResetError:
        return False
