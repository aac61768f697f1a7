"""Check what nginx on the index's host does before a request: port 80, TLS versions, names of other hosts."""

from __future__ import annotations

import contextlib
import ssl
import warnings
from collections.abc import Iterator
from urllib.parse import urlsplit

from ppmctl.client.http import Answer
from ppmctl.doctor import x509
from ppmctl.doctor.expected import SITE
from ppmctl.doctor.finding import Context, Finding
from ppmctl.doctor.network import handshake, listening, trust_any
from ppmctl.doctor.promises import answered
from ppmctl.doctor.tls import sent_chain
from ppmctl.errors import PpmError

OTHER_HOST = "stranger.invalid"  # a name that no host has (RFC 6761)
_DEFAULT_SERVER = f"{SITE} If another site of this host answers: it must not be nginx's default_server."
_CHALLENGE = "/.well-known/acme-challenge/ppm-self-check"
_OUR_FAULTS = ("NO_PROTOCOLS_AVAILABLE", "NO_CIPHERS_AVAILABLE", "NO_CIPHER_MATCH")


def port_80(context: Context) -> Iterator[Finding]:
    """Check that it redirects to https, refuses what may contain a secret, and answers an authority's challenges."""
    host = context.address.host
    if not context.promised.has_own_tls or urlsplit(context.address.base).port:
        return
    reached = listening(context, 80, check="port 80")
    yield reached
    if reached.state == "fail":
        return
    redirect = Finding("redirect", "ok", f"http://{host}/ redirects everything to https")
    for path in ("/", "/simple/", "/healthz"):
        answer = _without_tls(context, "GET", path)
        if answer.status not in (301, 308) or answer.location != f"https://{host}{path}":
            message = f"http://{host}{path} is answered {answer.status} {answer.location}, not 301 to https"
            redirect = Finding("redirect", "fail", message, SITE)
            break
    yield redirect
    asked = [("403/405 for an upload without TLS", _without_tls(context, "POST", "/"))]
    yield answered("plain", asked, "an upload without TLS is refused: its secret could be read")
    if context.promised.tls == "letsencrypt":
        asked = [(f"404 for {_CHALLENGE}, or renewals will fail", _without_tls(context, "GET", _CHALLENGE))]
        yield answered("challenges", asked, "nginx itself answers an authority's challenges on port 80")


def other_hosts(context: Context) -> Iterator[Finding]:
    """Check that a request for another host gets no answer and no certificate."""
    is_encrypted, has_own_tls = context.address.is_encrypted, context.promised.has_own_tls
    faults = []
    if not is_encrypted or (has_own_tls and not urlsplit(context.address.base).port):
        with contextlib.suppress(PpmError):  # no answer, as it should be
            status = _without_tls(context, "GET", "/healthz", host=OTHER_HOST).status
            faults.append(f"http://{OTHER_HOST}/ is answered {status}")
    for name in (OTHER_HOST, "") if is_encrypted and has_own_tls else ():
        refused = contextlib.suppress(ssl.SSLError, ConnectionResetError)
        with refused, handshake(context, trust_any(), name=name) as line:
            certificate = x509.parse(line.getpeercert(binary_form=True) or b"")
            faults.append(f"for {name or 'no name'} it sends a certificate of {', '.join(certificate.hosts)}")
    ok = Finding("strangers", "ok", "a request for another host gets no answer")
    yield Finding("strangers", "fail", "; ".join(faults), _DEFAULT_SERVER) if faults else ok


def handshakes(context: Context) -> Iterator[Finding]:
    """Check that the host's own certificate is sent, only TLS 1.2 and 1.3 work, and HTTP/2 does."""
    if not context.address.is_encrypted:
        return
    if context.promised.has_own_tls:
        yield _own_certificate(context, context.promised.certificate)
    versions = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    works = {version: _works(context, version) for version in versions}
    old = [version.name for version in versions[:2] if works[version]]
    if not (works[versions[2]] or works[versions[3]]):
        yield Finding("versions", "fail", "neither TLS 1.2 nor TLS 1.3 works", SITE)
    elif old:
        yield Finding("versions", "fail", f"old versions still work: {', '.join(old)}", SITE)
    else:
        untried = "; older ones can't be tried from here" if None in works.values() else ", and no older one"
        yield Finding("versions", "ok", f"TLS 1.2 or 1.3{untried}")
    tls = trust_any()
    tls.set_alpn_protocols(["h2", "http/1.1"])
    with handshake(context, tls) as line:
        protocol = line.selected_alpn_protocol()
    missing = Finding("http2", "fail", f"HTTP/2 does not work, only {protocol or 'HTTP/1.1'}", SITE)
    yield Finding("http2", "ok", "HTTP/2 works") if protocol == "h2" else missing


def _own_certificate(context: Context, pem: str) -> Finding:
    """Compare the certificate that is sent with the host's file: nginx may still have an older one."""
    try:
        own = x509.read_first(pem)
    except ValueError:
        return Finding("nginx", "skip", "not tried: the host's certificate is not known")
    if sent_chain(context)[0].der == own.der:
        return Finding("nginx", "ok", "it sends the host's own certificate")
    hint = "On the host: nginx -t && systemctl reload nginx. If that does not help, the name is another machine's."
    return Finding("nginx", "fail", "it sends another certificate than the host has (/etc/ppm/tls)", hint)


def _without_tls(context: Context, method: str, path: str, *, host: str = "") -> Answer:
    """Send a request to port 80, without a credential; `host` is another host to ask for."""
    base = context.address.base.replace("https://", "http://", 1)
    return context.request(method, f"{base}{path}", None, headers={"Host": host} if host else {})


def _works(context: Context, version: ssl.TLSVersion) -> bool | None:
    """Return whether the server speaks this version; None if this machine's OpenSSL does not."""
    tls = trust_any()
    try:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # old versions are
            tls.minimum_version = tls.maximum_version = version
        if version < ssl.TLSVersion.TLSv1_2:
            tls.set_ciphers("ALL:@SECLEVEL=0")
        with handshake(context, tls) as line:
            return line.version() is not None
    except ssl.SSLError as exc:
        return None if exc.reason in _OUR_FAULTS else False
    except ConnectionResetError:
        return False
