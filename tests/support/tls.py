"""Read a server's certificate, and make authorities and certificates for tests."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """The certificate that an index presents."""

    serial: int
    issuer: str
    domains: list[str]
    ends: float  # Unix time


def served(domain: str, address: str, root: Path, *, port: int = 443) -> Certificate:
    """Return the certificate that is served now at an address; it must chain to the root (PEM)."""
    context = ssl.create_default_context(cafile=str(root))
    with (
        socket.create_connection((address, port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=domain) as connection,
    ):
        certificate = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return Certificate(
        serial=certificate.serial_number,
        issuer=certificate.issuer.rfc4514_string(),
        domains=names.get_values_for_type(x509.DNSName),
        ends=certificate.not_valid_after_utc.timestamp(),
    )


class Authority:
    """A root and an intermediate authority that signs, like a company's."""

    def __init__(self) -> None:
        self.keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("Root", "Issuing")}
        self.root = self._sign("Root", "Root", ca=True)
        self.issuing = self._sign("Issuing", "Root", ca=True)

    def write_root(self, path: Path) -> Path:
        path.write_bytes(self.root.public_bytes(serialization.Encoding.PEM))
        return path

    def issue(self, folder: Path, domain: str, *, days: int = 30, age: int = 0) -> tuple[Path, Path]:
        """Write files with the certificate's chain and its key; it expires in `days`, negative: it has expired.

        `age`: days since it was issued.
        """
        folder.mkdir()
        self.keys[domain] = ec.generate_private_key(ec.SECP256R1())
        return self._write(folder, domain, self._sign(domain, "Issuing", days=days, age=age), self.issuing)

    def issue_self_signed(self, folder: Path, domain: str) -> tuple[Path, Path]:
        """Write the same for a self-signed certificate."""
        folder.mkdir()
        self.keys[domain] = ec.generate_private_key(ec.SECP256R1())
        return self._write(folder, domain, self._sign(domain, domain))

    def _write(self, folder: Path, domain: str, *parts: x509.Certificate) -> tuple[Path, Path]:
        chain, key = folder / "chain.pem", folder / "key.pem"
        chain.write_bytes(b"".join(part.public_bytes(serialization.Encoding.PEM) for part in parts))
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        key.write_bytes(self.keys[domain].private_bytes(*form))
        return chain, key

    def _sign(self, name: str, issuer: str, *, ca: bool = False, days: int = 30, age: int = 0) -> x509.Certificate:
        now = datetime.now(UTC)
        ends = now + timedelta(days=days, minutes=1)
        common = {each: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, issuer)}
        made = (
            x509.CertificateBuilder()
            .subject_name(common[name])
            .issuer_name(common[issuer])
            .public_key(self.keys[name].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, ends) - timedelta(days=age, hours=1))
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            # required by Python 3.13 and newer
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.keys[name].public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.keys[issuer].public_key()), critical=False
            )
        )
        if ca:
            nothing_else = dict.fromkeys(
                (
                    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
                    *("key_agreement", "encipher_only", "decipher_only"),
                ),
                False,
            )
            usage = x509.KeyUsage(key_cert_sign=True, crl_sign=True, **nothing_else)
            made = made.add_extension(usage, critical=True)
        return made.sign(self.keys[issuer], hashes.SHA256())
