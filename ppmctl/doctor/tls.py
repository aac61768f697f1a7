"""Whether the index's certificate is trusted here, and for how long; and if not, what exactly is wrong with it."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ppmctl.connection_errors import causes
from ppmctl.doctor import x509
from ppmctl.doctor.finding import Finding, Visit
from ppmctl.doctor.network import connection
from ppmctl.doctor.x509 import Certificate
from ppmctl.errors import PpmError
from ppmctl.transport import authorities

PLACE = Path("/etc/ppm/tls/fullchain.pem")  # where site.yml has it, whoever issued it
RENEW = (
    "On the index's machine: systemctl start certbot.service  renews it (ppm_tls: letsencrypt); files of your own"
    " (ppm_tls: provided) are replaced, and site.yml run again."
)
_FEW_DAYS = 14
# X509_V_ERR_… of OpenSSL
_NOT_YET, _EXPIRED, _SELF_SIGNED, _OTHER_HOST, _OTHER_ADDRESS = 9, 10, 18, 62, 64
_NO_ISSUER = (2, 19, 20, 21, 27)
_PLAIN = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST")


def check(visit: Visit) -> Iterator[Finding]:
    """Shake hands as ppmctl, pip and uv would."""
    if not visit.address.is_encrypted:
        return
    path, by = authorities(visit.environ)
    if not Path(path).exists():
        yield Finding(
            "tls",
            "fail",
            f"{by} names {path}, which is not there",
            f"Name the right file, or: unset {by}",
        )
        return
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
        yield _days(_chain(visit)[0], said)
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
    left = (found.ends - datetime.now(UTC)).days
    until = f"{found.ends:%Y-%m-%d}"
    if left < 0:
        return Finding(check, "fail", f"{what}, and expired on {until}", RENEW)
    if left < _FEW_DAYS:
        return Finding(check, "warn", f"{what}, and expires in {left} days, on {until}", RENEW)
    return Finding(check, "ok", f"{what}, for {left} days")


def _shake_hands(visit: Visit, context: ssl.SSLContext) -> ssl.SSLSocket:
    line = connection(visit)
    try:
        return context.wrap_socket(line, server_hostname=visit.address.host)
    except BaseException:
        line.close()
        raise


def _chain(visit: Visit) -> list[Certificate]:
    """The certificates that the server sends, its own first, whether they are trusted or not."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with _shake_hands(visit, context) as line:
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
        chain = _chain(visit)
    except (OSError, ValueError):
        yield Finding("tls", "fail", f"its certificate is not trusted: {exc.verify_message}", _name_the_file(visit))
        return
    leaf, last = chain[0], chain[-1]
    now = datetime.now(UTC)
    if code == _EXPIRED:
        old = next((each for each in chain if each.ends < now), leaf)
        whose = "its certificate" if old is leaf else f"the certificate of {old.subject}, which vouches for it,"
        yield Finding("tls", "fail", f"{whose} expired on {old.ends:%Y-%m-%d}", RENEW)
    elif code == _NOT_YET:
        yield Finding(
            "tls",
            "fail",
            f"its certificate begins on {leaf.begins:%Y-%m-%d}, and here it is {now:%Y-%m-%d}",
            "If that is not today: sudo timedatectl set-ntp true",
        )
    elif code in (_OTHER_HOST, _OTHER_ADDRESS):
        named = ", ".join(leaf.hosts) or leaf.subject
        right = next((name for name in leaf.hosts if "*" not in name and not _is_address(name)), "")
        use = f"Use https://{right}/ if that is the index; or have" if right else "Have"
        mend = f"{use} a certificate made that names {host}: ppm_domain in the inventory, and site.yml again."
        yield Finding("tls", "fail", f"its certificate is for {named}, not for {host}", mend)
    elif code == _SELF_SIGNED or (len(chain) == 1 and leaf.is_own_issuer):
        yield Finding("tls", "fail", "its certificate is self-signed: nobody vouches for it", _name_the_file(visit))
    elif code not in _NO_ISSUER:  # such as what Python from 3.13 on is strict about
        yield Finding(
            "tls",
            "fail",
            f"its certificate is not as it has to be: {exc.verify_message}",
            "On the index's machine: have it made anew, as RFC 5280 has it; Python from 3.13 on takes no other.",
        )
    elif len(chain) == 1:
        yield Finding(
            "tls",
            "fail",
            f"{leaf.issuer}, which issued its certificate, is not trusted here, and the server sends no other one",
            "On the index's machine: the certificate with those between it and the root in one file (fullchain.pem;"
            f" ppm_tls_certificate). Or, if {leaf.issuer} is an authority of your own: {_name_the_file(visit)}",
        )
    else:
        root = last.subject if last.is_own_issuer else last.issuer
        yield Finding(
            "tls",
            "fail",
            f"its certificate is vouched for by {root}, which is not trusted here",
            _name_the_file(visit),
        )


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
    return Finding(
        "tls",
        "fail",
        f"no TLS connection: {exc.reason or exc.strerror or exc}",
        f"What the server offers: openssl s_client -connect {visit.address.host}:443",
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
