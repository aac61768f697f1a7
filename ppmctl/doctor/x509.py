"""A certificate's names and days, whether it is trusted or not; read by the library `cryptography`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

_FEW_DAYS, _LAST_DAYS = timedelta(days=14), timedelta(days=3)


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """`subject` and `issuer` are the common names, or else the organisations; `hosts` those that it is for."""

    der: bytes
    subject: str
    issuer: str
    begins: datetime
    ends: datetime
    hosts: tuple[str, ...]
    is_own_issuer: bool

    def is_late(self, now: datetime) -> bool:
        """Return whether it should have been renewed by now.

        What is late depends on its whole lifetime, since lifetimes get shorter from year to year: certbot renews when
        a third of it is left, or half of less than ten days.
        """
        return self.ends - now < min(_FEW_DAYS, (self.ends - self.begins) / 4)

    def is_last_moment(self, now: datetime) -> bool:
        """Return whether clients refuse it within days, because nobody renews it."""
        return self.ends - now < min(_LAST_DAYS, (self.ends - self.begins) / 16)


def parse(der: bytes) -> Certificate:
    """Return the certificate in DER form; ValueError if it is not one."""
    with warnings.catch_warnings(action="ignore"):  # whether it is as RFC 5280 wants it, clients say
        found = x509.load_der_x509_certificate(der)
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        hosts = ()
    return Certificate(
        der=der,
        subject=_name(found.subject),
        issuer=_name(found.issuer),
        begins=found.not_valid_before_utc,
        ends=found.not_valid_after_utc,
        hosts=hosts,
        is_own_issuer=found.issuer == found.subject,
    )


def read_first(pem: str) -> Certificate:
    """Return the first certificate of a PEM file, the one that a server proves itself with; ValueError."""
    return parse(x509.load_pem_x509_certificates(pem.encode())[0].public_bytes(Encoding.DER))


def _name(name: x509.Name) -> str:
    for kind in (x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATION_NAME):
        if found := name.get_attributes_for_oid(kind):
            return str(found[-1].value)
    return "a nameless one"
