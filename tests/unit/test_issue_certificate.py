"""Tests of the explanations of certbot's errors. The outputs are certbot's, without the lines on its log."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOMAIN = "packages.example.com"


def refused(kind: str, detail: str) -> str:
    """Return certbot's output if the authority's check of the domain failed."""
    return f"""\
Saving debug log to /var/log/letsencrypt/letsencrypt.log
Requesting a certificate for {DOMAIN}

Certbot failed to authenticate some domains (authenticator: webroot). The Certificate Authority reported these:
  Domain: {DOMAIN}
  Type:   {kind}
  Detail: {detail}

Hint: The Certificate Authority failed to download the temporary challenge files created by Certbot.

Some challenges have failed.
Ask for help or search for solutions at https://forum.example. See the logfile for more details.
"""


def unexpected(error: str) -> str:
    return f"An unexpected error occurred:\n{error}\nAsk for help or search for solutions. See the logfile.\n"


def unreachable(why: str) -> str:
    pool = "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='acme.example', port=443)"
    return unexpected(f"{pool}: Max retries exceeded with url: /dir (Caused by {why})")


DNS = f"the authority finds no address for {DOMAIN} (DNS): make an A or AAAA record that leads to this host"
PORT_80 = f"the authority did not reach this nginx at http://{DOMAIN}/ (port 80): open port 80"
RATE = "the authority takes no more requests for this name for now (rate limit): wait for the time that it names"
AWAY = "this host does not reach the authority: see ppm_acme_directory"
TRUST = "the authority's own certificate is not trusted by this host: put its certificate authority into ppm_ca"
ERROR = "urn:ietf:params:acme:error"

SAID = [
    (DNS, refused("dns", f"DNS problem: NXDOMAIN looking up A for {DOMAIN} - check that a DNS record exists")),
    (DNS, refused("dns", f"no valid A records found for {DOMAIN}; no valid AAAA records found for {DOMAIN}")),
    (DNS, refused("connection", f'Get "http://{DOMAIN}/": dial tcp: lookup {DOMAIN}: no such host')),
    (DNS, refused("connection", f'Get "http://{DOMAIN}:80/": could not resolve URL "http://{DOMAIN}:80/"')),
    (PORT_80, refused("connection", f"Fetching http://{DOMAIN}/: Timeout during connect (likely firewall problem)")),
    (PORT_80, refused("connection", f"192.0.2.1: Fetching http://{DOMAIN}/: Connection refused")),
    (PORT_80, refused("unauthorized", f"192.0.2.1: Invalid response from http://{DOMAIN}/: 404")),
    (RATE, unexpected("too many certificates (5) already issued for this exact set of domains in the last 168h")),
    (RATE, unexpected("Error creating new order :: Too many failed authorizations (5) in the last 1h0m0s")),
    (RATE, unexpected(f"{ERROR}:rateLimited :: There were too many requests of a given type :: retry later.")),
    (AWAY, unexpected("ValueError: Requesting acme.example/dir: Connection refused")),
    (AWAY, unreachable("NewConnectionError('Failed to establish a new connection: [Errno 111] Connection refused')")),
    (AWAY, unreachable("NameResolutionError(\"Failed to resolve 'acme.example' (Name or service not known)\")")),
    (
        TRUST,
        unreachable("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))"),
    ),
    ("the authority wants an account of yours", unexpected(f"{ERROR}:externalAccountRequired :: The request must")),
    (f"the authority gives no certificates for {DOMAIN}", unexpected(f"{ERROR}:rejectedIdentifier :: Cannot issue")),
    ("the authority does not accept ppm_acme_email", unexpected(f"{ERROR}:invalidContact :: no MX record")),
    ("certbot failed, see below", unexpected("Something new")),
]


@pytest.fixture(scope="module")
def module() -> ModuleType:
    path = Path(__file__).parents[2] / "plugins" / "module_utils" / "ppm_certificate.py"
    spec = importlib.util.spec_from_file_location("ppm_certificate", path)
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize(("meaning", "output"), SAID, ids=range(len(SAID)))
def test_an_error_of_certbot_is_explained(meaning: str, output: str, module: ModuleType) -> None:
    printed = module.explained(output, DOMAIN)
    first, _, certbots = printed.partition(". certbot printed: ")
    assert first.startswith(meaning)
    assert certbots, "certbot's output comes after it"
    assert "logfile" not in certbots


LOST = (
    unexpected(f"{ERROR}:accountDoesNotExist :: The request specified an account that does not exist :: no account"),
    unexpected("The request specified an account that does not exist :: No account exists with the provided key"),
    unexpected("unable to find existing account for only-return-existing request"),
    unexpected(f'{ERROR}:unauthorized :: Account is not valid, has status "deactivated"'),
    "Could not find an existing account for server https://acme.example/directory.\n",
    unexpected("certbot.errors.AccountNotFound: Account at /etc/letsencrypt/accounts/acme.example/1 does not exist"),
)
KNOWN = (
    "Account details for server https://acme.example/directory:\n  Account URL: https://acme.example/acct/1\n",
    unreachable("NewConnectionError('Failed to establish a new connection: [Errno 111] Connection refused')"),
    unexpected(f"{ERROR}:serverInternal :: The server experienced an internal error :: account storage"),
    unexpected(f"{ERROR}:rateLimited :: There were too many requests of a given type :: retry later."),
)


@pytest.mark.parametrize(("outputs", "lost"), [(LOST, True), (KNOWN, False)], ids=["lost", "known"])
def test_a_lost_account_is_told_from_other_errors(outputs: tuple[str, ...], lost: bool, module: ModuleType) -> None:
    """A new account is registered only if there is none, not while the authority is down."""
    assert {module.is_lost(output) for output in outputs} == {lost}


def test_without_a_certificate_no_account_is_lost(module: ModuleType, tmp_path: Path) -> None:
    arguments = {"authorities": tmp_path / "none.pem", "configuration": tmp_path}
    assert module.renew_account(DOMAIN, "admin@example.com", tmp_path, **arguments) is False
