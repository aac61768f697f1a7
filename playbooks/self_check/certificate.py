"""What a certificate says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from self_check.client import fingerprint
from self_check.findings import Verdict, good, warning, wrong

TEMPORARY = "ppm, temporary"  # what the nginx role calls the one it starts with


@dataclass(frozen=True, kw_only=True)
class Certificate:
    der: bytes
    subject: str
    issuer: str
    names: tuple[str, ...]
    begins: datetime
    ends: datetime

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.der)


def read(der: bytes) -> Certificate:
    """The certificate in `der`. ValueError where it is none."""
    found = x509.load_der_x509_certificate(der)
    try:
        extension = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(name.lower() for name in extension.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        names = ()
    return Certificate(
        der=der,
        subject=_common_name(found.subject),
        issuer=_common_name(found.issuer),
        names=names,
        begins=found.not_valid_before_utc,
        ends=found.not_valid_after_utc,
    )


def first_in(pem: str) -> Certificate:
    """The first certificate in a file, which is the host's own. ValueError where there is none."""
    return read(x509.load_pem_x509_certificates(pem.encode())[0].public_bytes(Encoding.DER))


def time_left(certificate: Certificate, now: datetime, renewal: str) -> Verdict:
    """Whether it counts now and its renewal is not late.

    What is late depends on its whole lifetime, since that gets shorter from year to year: certbot renews when a third
    of it is left, or half where it is under ten days.
    """
    life, left = certificate.ends - certificate.begins, certificate.ends - now
    day = f"{certificate.ends:%Y-%m-%d %H:%M} UTC"
    if certificate.begins > now:
        said = f"it counts only from {certificate.begins:%Y-%m-%d %H:%M} UTC on"
        return wrong(said, "See whether the clocks here and on the host are right (timedatectl).")
    if left <= timedelta():
        return wrong(f"it ended on {day}", renewal)
    said = f"it ends in {_span(left)}, on {day}"
    if left < min(timedelta(days=3), life / 16):
        return wrong(f"{said}, and was not renewed", renewal)
    if left < min(timedelta(days=14), life / 4):
        return warning(f"{said}, and should have been renewed", renewal)
    return good(said)


def _span(span: timedelta) -> str:
    return f"{span.days} days" if span.days > 1 else f"{span.total_seconds() / 3600:.0f} hours"


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()
