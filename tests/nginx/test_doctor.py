"""`ppmctl doctor` of an index as it is deployed: over TLS, with a certificate of a private authority."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from support import debian, wheels
from support.servers import PPMCTL, clean_environment
from support.webserver import Site

_FOREIGN = ("_PROXY", "_CA_BUNDLE", "_CERT", "SSL_CERT_FILE", "SSL_CERT_DIR")


@debian.only(12)
def test_a_deployed_index_is_healthy(site: Site, tmp_path: Path) -> None:
    """All that is looked at is as it should be; only the certificate, of ten days, is about to end."""
    assert site.upload(wheels.wheel("by-doctor", "1.0", requires_python=">=3.8")).status_code == 200
    environ = {
        name: value
        for name, value in clean_environment(tmp_path / "home").items()
        if not name.upper().endswith(_FOREIGN)
    }
    environ |= {
        "PATH": "/usr/sbin:/sbin",  # clients are none of its business here
        "PPMCTL_USERNAME": site.user,
        "PPMCTL_TOKEN": site.secret,
        "REQUESTS_CA_BUNDLE": str(site.ca),
    }
    command = [*PPMCTL, "doctor", site.url, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environ, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    states = {each["check"]: each["state"] for each in json.loads(done.stdout)["findings"]}
    asked = ("proxy", "dns", "tcp", "clock", "tls", "url", "credential", "login", "places")
    offered = ("api", "hashes", "times", "metadata", "pages", "files", "uploads")
    expected = dict.fromkeys((*asked, *offered), "ok") | {"tls": "warn"}
    assert {check: states.get(check) for check in expected} == expected
    assert not {"vary", "gzip"} & set(states)
