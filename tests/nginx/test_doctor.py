"""`ppmctl doctor` with a deployed index: over TLS, with a certificate of a private CA."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from support import debian, rendering, wheels
from support.servers import PPMCTL, clean_environment, ppmctl
from support.webserver import Site

OTHER_CERTIFICATE = "no certificate"
_REMOVED_VARIABLES = ("_PROXY", "_CA_BUNDLE", "_CERT", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture
def environ(site: Site, tmp_path: Path) -> dict[str, str]:
    variables = {
        name: value
        for name, value in clean_environment(tmp_path / "home").items()
        if not name.upper().endswith(_REMOVED_VARIABLES)
    }
    return variables | {
        "PATH": "/usr/sbin:/sbin",  # without pip and the other clients, which are not checked here
        "PPMCTL_USERNAME": site.user,
        "PPMCTL_TOKEN": site.secret,
        "REQUESTS_CA_BUNDLE": str(site.ca),
    }


def states(site: Site, environ: dict[str, str], *options: str, expect: int) -> dict[str, str]:
    command = [*PPMCTL, "doctor", site.url, "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environ, cwd=environ["HOME"])
    assert (done.returncode, done.stderr) == (expect, ""), done.stdout
    return {each["check"]: each["state"] for each in json.loads(done.stdout)["findings"]}


@debian.only(12)
def test_doctor_finds_nothing_wrong_with_a_deployed_index(site: Site, environ: dict[str, str]) -> None:
    """All checks pass."""
    assert site.upload(wheels.wheel("by-doctor", "1.0", requires_python=">=3.8")).status_code == 200
    found_states = states(site, environ, expect=0)
    asked = ("proxy", "dns", "tcp", "clock", "tls", "url", "credential", "login", "places")
    offered = ("api", "hashes", "times", "metadata", "pages", "files", "uploads")
    expected = dict.fromkeys((*asked, *offered), "ok")
    assert {check: found_states.get(check) for check in expected} == expected
    assert not {"vary", "gzip"} & set(found_states)


@debian.only(12)
def test_doctor_publishes_a_probe_and_finds_unexpected_settings(site: Site, environ: dict[str, str]) -> None:
    """It does what a host's self-check does; settings that differ from the expected ones are found."""
    expected = {
        "tls": "letsencrypt",
        "read_access": "authenticated",
        "upstream": "redirect",
        "upstream_url": rendering.UPSTREAM,
        "private_names": ["acme-*", "Billing"],
        "hsts_max_age": 63072000,
        "publish": "1795911278.1",
        "certificate": (site.places.tls / "fullchain.pem").read_text(),
    }
    reported = states(site, environ, "--expect", json.dumps(expected), expect=0)
    assert set(reported.values()) == {"ok"}, reported
    by_host = {"nginx", "versions", "http2", "strangers", "health", "headers", "anonymous", "secret", "upstream"}
    by_probe = {"refusals", "publish", "immutable", "listed", "page", "reader", "revoked", "install"}
    assert reported.keys() >= {*by_host, *by_probe, "private", "side files", "pages", "files", "metadata"}
    filename = "ppm_self_check-1795911278.1-py3-none-any.whl"
    assert site.get(f"/packages/ppm-self-check/{filename}", auth=(site.user, site.secret)).status_code == 200
    removed = json.dumps(expected | {"removed": ["1795911278.1"]})
    assert states(site, environ, "--expect", removed, expect=1) == {"removed": "fail"}
    ppmctl("package", "remove", "ppm-self-check", "1795911278.1", "--yes", "--root", str(site.root))
    assert states(site, environ, "--expect", removed, expect=0) == {"removed": "ok"}
    other = expected | {
        "upstream": "none",
        "hsts_max_age": 5,
        "read_access": "public",
        "certificate": OTHER_CERTIFICATE,
        "publish": "",
    }
    reported = states(site, environ, "--expect", json.dumps(other), expect=1)
    wrong = [check for check, state in reported.items() if state == "fail"]
    assert wrong == ["headers", "upstream", "anonymous", "files"]
    assert reported["nginx"] == "skip"


@debian.only(12)
def test_what_nginx_serves_without_the_application_is_healthy(site: Site, environ: dict[str, str]) -> None:
    """The self-check of a host whose application is down names what does not work, and not the pages.

    doctor once asked for HTML with a header for which nginx asks the application.
    """
    assert site.upload(wheels.wheel("by-doctor", "2.0", requires_python=">=3.8")).status_code == 200
    with site.without_application():
        by_check = states(site, environ, expect=0)
    offered = ("api", "hashes", "times", "metadata", "pages", "files", "uploads")
    assert {check: by_check.get(check) for check in offered} == dict.fromkeys(offered, "ok")
    assert by_check["login"] == "warn"
