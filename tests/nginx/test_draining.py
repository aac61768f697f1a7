"""Before nginx's workers end, answers end their connections: a request over one that closes would fail."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support import debian, wheels
from support.evidence import until
from support.load import Wire, during, keeping
from support.rendering import DOMAIN
from support.webserver import Site

FILE = "/packages/kept-open/kept_open-1.0-py3-none-any.whl"
READS = (
    "/simple/",
    "/simple/kept-open/",
    FILE,
    f"{FILE}.metadata",
    "/healthz",
    "/healthz/write",
    "/nothing",
    "/simple/a%2Fb/?c=%3F",
    "/simple/a%25b%20c/",
    "/nothing/more?d",
    "/search?q=kept&page=1",
    "/api/whoami",
    "/account/",
    "/packages/kept-open/",
)


@pytest.fixture(scope="module")
def site(new_sites: Callable[..., Site]) -> Site:
    made = new_sites(ppm_upstream="none")
    assert made.upload(wheels.wheel("kept-open", "1.0")).status_code == 200
    lists = ("/simple/", "/search?q=kept")
    until(lambda: all("kept-open" in made.get(path).text for path in lists), "the lists have it")
    return made


def test_answers_are_the_same_and_end_their_connections(site: Site) -> None:
    credentials = {"a user": site.auth, "a secret alone": ("__token__", site.secret), "nobody": None}

    def answers(how: str) -> list[tuple[int, bytes, str]]:
        found = []
        for auth in credentials.values():
            for path in READS:
                for method in ("GET", "HEAD"):
                    answer = site.request(method, path, auth=auth)
                    assert answer.headers["Connection"] == how, (path, method, auth)
                    content = b"" if path == "/account/" else answer.content  # its forms have other tokens each time
                    found.append((answer.status_code, content, answer.headers.get("Location", "")))
        return found

    undecided = site.get("/simple/a%3Fb/").text
    before = answers("keep-alive")
    site.places.draining.touch()
    try:
        assert answers("close") == before
        for version, path, auth in (("1.1", "/", site.auth), ("1.2", "/legacy/", credentials["a secret alone"])):
            answer = site.upload(wheels.wheel("kept-open", version), path=path, auth=auth)
            assert (answer.status_code, answer.headers["Connection"]) == (200, "close")
        assert site.get("/simple/a%3Fb/").text == undecided, "without the detour"
        assert site.get("/.last-answer", auth=None).status_code == 401
    finally:
        site.places.draining.unlink()
    assert site.get("/.last-answer").status_code == site.get("/nothing").status_code
    assert site.get("/.last-answer", auth=None).status_code == 401
    assert "uninitialized" not in site.error_log()


@debian.only(13)
def test_the_script_drains_before_it_runs_a_command(
    site: Site, rendered: Callable[..., Path], tmp_path: Path
) -> None:
    text = (rendered(ppm_upstream="none") / "usr/local/lib/ppm/drain-nginx").read_text()
    script = tmp_path / "drain-nginx"
    for place, here in {"/run/nginx.draining": site.places.draining, "/run/nginx.pid": site.places.pid}.items():
        assert place in text
        text = text.replace(place, str(here))
    script.write_text(text)
    context = ssl.create_default_context(cafile=str(site.ca))
    wire = Wire(domain=DOMAIN, address="127.0.0.1", port=site.port, auth=site.auth, context=context)

    def drained(command: str) -> None:
        command = f"test -e {site.places.draining} && {command}"
        subprocess.run(["sh", script, "sh", "-c", command], timeout=60, check=True)

    def reload() -> None:
        for _ in range(2):
            drained(f"kill -HUP {site.nginx.pid}")

    def late() -> None:
        """Reload a nginx that obeys after three seconds, as on a busy machine."""
        drained(f"kill -STOP {site.nginx.pid}; kill -HUP {site.nginx.pid}; (sleep 3; kill -CONT {site.nginx.pid}) &")

    for event in (reload, late):
        with keeping(wire, "/simple/", pause=0) as kept:
            row = during(event.__name__, event, kept, least={"kept": 400})
        assert row.failures == (), event.__name__
    assert not site.places.draining.exists()
    failed = subprocess.run(["sh", script, "false"], timeout=60, check=False)
    assert failed.returncode == 1, "a failed reload is told"
