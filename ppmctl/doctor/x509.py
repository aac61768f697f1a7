"""Read a certificate's names and dates, whether it is trusted or not, with the library `cryptography`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

_FEW_DAYS, _LAST_DAYS = timedelta(days=20), timedelta(days=3)


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """`subject` and `issuer` are common names, or else organisations; `hosts` are the DNS names that it is for."""

    der: bytes
    subject: str
    issuer: str
    begins: datetime
    ends: datetime
    hosts: tuple[str, ...]
    is_own_issuer: bool

    def is_late(self, now: datetime) -> bool:
        """Return whether it should be renewed by now: certbot does with a third, or half of a short life left."""
        return self.ends - now < min(_FEW_DAYS, (self.ends - self.begins) / 4)

    def is_last_moment(self, now: datetime) -> bool:
        """Return whether it expires within days, so that its renewal has probably failed."""
        return self.ends - now < min(_LAST_DAYS, (self.ends - self.begins) / 16)


def parse(der: bytes) -> Certificate:
    """Return the certificate in DER form; ValueError if it is not one."""
    with warnings.catch_warnings(action="ignore"):  # clients report what RFC 5280 does not allow
        certificate = x509.load_der_x509_certificate(der)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        hosts = ()
    return Certificate(
        der=der,
        subject=_name(certificate.subject),
        issuer=_name(certificate.issuer),
        begins=certificate.not_valid_before_utc,
        ends=certificate.not_valid_after_utc,
        hosts=hosts,
        is_own_issuer=certificate.issuer == certificate.subject,
    )


def read_first(pem: str) -> Certificate:
    """Return the first certificate of a PEM file, which is the server's own; ValueError if there is none."""
    return parse(x509.load_pem_x509_certificates(pem.encode())[0].public_bytes(Encoding.DER))


def _name(name: x509.Name) -> str:
    for kind in (x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATION_NAME):
        if attributes := name.get_attributes_for_oid(kind):
            return str(attributes[-1].value)
    return "a nameless one"
