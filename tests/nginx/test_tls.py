"""TLS of each release's nginx: what clients negotiate, and what the plain HTTP port answers."""

from __future__ import annotations

import re
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import certifi
import pytest
import requests
from support import debian, raw, webserver, wheels
from support.clients import Machine, machine
from support.evidence import until
from support.raw import Target
from support.servers import clean_environment, ppmctl
from support.webserver import Site

HSTS = "max-age=63072000"
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(scope="module")
def filled(site: Site) -> Site:
    assert site.upload(wheels.wheel("by-tls", "1.0")).status_code == 200
    return site


@dataclass(frozen=True, kw_only=True)
class Handshake:
    """The output of Debian 13's `openssl s_client`. It has "Verification: OK" even if the handshake failed."""

    text: str

    @property
    def agreed(self) -> str:
        """Return the protocol version and the cipher, or "" if the handshake failed."""
        match = re.search(r"^New, (\S+), Cipher is (\S+)$", self.text, re.MULTILINE)
        return f"{match[1]} {match[2]}" if match and match[2] != "(NONE)" else ""

    @property
    def refused(self) -> str:
        """Return the server's alert (RFC 8446, section 6), or "" if it sent none."""
        match = re.search(r"alert ([a-z ]+):.*SSL alert number \d+", self.text)
        return match[1] if match and not self.agreed else ""


def handshake(site: Site, *options: str) -> Handshake:
    """Try a handshake with Debian 13's openssl, which supports everything that Debian 12's does."""
    tree = debian.tree(13)
    command = [*tree.openssl, "s_client", "-connect", f"localhost:{site.port}", "-servername", "localhost", *options]
    done = subprocess.run(
        [*command, "-CAfile", str(site.ca)],
        input="",
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        env=webserver.openssl_environment(tree),
    )
    return Handshake(text=done.stdout + done.stderr)


def test_the_certificate_is_trusted_through_its_authority(filled: Site) -> None:
    """The whole chain is served, and the certificate is for this name."""
    done = handshake(filled, "-verify_return_error", "-verify_hostname", "localhost")
    assert done.agreed.startswith("TLSv1.3 ")
    assert "Verification: OK" in done.text
    assert "Verified peername: localhost" in done.text


def test_hybrid_key_exchange_or_x25519(filled: Site) -> None:
    """Hybrid if both sides support it, which protects recorded traffic from future quantum computers; else X25519."""
    has_hybrid = filled.tree.release >= 13
    best = "X25519MLKEM768" if has_hybrid else "X25519"
    done = handshake(filled, "-groups", "X25519MLKEM768:X25519")
    assert re.search(rf"^(?:Negotiated TLS1.3 group|Peer Temp Key): {best}\b", done.text, re.MULTILINE), done.text
    for group in ("X25519", "prime256v1", "secp384r1"):
        assert handshake(filled, "-groups", group).agreed, group
    for group in ("secp521r1", "ffdhe2048", *(() if has_hybrid else ("X25519MLKEM768",))):
        assert handshake(filled, "-groups", group).refused == "handshake failure", group


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-tls1_3", "TLSv1.3 TLS_AES_256_GCM_SHA384"),
        ("-tls1_2", "TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305", "TLSv1.2 ECDHE-ECDSA-CHACHA20-POLY1305"),
        ("-tls1_1 -cipher ALL:@SECLEVEL=0", "protocol version"),
        ("-tls1 -cipher ALL:@SECLEVEL=0", "protocol version"),
        ("-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA256", "handshake failure"),
        ("-tls1_2 -cipher ECDHE-ECDSA-AES256-SHA", "handshake failure"),
    ],
)
def test_tls_versions_and_ciphers(filled: Site, options: str, expected: str) -> None:
    """Mozilla's guideline "intermediate": TLS 1.3, and TLS 1.2 with forward secrecy and AEAD."""
    done = handshake(filled, *options.split())
    assert (done.agreed or done.refused) == expected, done.text


def test_an_rsa_certificate_has_forward_secrecy(filled: Site) -> None:
    """With the ciphers of older clients, a stolen RSA key would decrypt recorded traffic."""
    webserver.make_certificate(filled.tree, filled.ca, filled.places.tls, key=("rsa:2048",))
    filled.reload()
    try:
        suites = {cipher: handshake(filled, "-tls1_2", "-cipher", cipher) for cipher in ("ALL", "ALL:!ECDHE")}
    finally:
        webserver.make_certificate(filled.tree, filled.ca, filled.places.tls)
        filled.reload()
    assert suites["ALL"].agreed == "TLSv1.2 ECDHE-RSA-AES256-GCM-SHA384"
    assert suites["ALL:!ECDHE"].refused == "handshake failure"


def test_sessions_have_no_tickets_in_tls_1_2(filled: Site) -> None:
    """A ticket key that never changes would undo forward secrecy."""
    done = handshake(filled, "-tls1_2")
    assert done.agreed
    assert "TLS session ticket:" not in done.text


def test_http2_gives_the_same_answers(filled: Site, tmp_path: Path) -> None:
    """Clients that support HTTP/2 get the same answers; a request for another host name gets none."""
    assert "ALPN protocol: h2" in handshake(filled, "-alpn", "h2,http/1.1").text
    assert "ALPN protocol: http/1.1" in handshake(filled, "-alpn", "http/1.1").text
    user = user_of(filled, tmp_path)

    def curl(path: str, *options: str, expect: int | None = 0) -> str:
        curl = ("curl", "-sS", "--http2", "--cacert", filled.ca, "--write-out", "\n%{http_version} %{http_code}")
        return user.run(*curl, *options, f"{filled.url}{path}", expect=expect).output

    page = curl("/simple/by-tls/", "--netrc")
    assert page.endswith("\n2 200")
    assert page.removesuffix("\n2 200") == filled.get("/simple/by-tls/").text
    assert curl("/simple/by-tls/").endswith("\n2 401")
    assert curl("/simple/nothing/", "--netrc").endswith("\n2 302")
    assert curl("/simple/By.Tls/", "--netrc").endswith("\n2 301")
    for options in (("-X", "TRACE"), ("-X", "CONNECT"), ("-X", "PUT"), ("-H", "X-Forwarded-Host: poison.example")):
        assert curl("/", *options).endswith("\n2 401"), options
    poisoned = curl("/", "--netrc", "-H", "X-Forwarded-Host: poison.example")
    assert poisoned.endswith("\n2 200")
    assert "poison.example" not in poisoned
    # the connection is closed, or the status is 421 (misdirected request)
    other = curl("/healthz", "-H", "Host: evil.example", expect=None)
    assert "stream 1 was not closed cleanly" in other or other.endswith("\n2 421")


def user_of(site: Site, tmp_path: Path) -> Machine:
    made = machine(tmp_path / "home", site)
    netrc = made.home / ".netrc"
    netrc.write_text(f"machine localhost login {site.user} password {site.secret}\n")
    return made


def test_every_answer_has_hsts_and_security_headers(filled: Site) -> None:
    """HSTS and the other headers occur exactly once in every answer, of nginx or of the application."""
    statuses = set()
    for method, path, auth in (
        *(
            ("GET", path, filled.auth)
            for path in ("/healthz", "/simple/", "/simple/by-tls/", "/simple/nothing/", "/")
        ),
        *(
            ("GET", path, filled.auth)
            for path in ("/simple/acme-x/", "/packages/x/x-1.0.zip", "/simple/By.Tls/", "/a/b")
        ),
        ("GET", f"/packages/by-tls/{wheels.wheel('by-tls', '1.0')[0]}", filled.auth),
        ("GET", "/simple/", None),
        ("PUT", "/simple/", filled.auth),
        ("PUT", "/", filled.auth),
        ("TRACE", "/", None),
        ("TRACE", "/", filled.auth),
        ("GET", "/simple/?ppm_", filled.auth),
    ):
        answer = filled.request(method, path, auth=auth)
        statuses.add(answer.status_code)
        assert answer.raw.headers.getlist("Strict-Transport-Security") == [HSTS], (method, path)
        assert answer.raw.headers.getlist("X-Content-Type-Options") == ["nosniff"], (method, path)
        assert len(answer.raw.headers.getlist("Content-Security-Policy")) == 1, (method, path)
        assert answer.headers["Server"] == "nginx"
    assert statuses == {200, 301, 302, 401, 404, 405}


def plain(site: Site) -> str:
    return f"http://localhost:{site.places.plain_port}"


def test_plain_http_redirects_to_https(filled: Site) -> None:
    """Only the CA's challenges are served over plain HTTP; an upload with a credential is refused."""
    for path in ("/", "/simple/", "/simple/by-tls/", "/healthz", "/a?b=c&d"):
        answer = requests.get(plain(filled) + path, allow_redirects=False, timeout=60)
        assert (answer.status_code, answer.headers["Location"]) == (301, f"https://localhost{path}")
    refused = requests.post(plain(filled), auth=filled.auth, files={"content": b"x"}, timeout=60)
    assert refused.status_code == 403
    assert "https://localhost/" in refused.text
    assert refused.text.count("\n") == 1


def test_acme_challenges_are_served_over_plain_http(filled: Site) -> None:
    """They are public (RFC 8555), and no file outside of their folder is served."""
    folder = filled.places.acme / ".well-known" / "acme-challenge"
    folder.mkdir(parents=True)
    (folder / "token").write_text("token.thumbprint")
    (filled.places.acme / "beside").write_text("hidden")
    answer = requests.get(f"{plain(filled)}/.well-known/acme-challenge/token", timeout=60)
    assert (answer.status_code, answer.text) == (200, "token.thumbprint")
    assert answer.headers["Content-Type"].startswith("text/plain")
    target = Target(
        address="127.0.0.1",
        name="localhost",
        user="",
        secret="",
        project="",
        file="",
        plain_port=filled.places.plain_port,
    )
    for path in ("none", "", "../beside", "..%2fbeside", "../../beside", "..%2f..%2fbeside", "%2e%2e/%2e%2e/beside"):
        sent = raw.request(target, f"GET /.well-known/acme-challenge/{path}", auth=None)
        reply = raw.send(target, sent, plain=True)
        assert b"hidden" not in reply.raw
        assert reply.statuses[0] in (301, 403, 404), path


def test_a_reload_serves_a_new_certificate_and_keeps_connections(site: Site) -> None:
    """A renewal reloads nginx: open connections continue, and new ones get the new certificate."""

    def served() -> str:
        return ssl.get_server_certificate(("localhost", site.port), timeout=60)

    with requests.Session() as session:
        session.auth, session.verify, session.trust_env = site.auth, str(site.ca), False
        assert session.get(f"{site.url}/simple/", timeout=60).status_code == 200
        old = served()
        webserver.make_certificate(site.tree, site.ca, site.places.tls)
        site.reload()
        until(lambda: served() != old, "the new certificate", seconds=10)
        assert session.get(f"{site.url}/simple/", timeout=60).status_code == 200
    assert served() in (site.places.tls / "fullchain.pem").read_text()


@debian.only(13)
def test_ppmctl_trusts_the_ca_certificates_of_the_system(filled: Site, tmp_path: Path) -> None:
    """A company installs its CA on a machine once; REQUESTS_CA_BUNDLE replaces the system's CAs."""
    bare = {name: value for name, value in clean_environment(tmp_path).items() if name not in CA_VARIABLES}
    credential = {"PPMCTL_USERNAME": filled.user, "PPMCTL_TOKEN": filled.secret}
    listing = ("package", "list", "--index", filled.url)
    ppmctl(*listing, env=bare | credential | {"SSL_CERT_FILE": str(filled.ca)})
    other = tmp_path / "other.pem"
    other.write_bytes(Path(certifi.where()).read_bytes())
    for environ in ({}, {"SSL_CERT_FILE": str(filled.ca), "REQUESTS_CA_BUNDLE": str(other)}):
        assert "is not trusted" in ppmctl(*listing, env=bare | credential | environ, expect=1).stderr
