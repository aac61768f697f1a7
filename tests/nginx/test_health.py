"""`/healthz` opens a page, `/healthz/write` asks the application; `/metrics` by a token, and on the loopback."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from support import debian, limited, wheels
from support.evidence import until
from support.servers import free_port, ppmctl
from support.webserver import Site

READS, WRITES = "/healthz", "/healthz/write"


@pytest.fixture(scope="module")
def site(new_sites: Callable[..., Site]) -> Site:
    """Return an index that also has an address for metrics on the loopback."""
    made = new_sites(ppm_metrics="loopback", ppm_metrics_port=free_port())
    assert made.upload(wheels.wheel("watched", "1.0")).status_code == 200
    return made


def asked(site: Site, path: str, **options: object) -> tuple[int, str]:
    answer = site.get(path, **({"auth": None} | options))
    assert answer.status_code != 503 or int(answer.headers["Retry-After"]) > 0
    return answer.status_code, answer.text


def loopback(site: Site) -> str:
    text = (site.places.configuration.parent / "ppm" / "site.conf").read_text()
    return f"http://127.0.0.1:{re.findall(r'listen 127.0.0.1:([0-9]+);', text)[-1]}"


def test_reads_work_without_the_application_and_publishing_does_not(site: Site) -> None:
    assert (asked(site, READS), asked(site, WRITES)) == ((200, "ok\n"), (200, "ok\n"))
    with site.without_application():
        assert asked(site, READS) == (200, "ok\n")
        status, reason = asked(site, WRITES)
        assert (status, reason.count("\n")) == (503, 1)
        assert "can't process this request now; installs still work" in reason
        assert site.get("/simple/watched/").status_code == 200


def test_pages_that_can_not_be_read(site: Site) -> None:
    """No part of the page is in an answer, and the name of another credential makes no difference."""
    page = site.root / "index" / "simple" / "index.json"
    aside = page.with_name("aside")
    auth = limited.add(site, "watching")
    page.rename(aside)
    try:
        for name in (None, (auth[0], "wrong"), site.auth):
            assert asked(site, READS, auth=name) == (503, "The pages can't be read\n")
        page.mkdir()  # exists, and can't be read as a file
        assert asked(site, READS)[0] == 503
        page.rmdir()
        with site.without_application():
            assert asked(site, READS)[0] == 503
    finally:
        aside.rename(page)
    for name in (None, (auth[0], "wrong"), site.auth):
        assert asked(site, READS, auth=name) == (200, "ok\n")
    assert site.get("/.readable", auth=None).status_code == 401
    for who in (site.auth, auth):
        assert site.get("/.readable", auth=who).status_code == 404


def test_a_volume_that_can_not_be_written(site: Site) -> None:
    """A result counts for five seconds."""
    blocked = site.root / "incoming" / ".health"
    blocked.mkdir()
    try:
        until(lambda: asked(site, WRITES) == (503, "The volume can't be written: Is a directory\n"), "it fails")
        assert asked(site, READS) == (200, "ok\n")
    finally:
        blocked.rmdir()
    until(lambda: asked(site, WRITES) == (200, "ok\n"), "it works")


def test_a_monitors_token_reads_the_metrics_alone(site: Site) -> None:
    """nginx must serve it nothing from disk, not even while the application is down."""
    name = "monitoring+nginx"
    secret = ppmctl("token", "create", name, "--role", "monitor", "--root", str(site.root)).stdout.strip()
    auth = (name, secret)
    assert "ppm_build_info" in site.get("/metrics", auth=auth).text
    assert site.get("/metrics", auth=None).status_code == 401
    file = f"/packages/watched/{wheels.wheel('watched', '1.0')[0]}"
    paths = (
        "/simple/",
        "/simple/watched/",
        file,
        f"{file}.metadata",
        "/env/x/env.json",
        "/api/packages",
        "/simple/no/",
    )
    for path in paths:
        assert site.get(path, auth=auth).status_code == 403, path
    assert site.upload(wheels.wheel("by-a-monitor", "1.0"), auth=auth).status_code == 403
    with site.without_application():
        for path in (*paths, "/metrics"):
            assert site.get(path, auth=auth).status_code == 503, path


def test_the_loopback_has_an_address_for_metrics_alone(site: Site) -> None:
    local = loopback(site)
    assert "ppm_build_info" in requests.get(f"{local}/metrics", timeout=20).text
    for path in ("/simple/", "/", "/healthz", "/api/packages"):
        assert requests.get(f"{local}{path}", timeout=20).status_code == 404, path
    assert requests.get(f"{local}/metrics", headers={"Host": "evil.example"}, timeout=20).status_code == 401
    # the public address is on the loopback here too
    for headers in ({}, {"X-Ppm-Loopback": "yes"}, {"X_Ppm_Loopback": "yes"}, {"X-Real-IP": "127.0.0.1"}):
        assert site.get("/metrics", auth=None, headers=headers).status_code == 401, headers


@debian.only(13)
def test_public_reads_do_not_open_the_metrics(new_site: Callable[..., Site], tmp_path: Path) -> None:
    site = new_site(ppm_read_access="public")
    assert site.get("/simple/", auth=None).status_code == 200
    assert site.get("/metrics", auth=None).status_code == 401
    assert "ppm_build_info" in site.get("/metrics").text
