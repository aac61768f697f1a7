"""`ppmctl package` behind nginx: reading works without the application, and changes are visible at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support import debian, wheels
from support.clients import Machine, machine, run
from support.servers import ppmctl
from support.webserver import Site


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    site = new_site(ppm_upstream="redirect")
    for made in (
        wheels.wheel("sea-maps", "1.0+x.1", summary="Draws the sea"),
        wheels.sdist("sea-maps", "0.9", summary="Draws the sea"),
    ):
        assert site.upload(made).status_code == 200
    return site


def user_machine(site: Site, home: Path, name: str, role: str) -> Machine:
    secret = ppmctl("user", "add", name, "--role", role, "--root", str(site.root)).stdout.strip()
    credential = {"PPMCTL_USERNAME": name, "PPMCTL_TOKEN": secret, "REQUESTS_CA_BUNDLE": str(site.ca)}
    made = machine(home / name)
    return Machine(home=made.home, environ={**made.environ, **credential, "PPMCTL_INDEX": site.url})


@debian.only(12)
def test_ppmctl_package_over_nginx(site: Site, tmp_path: Path) -> None:
    reader = user_machine(site, tmp_path, "reader", "reader")
    publisher = user_machine(site, tmp_path, "publisher", "publisher")
    admin = user_machine(site, tmp_path, "admin-too", "admin")
    found = [{"name": "sea-maps", "version": "1.0+x.1", "summary": "Draws the sea"}]
    search = ("package", "search", "SEA", "draws", "--json")
    assert json.loads(run(reader, *search)) == found
    assert "no project 'requests'" in run(reader, "package", "show", "requests", expect=1), "it is only redirected"
    with site.without_application():
        assert run(reader, "package", "list") == "sea-maps\n"
        assert json.loads(run(reader, *search)) == found
        run(reader, "package", "download", "sea-maps", "--all")
        assert "Try again in a moment" in run(publisher, "package", "yank", "sea-maps", "0.9", expect=1)
    assert {path.name for path in reader.home.glob("sea_maps-*")} == site.filenames("sea-maps")
    assert "does not allow this" in run(reader, "package", "yank", "sea-maps", "0.9", expect=4)
    assert "does not allow this" in run(publisher, "package", "remove", "sea-maps", "0.9", "--yes", expect=4)
    run(publisher, "package", "yank", "sea-maps", "1.0+x.1", "--reason", "fog")
    assert json.loads(run(reader, *search)) == [{**found[0], "version": "0.9"}]
    run(admin, "package", "remove", "sea-maps", "sea_maps-0.9.tar.gz", "--yes")
    assert site.filenames("sea-maps") == {"sea_maps-1.0+x.1-py3-none-any.whl"}
    assert site.upload(wheels.sdist("sea-maps", "0.9")).status_code == 409
    run(admin, "package", "status", "sea-maps", "quarantined", "--reason", "looked into")
    assert run(reader, "package", "status", "sea-maps") == "quarantined  looked into\n"
    assert "It is quarantined: looked into" in run(reader, "package", "download", "sea-maps", expect=1)
