"""nginx in front of the application answers like the embedded server; the table is in tests/support/answers.py."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from support import answers, debian, servers
from support.answers import Party
from support.servers import ppmctl
from support.webserver import Site

SETTINGS = {
    "ordinary": {},
    "public": {"ppm_read_access": "public"},
    "alone": {"ppm_upstream": "none", "ppm_tls": "none", "ppm_private_names": []},
}


@debian.with_each("name", {12: ["ordinary", "alone"], 13: ["ordinary", "public"]})
def test_nginx_answers_as_the_embedded_server_does(name: str, new_site: Callable[..., Site]) -> None:
    """Clients must see no difference, because each client was tested with only one of them."""
    site = new_site(**SETTINGS[name])
    answers.fill(site, lambda command: ppmctl(*shlex.split(command), "--root", str(site.root)))
    embedded = servers.start(site.root, environ=site.environ)
    try:
        count, differences = answers.differences(
            Party(url=site.url, auth=site.auth, ca=site.ca if site.has_tls else None),
            Party(url=f"http://localhost:{embedded.port}", auth=site.auth),
        )
    finally:
        embedded.kill()
    assert not differences, "\n".join(["where they differ, nginx's answer first:", *differences])
    assert count > 900
