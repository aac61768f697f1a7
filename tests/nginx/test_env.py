"""Shared environments behind a host's nginx: served from disk over TLS, also with the application stopped."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support import clients, debian, environments
from support.clients import Machine, machine
from support.environments import revision
from support.evidence import remove_tree
from support.webserver import Site

from ppmctl.distributions.environment_revision import FILES

LOCK = 'lock-version = "1.0"\ncreated-by = "a test"\npackages = []\n'
IMMUTABLE = "max-age=31536000, immutable"


@pytest.fixture(scope="module")
def filled(new_sites: Callable[..., Site]) -> Site:
    site = new_sites(ppm_upstream="none")
    environments.fill(site)
    return site


def user(site: Site, home: Path) -> Machine:
    """Return a user's machine with a netrc file, which trusts the site's certificate."""
    made = machine(home)
    netrc = made.home / ".netrc"
    netrc.write_text(f"machine localhost login {site.user} password {site.secret}\n")
    netrc.chmod(0o600)
    trust = {"PIP_CERT": str(site.ca), "SSL_CERT_FILE": str(site.ca), "REQUESTS_CA_BUNDLE": str(site.ca)}
    return Machine(home=made.home, environ={**made.environ, **trust})


@debian.only(13)
def test_pip_and_uv_install_an_environment_without_the_application(filled: Site, tmp_path: Path) -> None:
    with filled.without_application():
        versions = environments.installs(filled, user(filled, tmp_path / "home"), clients.pip_library())
    assert versions == dict.fromkeys(versions, "1.0")
    assert len(versions) == 11


def test_content_type_and_caching_of_environment_files(filled: Site) -> None:
    """A revision is immutable, the latest is revalidated each time, and both need a credential."""
    for made in (revision("served", 1, "numpy", lock=LOCK), revision("served", 2, "numpy", lock=LOCK)):
        assert filled.upload(made).status_code == 200
    with filled.without_application():
        for path in (*(f"1/{name}" for name in FILES), *FILES, ""):
            answer = filled.get(f"/env/served/{path}")
            assert answer.status_code == 200
            kind = "application/json" if not path or path.endswith("json") else "text/plain; charset=utf-8"
            assert answer.headers["Content-Type"] == kind
            assert answer.headers["Cache-Control"] == (
                f"{IMMUTABLE}, private" if path.startswith("1/") else "no-cache"
            )
            if path and not path.endswith("json"):
                number = "1" if path.startswith("1/") else "2"
                assert answer.text.startswith(f"# ppm-env-served, revision {number}\n")
            again = filled.get(f"/env/served/{path}", headers={"If-None-Match": answer.headers["ETag"]})
            assert again.status_code == 304
            for auth in (None, ("admin", "ppm_wrong")):
                assert filled.get(f"/env/served/{path}", auth=auth).status_code == 401
        for path in ("3/env.json", "latest/env.json", "1/other.txt", ".latest"):
            assert filled.get(f"/env/served/{path}").status_code in (404, 503), path


@debian.only(12)
def test_environments_with_public_reads(new_site: Callable[..., Site]) -> None:
    """Environments are public too, but an unknown environment is not redirected: anyone could register its name."""
    site = new_site(ppm_read_access="public", ppm_private_names=[])
    assert site.upload(revision("open", 1, "numpy")).status_code == 200
    with site.without_application():
        for path, cache in (
            ("1/env.json", f"{IMMUTABLE}, public"),
            ("env.json", "no-cache"),
            ("", "no-cache"),
        ):
            answer = site.get(f"/env/open/{path}", auth=None)
            assert (answer.status_code, answer.headers["Cache-Control"]) == (200, cache)
        assert site.get("/simple/ppm-env-nowhere/", auth=None).status_code == 404
        assert site.get("/simple/ppm-envy/", auth=None).status_code == 302
    assert site.get("/env/", auth=None).json()["environments"][0]["name"] == "open"


def test_the_latest_revision_follows_uploads_and_deleted_pages_are_rebuilt(filled: Site) -> None:
    """Clients see a new revision at once, and the previous one after a yank; index/ can be deleted at any time."""
    etag = '"none"'
    seen = set()
    for number in (1, 2, 3):  # of the same size, within the same second
        assert filled.upload(revision("moves", number, f"numpy=={number}")).status_code == 200
        answer = filled.get("/env/moves/requirements.txt", headers={"If-None-Match": etag})
        assert (answer.status_code, answer.text.splitlines()[1:]) == (200, [f"numpy=={number}"])
        etag = answer.headers["ETag"]
        seen.add(etag)
    assert len(seen) == 3
    pinned = filled.get("/env/moves/3/requirements.txt")
    assert filled.request("PUT", "/api/packages/ppm-env-moves/3/yank").status_code == 200
    assert filled.get("/env/moves/requirements.txt").text.splitlines()[1:] == ["numpy==2"]
    remove_tree(filled.root / "index")
    with filled.without_application():
        assert filled.get("/env/moves/requirements.txt").status_code == 503
        assert filled.get("/env/nowhere/requirements.txt").status_code == 404
        assert filled.get("/env/moves/requirements.txt", auth=None).status_code == 401
    shutil.rmtree(filled.root / "index" / "env", ignore_errors=True)
    assert filled.get("/env/moves/requirements.txt").text.splitlines()[1:] == ["numpy==2"]
    again = filled.get("/env/moves/3/requirements.txt")
    assert (again.content, again.headers["ETag"]) == (pinned.content, pinned.headers["ETag"])


def test_the_list_of_environments_needs_a_credential_and_the_application(filled: Site) -> None:
    names = [entry["name"] for entry in filled.get("/env/?limit=5").json()["environments"]]
    assert environments.TEAM in names
    assert filled.get("/env/", auth=None).status_code == 401
    with filled.without_application():
        assert filled.get("/env/").status_code == 503
