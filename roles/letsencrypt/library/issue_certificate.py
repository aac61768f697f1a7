#!/usr/bin/python
"""A certificate for the index: from an ACME authority by certbot, or self-signed; put in its place whole."""

from __future__ import annotations

import os
import re
import secrets
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: issue_certificate
short_description: get a certificate from an ACME authority, or make one
options:
  domain:
    description: The name that the certificate is for.
    type: str
    required: true
  source:
    description: Where it is from, kept beside it; a later run compares it.
    type: str
    required: true
  email:
    description: The address for the authority. Without one the certificate is self-signed.
    type: str
    default: ""
  directory:
    description: The authority's directory URL; empty means certbot's default.
    type: str
    default: ""
  webroot:
    description: The folder that nginx serves challenges from.
    type: path
    default: ""
  check_first:
    description: See that the name leads here before the authority is asked.
    type: bool
    default: true
author: The ppm developers
"""

TLS = Path("/etc/ppm/tls")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
CHALLENGES = ".well-known/acme-challenge"
_YEARS = 10

# What certbot says, and what it means for somebody who has to put it right.
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
        "the authority wants an account of yours (external account binding), which certbot registers beforehand:"
        " certbot register --eab-kid … --eab-hmac-key … on the host"
    ),
    r"rejectedIdentifier|Forbidden by policy|policy forbids": (
        "the authority gives no certificates for {domain}: choose another name or authority"
    ),
    r"invalidContact|contact email": "the authority does not accept ppm_acme_email: give a real address",
}


class NotIssued(Exception):
    """No certificate was got; the message says why and what to do."""


def check_name(domain: str, webroot: Path) -> None:
    """See that the name leads to this host's nginx; NotIssued says what does not."""
    try:
        addresses = sorted({str(found[4][0]) for found in socket.getaddrinfo(domain, 80, type=socket.SOCK_STREAM)})
    except OSError as exc:
        raise NotIssued(
            f"{domain} has no address in the DNS that this host asks ({exc.strerror or exc}): make an A or AAAA"
            " record that leads to this host, and wait until it is known"
        ) from exc
    folder = webroot / CHALLENGES
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f"ppm-{secrets.token_hex(8)}"
    probe.write_text(probe.name)
    probe.chmod(0o644)
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{domain}/{CHALLENGES}/{probe.name}", timeout=15) as answer:
            got = answer.read(200).decode(errors="replace")
    except urllib.error.HTTPError as exc:
        got = f"an answer of status {exc.code}"
    except OSError as exc:
        raise NotIssued(
            f"nothing answers at http://{domain}/ (port 80 of {', '.join(addresses)}):"
            f" {getattr(exc, 'reason', exc)}. Open port 80 in the firewalls and routers in between"
        ) from exc
    finally:
        probe.unlink()
    if got != probe.name:
        raise NotIssued(
            f"{domain} leads to {', '.join(addresses)}, and another server answers there ({got[:60]!r}): make its DNS"
            " record lead to this host"
        )


def certbot(domain: str, email: str, directory: str, webroot: Path) -> Path:
    """Get a certificate by certbot; the folder that has it. NotIssued says why not."""
    command = ["certbot", "certonly", "--non-interactive", "--agree-tos", "--email", email, "--no-eff-email"]
    command += ["--webroot", "--webroot-path", str(webroot), "--domain", domain, "--cert-name", domain]
    command += ["--key-type", "ecdsa", "--renew-with-new-domains", "--force-renewal"]
    if directory:
        command += ["--server", directory]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "REQUESTS_CA_BUNDLE": str(CERTIFICATES)}
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
        env=environment,
    )
    if done.returncode != 0:
        raise NotIssued(explained(done.stdout, domain))
    return Path("/etc/letsencrypt/live") / domain


def explained(output: str, domain: str) -> str:
    """What certbot printed, in plain words first."""
    meaning = next(
        (text.format(domain=domain) for pattern, text in _MEANINGS.items() if re.search(pattern, output)),
        "certbot failed, see below",
    )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    boiler = ("Saving debug log", "Ask for help", "See the logfile", "Some challenges", "- - -")
    return f"{meaning}. certbot said: " + " | ".join(line for line in lines if not line.startswith(boiler))


def put(name: str, target: Path) -> None:
    """Let TLS/name lead to `target`, in one step."""
    temporary = TLS / f".{name}.{secrets.token_hex(4)}"
    temporary.symlink_to(target)
    temporary.replace(TLS / name)


def self_signed(domain: str) -> None:
    """Make a certificate of the host's own, and put it in its place."""
    with tempfile.TemporaryDirectory(dir=TLS) as folder:
        key, certificate = Path(folder) / "privkey.pem", Path(folder) / "fullchain.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-days", str(365 * _YEARS), "-subj", f"/CN={domain[:64]}"]
        command += [
            "-addext",
            f"subjectAltName=DNS:{domain}",
            "-addext",
            "extendedKeyUsage=serverAuth",
            "-keyout",
            str(key),
            "-out",
            str(certificate),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60)
        key.chmod(0o600)
        certificate.chmod(0o644)
        key.replace(TLS / key.name)
        certificate.replace(TLS / certificate.name)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "domain": {"type": "str", "required": True},
            "source": {"type": "str", "required": True},
            "email": {"type": "str", "default": ""},
            "directory": {"type": "str", "default": ""},
            "webroot": {"type": "path", "default": ""},
            "check_first": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        if given["email"]:
            webroot = Path(given["webroot"])
            if given["check_first"]:
                check_name(given["domain"], webroot)
            live = certbot(given["domain"], given["email"], given["directory"], webroot)
            for name in ("privkey.pem", "fullchain.pem"):
                put(name, live / name)
        else:
            self_signed(given["domain"])
        (TLS / "source").write_text(given["source"] + "\n")
    except NotIssued as exc:
        module.fail_json(msg=f"No certificate for {given['domain']}: {exc}")
    except subprocess.SubprocessError as exc:
        module.fail_json(msg=f"No certificate for {given['domain']}: {exc}")
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
