"""Get a certificate from an ACME authority with certbot: check the DNS first, and explain errors.

The module issue_certificate and the image docker/certbot use it, so it imports only the standard library.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import http.server
import os
import re
import secrets
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

CHALLENGES = ".well-known/acme-challenge"
_ASK_SECONDS = 15
_DRAIN_SECONDS = 2  # for the copies of other packets at a busy host
_CERTBOT_SECONDS = 600
_PORT_80 = (80).to_bytes(2, "big")
# certbot's output if the authority does not know the account, or if it has none
_LOST_ACCOUNT = (
    r"accountDoesNotExist|[Nn]o account exists|account that does not exist|[Uu]nable to find existing account"
    r"|[Aa]ccount.*deactivated|Could not find an existing account|Account at .* does not exist"
)

# Patterns of certbot's output, each with an explanation for the administrator.
_MEANINGS = {
    r"rateLimited|[Tt]oo many (certificates|failed|new orders|requests)": (
        "the authority takes no more requests for this name for now (rate limit): wait for the time that it names"
        " below, and try with its staging directory (ppm_acme_directory) meanwhile"
    ),
    r"CERTIFICATE_VERIFY_FAILED|SSLError": (
        "the authority's own certificate is not trusted by this host: put its certificate authority into"
        " ppm_ca_certificates"
    ),
    r"NewConnectionError|Max retries exceeded|ValueError: Requesting|Name or service not known|Temporary failure": (
        "this host does not reach the authority: see ppm_acme_directory, ppm_proxy_url and the host's own DNS"
    ),
    r"Type: +dns|NXDOMAIN|DNS problem|no valid (A|IP) records|could not resolve|no such host": (
        "the authority finds no address for {domain} (DNS): make an A or AAAA record that leads to this host"
    ),
    r"Type: +(connection|unauthorized)": (
        "the authority did not reach this nginx at http://{domain}/ (port 80): open port 80 in the firewalls and"
        " routers in between, and see that {domain} leads to this host and to no other"
    ),
    r"externalAccountRequired|[Ee]xternal account": (
        "the authority wants an account of yours (external account binding), which certbot registers before:"
        " certbot register --eab-kid … --eab-hmac-key … where certbot runs"
    ),
    r"rejectedIdentifier|Forbidden by policy|policy forbids": (
        "the authority gives no certificates for {domain}: choose another name or authority"
    ),
    r"invalidContact|contact email": "the authority does not accept ppm_acme_email: give a real address",
}


class NotIssued(Exception):
    """There is no certificate; the message has the reason and a hint."""


def check_name(domain: str, webroot: Path) -> None:
    """Check that the name leads to this host's nginx. Raise NotIssued if it does not."""
    addresses = resolve(domain)
    with challenge(webroot) as name:
        _ask_for(name, domain, addresses)


def check_name_without_server(domain: str) -> None:
    """Check that the name leads to this host, and change nothing on it. Raise NotIssued if it does not.

    Listens on port 80 meanwhile. If a program has that port, looks whether a request to the name arrives there.
    """
    addresses = resolve(domain)
    name = f"ppm-{secrets.token_hex(8)}"
    try:
        server = _Server(("", 80), _answering(name))
    except OSError:
        check_arrival(name, domain, addresses)
        return
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        _ask_for(name, domain, addresses)
    finally:
        server.shutdown()
        server.server_close()


def resolve(domain: str) -> list[str]:
    """Return the addresses of the name. Raise NotIssued if it has none."""
    try:
        return sorted({str(info[4][0]) for info in socket.getaddrinfo(domain, 80, type=socket.SOCK_STREAM)})
    except OSError as exc:
        raise NotIssued(
            f"{domain} has no address in the DNS that this host asks ({exc.strerror or exc}): make an A or AAAA"
            " record that leads to this host, and wait until the DNS has it"
        ) from exc


def _ask_for(name: str, domain: str, addresses: list[str]) -> None:
    try:
        content = ask(domain, f"/{CHALLENGES}/{name}")
    except OSError as exc:
        raise _no_answer(domain, addresses, exc) from exc
    if content != name:
        raise _other_server(domain, addresses, content)


def check_arrival(name: str, domain: str, addresses: list[str]) -> None:
    """Check that a request to the name arrives at port 80 of this host, whatever answers it.

    The kernel copies the packets that it delivers to raw sockets (raw(7)). A container may lack CAP_NET_RAW, which
    they need; then only the DNS has been checked.
    """
    answered = threading.Event()
    with contextlib.ExitStack() as opened, concurrent.futures.ThreadPoolExecutor(1) as threads:
        try:
            families = (socket.AF_INET, socket.AF_INET6) if socket.has_ipv6 else (socket.AF_INET,)
            raw = [socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP) for family in families]
            copies = [opened.enter_context(each) for each in raw]
        except OSError:
            return
        arrives = threads.submit(_is_delivered, name.encode(), copies, answered)
        problem: NotIssued
        try:
            problem = _other_server(domain, addresses, ask(domain, f"/{CHALLENGES}/{name}"))
        except OSError as exc:
            problem = _no_answer(domain, addresses, exc)
        finally:
            answered.set()
        if not arrives.result():
            raise problem


def _is_delivered(text: bytes, copies: list[socket.socket], answered: threading.Event) -> bool:
    """Return whether a packet for port 80 contains the text: it is in a copy before the request can be answered."""
    until = float("inf")
    while time.monotonic() < until:
        is_last = answered.is_set()
        ready = select.select(copies, [], [], 0.1)[0]
        for each in ready:
            packet = each.recv(1 << 16)
            # an IPv4 packet begins with its IP header, whose length is in words of 4 bytes
            header = (packet[0] & 15) * 4 if each.family == socket.AF_INET else 0
            if packet[header + 2 : header + 4] == _PORT_80 and text in packet:
                return True
        if is_last:
            until = min(until, time.monotonic() + _DRAIN_SECONDS) if ready else 0.0
    return False


def _no_answer(domain: str, addresses: list[str], exc: OSError) -> NotIssued:
    return NotIssued(
        f"nothing answers at http://{domain}/ (port 80 of {', '.join(addresses)}):"
        f" {getattr(exc, 'reason', exc)}. Open port 80 in the firewalls and routers in between"
    )


def _other_server(domain: str, addresses: list[str], content: str) -> NotIssued:
    return NotIssued(
        f"{domain} leads to {', '.join(addresses)}, and another server answers there ({content[:60]!r}): make its"
        " DNS record lead to this host"
    )


class _Server(http.server.ThreadingHTTPServer):
    """A server on all IPv4 and IPv6 addresses."""

    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super(http.server.HTTPServer, self).server_bind()  # HTTPServer's own asks the DNS for a name


def _answering(text: str) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextlib.contextmanager
def challenge(webroot: Path) -> Iterator[str]:
    """Put a file among the challenges that nginx serves, and remove it at the end. Its content is its name."""
    folder = webroot / CHALLENGES
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f"ppm-{secrets.token_hex(8)}"
    probe.write_text(probe.name)
    probe.chmod(0o644)
    try:
        yield probe.name
    finally:
        probe.unlink()


def ask(server: str, path: str, *, host: str = "") -> str:
    """Return the start of a server's answer, asked directly as an authority does. Raise OSError without an answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(f"http://{server}{path}", headers={"Host": host or server})
    try:
        with opener.open(request, timeout=_ASK_SECONDS) as answer:
            return str(answer.read(200).decode(errors="replace"))
    except urllib.error.HTTPError as exc:
        with exc:
            return f"an answer of status {exc.code}"
    except http.client.HTTPException as exc:
        return f"an answer that is not HTTP: {exc!r}"


def issue(domain: str, email: str, directory: str, webroot: Path, *more: str, authorities: Path) -> None:
    """Get a certificate into certbot's lineage `domain`. Raise NotIssued with the reason if that fails.

    `directory` is the authority's, or empty for certbot's default; `authorities` are trusted for its HTTPS; `more`
    are options of certbot.
    """
    arguments = ["certonly", "--agree-tos", "--email", email, "--no-eff-email"]
    arguments += ["--webroot", "--webroot-path", str(webroot), "--domain", domain, "--cert-name", domain]
    arguments += ["--key-type", "ecdsa", "--renew-with-new-domains", "--force-renewal"]
    if directory:
        arguments += ["--server", directory]
    certbot(domain, *arguments, *more, authorities=authorities)


def renew_account(domain: str, email: str, webroot: Path, *, authorities: Path, configuration: Path) -> bool:
    """Register a new account and get a new certificate if the authority has lost the account; return whether it had.

    certbot's own renewal only fails then. `configuration` is certbot's folder; the old account is moved to
    `forgotten-accounts` there, and the hooks of a renewal are run. Raise NotIssued with the reason if it fails.
    """
    try:
        settings = (configuration / "renewal" / f"{domain}.conf").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    account, server = (_setting(settings, name) for name in ("account", "server"))
    with tempfile.TemporaryDirectory(prefix="ppm-certbot-") as logs:
        show = ("show_account", "--server", server, "--account", account, "--logs-dir", logs)
        done = _run_certbot(*show, authorities=authorities)
        # Debian 12's certbot prints only `AttributeError: can't set attribute`; the authority's answer is in its log
        log = "".join(path.read_text(errors="replace") for path in Path(logs).glob("*.log"))
    if done.returncode == 0 or not is_lost(done.stdout + log):
        return False
    folder = configuration / "accounts" / server.partition("://")[2].rstrip("/") / account
    if account and folder.is_dir():
        kept = configuration / "forgotten-accounts"
        kept.mkdir(mode=0o700, exist_ok=True)
        # rename(2) can't move a folder of a lower layer of an overlay file system, such as a container's
        shutil.move(folder, kept / f"{account}-{secrets.token_hex(4)}")
    # not every version of certbot runs the hooks here
    issue(domain, email, server, webroot, "--no-directory-hooks", authorities=authorities)
    environment = {"RENEWED_LINEAGE": str(configuration / "live" / domain), "RENEWED_DOMAINS": domain}
    for hook in sorted((configuration / "renewal-hooks" / "deploy").glob("*[!~]")):
        if os.access(hook, os.X_OK):
            subprocess.run([hook], check=False, env={**os.environ, **environment}, timeout=_CERTBOT_SECONDS)
    return True


def is_lost(output: str) -> bool:
    """Return whether certbot's output means that the authority does not know the account, or that there is none."""
    return re.search(_LOST_ACCOUNT, output) is not None


def _setting(settings: str, name: str) -> str:
    match = re.search(rf"(?m)^{name} *= *(\S+)$", settings)
    return match[1] if match else ""


def certbot(domain: str, *arguments: str, authorities: Path) -> None:
    """Run certbot for a name. Raise NotIssued with an explanation if it fails."""
    done = _run_certbot(*arguments, authorities=authorities)
    if done.returncode != 0:
        raise NotIssued(explained(done.stdout, domain))


def _run_certbot(*arguments: str, authorities: Path) -> subprocess.CompletedProcess[str]:
    """Run certbot, with its errors in stdout. Raise NotIssued if it does not end."""
    try:
        return subprocess.run(
            ["certbot", *arguments, "--non-interactive"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_CERTBOT_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8", "REQUESTS_CA_BUNDLE": str(authorities)},
        )
    except subprocess.TimeoutExpired as exc:
        raise NotIssued(f"certbot did not end after {_CERTBOT_SECONDS} s: see ppm_acme_directory") from exc


def explained(output: str, domain: str) -> str:
    """Return an explanation of certbot's output, followed by the output."""
    meaning = next(
        (text.format(domain=domain) for pattern, text in _MEANINGS.items() if re.search(pattern, output)),
        "certbot failed, see below",
    )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    boiler = ("Saving debug log", "Ask for help", "See the logfile", "Some challenges", "- - -")
    return f"{meaning}. certbot printed: " + " | ".join(line for line in lines if not line.startswith(boiler))


def self_signed(folder: Path, domain: str, *, days: int, subject: str = "") -> None:
    """Make a self-signed certificate: fullchain.pem, and privkey.pem with mode 0600."""
    key, certificate = folder / "privkey.pem", folder / "fullchain.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", str(days), "-subj", f"/CN={subject or domain[:64]}"]
    command += ["-addext", f"subjectAltName=DNS:{domain}", "-addext", "extendedKeyUsage=serverAuth"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60)
    key.chmod(0o600)
    certificate.chmod(0o644)
