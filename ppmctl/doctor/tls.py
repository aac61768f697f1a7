"""Whether the index's certificate is trusted here, and for how long; and if not, what exactly is wrong with it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ppmctl.client.connection_errors import causes
from ppmctl.client.http import authorities
from ppmctl.doctor import x509
from ppmctl.doctor.finding import Finding, State, Visit
from ppmctl.doctor.network import anybody, shaken
from ppmctl.doctor.x509 import Certificate
from ppmctl.errors import PpmError

PLACE = Path("/etc/ppm/tls/fullchain.pem")  # where site.yml has it, whoever issued it
RENEW = (
    "On the index's machine: systemctl start certbot.service  renews it (ppm_tls: letsencrypt); files of your own"
    " (ppm_tls: provided) are replaced, and site.yml run again."
)
# X509_V_ERR_… of OpenSSL
_OF_TIME, _OF_NAME, _SELF_SIGNED = (9, 10), (62, 64), 18
_NO_ISSUER = (2, 19, 20, 21, 27)
_PLAIN = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST")


def check(visit: Visit) -> Iterator[Finding]:
    """Shake hands as ppmctl, pip and uv would."""
    if not visit.address.is_encrypted:
        return
    path, by = authorities(visit.environ)
    if not Path(path).exists():
        raise PpmError(f"{by} names {path}, which is not there", hint=f"Name the right file, or: unset {by}")
    try:
        with visit.connect_as_nobody() as transport:
            transport.request("HEAD", visit.address.simple)
    except PpmError as exc:
        if wrong := [cause for cause in causes(exc) if isinstance(cause, ssl.SSLError)]:
            untrusted = [cause for cause in wrong if isinstance(cause, ssl.SSLCertVerificationError)]
            yield from _untrusted(visit, untrusted[0]) if untrusted else [_no_tls(visit, wrong[0])]
            return
        raise
    said = f"its certificate is trusted (by {path}, from {by})" if by.isupper() else "its certificate is trusted"
    try:
        yield _days(sent_chain(visit)[0], said)
    except (OSError, ValueError):  # one that is written in a way of its own
        yield Finding("tls", "ok", said)


def beside(path: Path = PLACE) -> Iterator[Finding]:
    """How long the certificate lasts that this machine's web server has, if there is one."""
    try:
        text = path.read_text(encoding="ascii")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as exc:
        yield Finding("certificate", "skip", f"{path} can't be read: {exc.strerror}")
        return
    try:
        found = x509.read_first(text)
    except ValueError as exc:
        yield Finding("certificate", "fail", f"{path} is no certificate: {exc}", RENEW)
        return
    yield _days(found, str(path), check="certificate")


def _days(found: Certificate, what: str, *, check: str = "tls") -> Finding:
    now = datetime.now(UTC)
    left = (found.ends - now).days
    until = f"{found.ends:%Y-%m-%d}"
    if left < 0:
        return Finding(check, "fail", f"{what}, and expired on {until}", RENEW)
    if found.is_late(now):
        state: State = "fail" if found.is_last_moment(now) else "warn"
        return Finding(check, state, f"{what}, and expires in {left} days, on {until}: it was not renewed", RENEW)
    return Finding(check, "ok", f"{what}, for {left} days")


def sent_chain(visit: Visit) -> list[Certificate]:
    """Return the certificates that the server sends, its own first, whether they are trusted or not."""
    with shaken(visit, anybody()) as line:
        # public from Python 3.13 on; before, it is there below
        public: Any = getattr(line, "get_unverified_chain", None)
        below: Any = getattr(getattr(line, "_sslobj", None), "get_unverified_chain", None)
        if public is not None:
            sent = list(public())
        elif below is not None:
            sent = [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in below()]
        else:
            sent = [line.getpeercert(binary_form=True)]
        return [x509.parse(each) for each in sent]


def _untrusted(visit: Visit, exc: ssl.SSLCertVerificationError) -> Iterator[Finding]:
    host, code = visit.address.host, exc.verify_code
    try:
        chain = sent_chain(visit)
    except (OSError, ValueError):
        yield Finding("tls", "fail", f"its certificate is not trusted: {exc.verify_message}", _name_the_file(visit))
        return
    leaf, last = chain[0], chain[-1]
    # OpenSSL names the first fault alone; a new certificate should not be made for one of two
    if code not in _OF_TIME:
        yield from _out_of_time(chain[:1])
    if code in _OF_NAME or not _is_for(leaf, host):
        yield _other_host(leaf, host)
    mend = _name_the_file(visit)
    if code in _OF_TIME:
        yield from _out_of_time(chain)
        return
    if code in _OF_NAME:
        return
    if code == _SELF_SIGNED or (len(chain) == 1 and leaf.is_own_issuer):
        said = "its certificate is self-signed: nobody vouches for it"
    elif code not in _NO_ISSUER:  # such as what Python from 3.13 on is strict about
        said = f"its certificate is not as it has to be: {exc.verify_message}"
        mend = "On the index's machine: have it made anew, as RFC 5280 has it; Python from 3.13 on takes no other."
    elif len(chain) == 1:
        said = f"{leaf.issuer}, which issued its certificate, is not trusted here, and the server sends no other one"
        mend = (
            "On the index's machine: the certificate with those between it and the root in one file (fullchain.pem;"
            f" ppm_tls_certificate). Or, if {leaf.issuer} is an authority of your own: {mend}"
        )
    else:
        root = last.subject if last.is_own_issuer else last.issuer
        said = f"its certificate is vouched for by {root}, which is not trusted here"
    yield Finding("tls", "fail", said, mend)


def _out_of_time(chain: list[Certificate]) -> Iterator[Finding]:
    """Find the first certificate that has expired, or begins later."""
    leaf, now = chain[0], datetime.now(UTC)
    if leaf.begins > now:
        said = f"its certificate begins on {leaf.begins:%Y-%m-%d}, and here it is {now:%Y-%m-%d}"
        yield Finding("tls", "fail", said, "If that is not today: sudo timedatectl set-ntp true")
    for old in [each for each in chain if each.ends < now][:1]:
        whose = "its certificate" if old is leaf else f"the certificate of {old.subject}, which vouches for it,"
        yield Finding("tls", "fail", f"{whose} expired on {old.ends:%Y-%m-%d}", RENEW)


def _other_host(leaf: Certificate, host: str) -> Finding:
    named = ", ".join(leaf.hosts) or leaf.subject
    right = next((name for name in leaf.hosts if "*" not in name), "")
    use = f"Use https://{right}/ if that is the index; or have" if right else "Have"
    mend = f"{use} a certificate made that names {host}: ppm_domain in the inventory, and site.yml again."
    return Finding("tls", "fail", f"its certificate is for {named}, not for {host}", mend)


def _is_for(leaf: Certificate, host: str) -> bool:
    """Return whether the certificate names the host, as far as that can be told: a * stands for one label."""
    if not leaf.hosts or ":" in host or host[-1:].isdigit():  # an address, which is not among the names
        return True
    return host in leaf.hosts or f"*.{host.partition('.')[2]}" in leaf.hosts


def _name_the_file(visit: Visit) -> str:
    path, by = authorities(visit.environ)
    now = f" It is now {path}." if by.isupper() else ""
    return (
        "Get the authority's file from whoever runs the index, and name it: export REQUESTS_CA_BUNDLE=/path/ca.pem"
        f" SSL_CERT_FILE=/path/ca.pem  (ppmctl, pip, poetry; uv).{now}"
    )


def _no_tls(visit: Visit, exc: ssl.SSLError) -> Finding:
    if exc.reason in _PLAIN:
        plain = visit.address.base.replace("https:", "http:", 1)
        return Finding("tls", "fail", "what answers there speaks no TLS", f"Is the port right? Or is it {plain}/ ?")
    said = f"no TLS connection: {exc.reason or exc.strerror or exc}"
    return Finding("tls", "fail", said, f"What the server offers: openssl s_client -connect {visit.address.host}:443")
