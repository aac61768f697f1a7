"""Check whether the index's certificate is trusted on this machine, and until when; if not, what is wrong with it."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ppmctl import regular_file
from ppmctl.client.connection_errors import causes
from ppmctl.client.http import authorities
from ppmctl.doctor import x509
from ppmctl.doctor.finding import Context, Finding, State
from ppmctl.doctor.network import handshake, trust_any
from ppmctl.doctor.x509 import Certificate
from ppmctl.errors import PpmError

SITE_FILE = Path("/etc/ppm/tls/fullchain.pem")  # written by site.yml
RENEW = (
    "On the index's machine: systemctl start certbot.service  renews it (ppm_tls: letsencrypt); or replace your files"
    " (ppm_tls: provided), and run site.yml again."
)
# X509_V_ERR_… of OpenSSL
_OF_TIME, _OF_NAME, _SELF_SIGNED = (9, 10), (62, 64), 18
_NO_ISSUER = (2, 19, 20, 21, 27)
_PLAIN = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST")


def check(context: Context) -> Iterator[Finding]:
    """Connect as ppmctl, pip and uv do."""
    if not context.address.is_encrypted:
        return
    path, source = authorities(context.environ)
    if not Path(path).exists():
        raise PpmError(f"{source} names {path}, which does not exist", hint=f"Correct it, or: unset {source}")
    try:
        context.request("HEAD", context.address.simple, None)
    except PpmError as exc:
        if errors := [cause for cause in causes(exc) if isinstance(cause, ssl.SSLError)]:
            untrusted = [cause for cause in errors if isinstance(cause, ssl.SSLCertVerificationError)]
            yield from _untrusted(context, untrusted[0]) if untrusted else [_no_tls(context, errors[0])]
            return
        raise
    message = "its certificate is trusted" + (f" (by {path}, from {source})" if source.isupper() else "")
    try:
        yield _validity(sent_chain(context)[0], message)
    except (OSError, ValueError):  # a form that only the client's library can read
        yield Finding("tls", "ok", message)


def check_file(path: Path = SITE_FILE) -> Iterator[Finding]:
    """Check how long the certificate of this machine's web server is valid, if there is one."""
    try:
        text = regular_file.read(path).decode("ascii")
        yield _validity(x509.read_first(text), str(path), check="certificate")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as exc:
        yield Finding("certificate", "skip", f"{path} can't be read: {exc.strerror}")
    except ValueError as exc:
        yield Finding("certificate", "fail", f"{path} is not a certificate: {exc}", RENEW)


def _validity(certificate: Certificate, start: str, *, check: str = "tls") -> Finding:
    now = datetime.now(UTC)
    left = (certificate.ends - now).days
    end = f"{certificate.ends:%Y-%m-%d}"
    if left < 0:
        return Finding(check, "fail", f"{start}, and expired on {end}", RENEW)
    if certificate.is_late(now):
        state: State = "fail" if certificate.is_last_moment(now) else "warn"
        return Finding(check, state, f"{start}, and expires in {left} days, on {end}: it was not renewed", RENEW)
    return Finding(check, "ok", f"{start}, for {left} days")


def sent_chain(context: Context) -> list[Certificate]:
    """Return the certificates that the server sends, its own first, whether they are trusted or not."""
    with handshake(context, trust_any()) as line:
        connection: Any = line
        if sys.version_info >= (3, 13):
            return [x509.parse(each) for each in connection.get_unverified_chain()]
        sent = connection._sslobj.get_unverified_chain()  # the same, before it was public
        return [x509.parse(ssl.PEM_cert_to_DER_cert(each.public_bytes())) for each in sent]


def _untrusted(context: Context, exc: ssl.SSLCertVerificationError) -> Iterator[Finding]:
    host, code = context.address.host, exc.verify_code
    try:
        chain = sent_chain(context)
    except (OSError, ValueError):
        message = f"its certificate is not trusted: {exc.verify_message}"
        yield Finding("tls", "fail", message, _trust_authority(context))
        return
    leaf, last = chain[0], chain[-1]
    # OpenSSL reports only the first fault; a new certificate should repair all of them
    yield from _out_of_time(chain if code in _OF_TIME else chain[:1])
    if code in _OF_NAME or not _is_for(leaf, host):
        yield _other_host(leaf, host)
    if code in (*_OF_TIME, *_OF_NAME):
        return
    hint = _trust_authority(context)
    if code == _SELF_SIGNED or (len(chain) == 1 and leaf.is_own_issuer):
        message = "its certificate is self-signed: no authority confirms it"
    elif code not in _NO_ISSUER:  # such as what Python is strict about from 3.13 on
        message = f"its certificate is invalid: {exc.verify_message}"
        hint = "On the index's machine: make a new one that conforms to RFC 5280, as Python from 3.13 on requires."
    elif len(chain) == 1:
        message = f"{leaf.issuer}, which issued its certificate, is not trusted here, and the server sends no other"
        hint = (
            "On the index's machine: put the certificate and the intermediate ones into one file (fullchain.pem;"
            f" ppm_tls_certificate). Or, if {leaf.issuer} is an authority of your own: {hint}"
        )
    else:
        root = last.subject if last.is_own_issuer else last.issuer
        message = f"its certificate chain leads to {root}, which is not trusted here"
    yield Finding("tls", "fail", message, hint)


def _out_of_time(chain: list[Certificate]) -> Iterator[Finding]:
    """Find the first certificate that has expired, and a server's that is not valid yet."""
    leaf, now = chain[0], datetime.now(UTC)
    if leaf.begins > now:
        message = f"its certificate is valid from {leaf.begins:%Y-%m-%d}, and this machine's date is {now:%Y-%m-%d}"
        yield Finding("tls", "fail", message, "If that is not today: sudo timedatectl set-ntp true")
    for old in [each for each in chain if each.ends < now][:1]:
        which = "its certificate" if old is leaf else f"the certificate of {old.subject}, which issued it,"
        yield Finding("tls", "fail", f"{which} expired on {old.ends:%Y-%m-%d}", RENEW)


def _other_host(leaf: Certificate, host: str) -> Finding:
    hosts = ", ".join(leaf.hosts) or leaf.subject
    first = next((name for name in leaf.hosts if "*" not in name), "")
    use = f"Use https://{first}/ if that is the index; or make" if first else "Make"
    hint = f"{use} a certificate for {host}: ppm_domain in the inventory, and site.yml again."
    return Finding("tls", "fail", f"its certificate is for {hosts}, not for {host}", hint)


def _is_for(leaf: Certificate, host: str) -> bool:
    """Return whether the certificate names the host; a * stands for one label. IP addresses are not compared."""
    if not leaf.hosts or ":" in host or host[-1:].isdigit():
        return True
    return host in leaf.hosts or f"*.{host.partition('.')[2]}" in leaf.hosts


def _trust_authority(context: Context) -> str:
    path, source = authorities(context.environ)
    now = f" It is now {path}." if source.isupper() else ""
    return (
        "Ask an administrator of the index for the authority's file, and name it:"
        f" export REQUESTS_CA_BUNDLE=/path/ca.pem SSL_CERT_FILE=/path/ca.pem  (ppmctl, pip, poetry; uv).{now}"
    )


def _no_tls(context: Context, exc: ssl.SSLError) -> Finding:
    if exc.reason in _PLAIN:
        plain = context.address.base.replace("https:", "http:", 1)
        return Finding("tls", "fail", "the server does not speak TLS", f"Is the port right? Or is it {plain}/ ?")
    message = f"no TLS connection: {exc.reason or exc.strerror or exc}"
    hint = f"See what the server offers: openssl s_client -connect {context.address.host}:443"
    return Finding("tls", "fail", message, hint)
