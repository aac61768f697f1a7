"""Rules for the certificate files that an inventory names."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

_MIN_RSA = 2048  # bits, OpenSSL's minimum


def file_problems(values: Mapping[str, Any], read: Callable[[str], bytes]) -> Iterator[str]:
    """Yield the problems of the files on the controlling machine that variables name."""
    authorities = values.get("ppm_ca_certificates") or []
    for path in authorities:
        if sum(Path(other).stem == Path(path).stem for other in authorities) > 1:
            yield f"ppm_ca_certificates: two files are called {Path(path).stem}, apart from their suffix: rename one."
        try:
            x509.load_pem_x509_certificates(read(path))
        except OSError as exc:
            yield f"ppm_ca_certificates: {path} can't be read: {exc.strerror}."
        except ValueError:
            yield f"ppm_ca_certificates: {path} has no certificate in PEM."
    if values.get("ppm_tls") == "provided":
        yield from _certificate_problems(values, read)
    if str(values.get("ppm_backup_repository")).startswith("sftp:"):
        yield from _ssh_key_problems(values["ppm_backup_ssh_key"], read)


def _certificate_problems(values: Mapping[str, Any], read: Callable[[str], bytes]) -> Iterator[str]:
    content = {}
    for name in ("ppm_tls_certificate", "ppm_tls_key"):
        try:
            content[name] = read(values[name])
        except OSError as exc:
            yield f"{name}: {values[name]} can't be read: {exc.strerror}."
    if len(content) < 2:
        return
    try:
        certificate, *chain = x509.load_pem_x509_certificates(content["ppm_tls_certificate"])
    except ValueError:
        yield f"ppm_tls_certificate: {values['ppm_tls_certificate']} has no certificate in PEM."
        return
    try:
        key = load_pem_private_key(content["ppm_tls_key"], password=None)
    except (ValueError, TypeError):
        yield f"ppm_tls_key: {values['ppm_tls_key']} has no private key in PEM without a passphrase."
        return
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        yield "ppm_tls_key: it is not the key of ppm_tls_certificate's first certificate, which must be the host's."
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        yield f"ppm_tls_certificate: it expired on {certificate.not_valid_after_utc:%Y-%m-%d}; get a new one."
    if certificate.not_valid_before_utc > datetime.now(UTC):
        yield f"ppm_tls_certificate: it is valid only from {certificate.not_valid_before_utc:%Y-%m-%d} on."
    public = certificate.public_key()
    if isinstance(public, RSAPublicKey) and public.key_size < _MIN_RSA:
        yield f"ppm_tls_certificate: nginx takes no RSA key of {public.key_size} bits; get one of {_MIN_RSA}."
    if any(one.issuer != next_one.subject for one, next_one in zip([certificate, *chain], chain, strict=False)):
        yield "ppm_tls_certificate: it must be in order, each certificate followed by that of its issuer."
    names = _names(certificate)
    if not any(_covers(name, values["ppm_domain"]) for name in names):
        listed = ", ".join(names) or "no name"
        yield f"ppm_tls_certificate: it is for {listed}, and ppm_domain is {values['ppm_domain']}."


def _ssh_key_problems(path: str, read: Callable[[str], bytes]) -> Iterator[str]:
    try:
        content = read(path)
    except OSError as exc:
        yield f"ppm_backup_ssh_key: {path} can't be read: {exc.strerror}."
        return
    load = load_ssh_private_key if b"OPENSSH" in content.partition(b"\n")[0] else load_pem_private_key
    try:
        load(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        yield f"ppm_backup_ssh_key: {path} has no private SSH key without a passphrase (ssh-keygen -t ed25519 -N '')."


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in extension.value.get_values_for_type(x509.DNSName)]


def _covers(name: str, domain: str) -> bool:
    return name == domain or (name.startswith("*.") and fnmatch.fnmatch(domain.partition(".")[2], name[2:]))
