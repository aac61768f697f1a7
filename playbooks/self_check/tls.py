"""TLS as clients meet it: is it the right server, for how long, and does it speak what is safe today?"""

from __future__ import annotations

import contextlib
import socket
import ssl
import warnings
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from self_check import certificate
from self_check.certificate import Certificate
from self_check.client import PORTS, TIMEOUT, Index, Trust, explained, handshake
from self_check.findings import Verdict, good, untried, wrong
from self_check.look import SITE, STRANGERS
from self_check.reach import STRANGER
from self_check.settings import Settings

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which ssl has no name for
_OTHER_NAME = 62  # X509_V_ERR_HOSTNAME_MISMATCH
_OWN_FAULTS = ("NO_PROTOCOLS_AVAILABLE", "NO_CIPHERS_AVAILABLE", "NO_CIPHER_MATCH")
_RENEWAL = {
    "letsencrypt": (
        "It was not renewed. On the host: systemctl list-timers certbot.timer, journalctl -u certbot;"
        " certbot renew --dry-run tries it. Then systemctl reload nginx."
    ),
    "provided": "Put a new one into ppm_tls_certificate and ppm_tls_key, and run site.yml.",
    "selfsigned": "On the host: rm /etc/ppm/tls/source; then run site.yml, which makes a new one.",
    "none": "Renew it at the proxy in front of the index.",
}


class NoAuthorities(Exception):
    """The authorities that should count can't be read, and why."""


def clients_context(settings: Settings) -> ssl.SSLContext:
    """As clients check servers: by the system's authorities, and those that were named for this index."""
    context = ssl.create_default_context()
    for path in settings.authorities:
        try:
            context.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError) as exc:
            raise NoAuthorities(f"{path} has no certificate authorities in PEM ({exc})") from exc
    if settings.tls == "selfsigned" and settings.served:
        context.load_verify_locations(cadata=settings.served)
    return context


def anybody() -> ssl.SSLContext:
    """For looking at a server whoever it is; nothing that is secret goes there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextlib.contextmanager
def shaken(index: Index, context: ssl.SSLContext, name: str = "") -> Iterator[ssl.SSLSocket]:
    """A finished handshake with whoever answers for `name`; errors are those of ssl and socket."""
    plain = socket.create_connection((index.address, PORTS["https"]), timeout=TIMEOUT)
    with handshake(plain, name or index.domain, Trust(context=context)) as secured:
        yield secured


def served(index: Index) -> Certificate:
    """The certificate that the server has for the index's name. NoAnswer where there is no TLS at all."""
    try:
        with shaken(index, anybody()) as secured:
            return certificate.read(secured.getpeercert(binary_form=True) or b"")
    except OSError as exc:
        raise explained(exc) from exc


def own_certificate(settings: Settings) -> str:
    """The fingerprint of the certificate that the host has for nginx, read over SSH; "" where it is not known."""
    try:
        return certificate.first_in(settings.served).fingerprint
    except ValueError:
        return ""


def refusal(index: Index, context: ssl.SSLContext) -> ssl.SSLCertVerificationError | None:
    """Why clients with such a context refuse the server's certificate; None where they do not."""
    try:
        with shaken(index, context):
            return None
    except ssl.SSLCertVerificationError as exc:
        return exc
    except OSError as exc:
        raise explained(exc) from exc


def chain(index: Index, settings: Settings, found: Certificate) -> Verdict:
    """Whether it comes from an authority that clients trust; its name and its time are other questions."""
    if settings.tls == "selfsigned" and not settings.served:
        return untried("it is self-signed, and over SSH the host did not tell whether it is the right one")
    context = clients_context(settings)
    context.check_hostname = False
    context.verify_flags |= _NO_CHECK_TIME
    if refused := refusal(index, context):
        said = f"clients do not trust it: {refused.verify_message} (its issuer: {found.issuer})"
        return wrong(said, _remedy(settings, found))
    if settings.tls == "selfsigned":
        return good("it is the one on the host (/etc/ppm/tls/fullchain.pem), which clients have to be given")
    return good(f"trusted here; issued by {found.issuer}")


def _remedy(settings: Settings, found: Certificate) -> str:
    if found.subject == certificate.TEMPORARY:
        return "nginx still has the temporary one, since none was issued. Run site.yml again: it says why."
    own = "With an authority of your own: -e self_check_ca_certificates=FILE (PEM); clients need it as well."
    match settings.tls:
        case "selfsigned":
            return "Another one is served than the host has. On the host: nginx -t && systemctl reload nginx."
        case "provided":
            return f"ppm_tls_certificate must have the host's certificate and after it the intermediate ones. {own}"
        case "letsencrypt":
            return f"With a staging authority in ppm_acme_directory it is so: take that out, and run site.yml. {own}"
        case _:
            return own


def name(index: Index, settings: Settings, found: Certificate) -> Verdict:
    """Whether clients take it for the index's, whoever it comes from; OpenSSL itself is asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=found.der)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    refused = refusal(index, context)
    if refused is None or refused.verify_code != _OTHER_NAME:
        return good(f"it is for {', '.join(found.names)}")
    remedy = {
        "provided": "Put one that covers ppm_domain into ppm_tls_certificate, and run site.yml.",
        "none": "Give the proxy in front of the index one that covers ppm_domain.",
    }
    parent = settings.domain.partition(".")[2]
    too_wide = " (a * covers nothing with a single label behind it)" if f"*.{parent}" in found.names else ""
    return wrong(
        f"it is for {', '.join(found.names) or 'no name'}, not for {settings.domain}{too_wide}",
        remedy.get(settings.tls, "Put right ppm_domain, or run site.yml, which gets one for it."),
    )


def lifetime(settings: Settings, found: Certificate) -> Verdict:
    return certificate.time_left(found, datetime.now(UTC), _RENEWAL[settings.tls])


def same_as_on_host(settings: Settings, found: Certificate) -> Verdict:
    """A renewed certificate does not help until nginx was told; and a name may lead to another host."""
    own = own_certificate(settings)
    if not own:
        return untried("the host's own certificate could not be read over SSH")
    if own == found.fingerprint:
        return good("nginx serves the one in /etc/ppm/tls")
    return wrong(
        "it is not the one in /etc/ppm/tls on the host",
        "On the host: nginx -t && systemctl reload nginx. If that does not help, the name leads to another machine.",
    )


def whole(index: Index, settings: Settings) -> Verdict:
    """As clients see it, name, time and all: what the questions before this one did not ask counts too."""
    refused = refusal(index, clients_context(settings))
    if refused is None:
        return good("clients accept it")
    return wrong(f"clients refuse it: {refused.verify_message}", "Have one issued that says what clients ask for.")


def protocols(index: Index) -> Verdict:
    """1.2 or 1.3, and none before."""
    spoken = [version for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3) if speaks(index, version)]
    if not spoken:
        return wrong("neither TLS 1.2 nor TLS 1.3 is spoken", SITE)
    old = {version: speaks(index, version) for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)}
    if any(old.values()):
        return wrong(f"still spoken: {_listed(version for version, is_spoken in old.items() if is_spoken)}", SITE)
    said = f"{_listed(spoken)}, and none before"
    return good(f"{_listed(spoken)}; older ones can't be tried from here" if None in old.values() else said)


def speaks(index: Index, version: ssl.TLSVersion) -> bool | None:
    """Whether the server speaks this version; None where this machine's OpenSSL does not."""
    context = anybody()
    try:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # it is old ones that are tried
            context.minimum_version = version
            context.maximum_version = version
        if version < ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("ALL:@SECLEVEL=0")
        with shaken(index, context) as secured:
            return secured.version() is not None
    except ssl.SSLError as exc:
        return None if exc.reason in _OWN_FAULTS else False
    except ConnectionResetError:
        return False
    except OSError as exc:
        raise explained(exc) from exc


def http2(index: Index) -> Verdict:
    context = anybody()
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with shaken(index, context) as secured:
            chosen = secured.selected_alpn_protocol()
    except OSError as exc:
        raise explained(exc) from exc
    return good("spoken") if chosen == "h2" else wrong(f"not spoken, but {chosen or 'HTTP/1.1'}", SITE)


def stranger(index: Index) -> Verdict:
    """Whoever asks for another host's certificate, or does not say for which, gets none."""
    for asked in (STRANGER, ""):
        context = anybody()
        try:
            plain = socket.create_connection((index.address, PORTS["https"]), timeout=TIMEOUT)
            with plain, context.wrap_socket(plain, server_hostname=asked or None) as secured:
                got = certificate.read(secured.getpeercert(binary_form=True) or b"")
        except (ssl.SSLError, ConnectionResetError):
            continue
        except OSError as exc:
            raise explained(exc) from exc
        said = f"asked for {asked or 'no name'}, it shows a certificate of {', '.join(got.names) or got.subject}"
        return wrong(said, f"{SITE} {STRANGERS}")
    return good("gets no certificate")


def find_trust(settings: Settings, found: Certificate, *, passes: bool) -> Trust | None:
    """Whom to talk to. A server that clients refuse is still this host's if it has the certificate known over SSH."""
    if passes:
        return Trust(context=clients_context(settings))
    own = own_certificate(settings)
    if own and own == found.fingerprint:
        return Trust(context=anybody(), only=found.fingerprint)
    return None


def bundle(settings: Settings) -> str:
    """The authorities in PEM that a client on this machine needs besides the system's, "" for none."""
    own = settings.served if settings.tls == "selfsigned" else ""
    return "".join(Path(path).read_text(encoding="ascii", errors="ignore") for path in settings.authorities) + own


def _listed(versions: Iterable[ssl.TLSVersion]) -> str:
    names = [version.name.removeprefix("TLSv").replace("_", ".") for version in versions]
    return " and ".join(f"TLS {'1.0' if name == '1' else name}" for name in names)
