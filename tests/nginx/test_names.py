"""Private names, which are never redirected: nginx decides like the application."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from support import limited, wheels
from support.rendering import UPSTREAM
from support.servers import ppmctl
from support.webserver import Site, environment

from ppmctl.server.settings import ServerSettings, server_settings

PATTERNS = (
    *("acme-*", "Billing", "team.[a-c]*", "x[!0-9]?", "exact_Name", "*-internal", "a*b*c", "q[b]"),
    *("lib-[0-9][0-9]", "UPPER-*", "dots..and__dashes-*", "s[!a-c]t", "[mn]-?", "*.private.*"),
)
NAMES = (
    *(
        "acme-tool",
        "acme-",
        "acme",
        "acmeworks",
        "my-acme-x",
        "billing",
        "billing-2",
        "xbilling",
        "team-a",
        "team-c1",
    ),
    *("team-d", "team-", "xa1", "x11", "xab", "xa", "x-1", "exact-name", "exact-names", "some-internal", "internal"),
    *("abc", "a1b2c", "acb", "qb", "q-b", "never", "anever", "w", "wx", "v", "lib-01", "lib-1", "lib-0a", "lib-012"),
    *("upper-case", "dots-and-dashes-x", "dots-and-dashes", "sat", "sdt", "s-t", "m-1", "n-x", "mn-1", "o-1", "m-12"),
    *("a-private-b", "private-b", "a-private", "a" * 200, "0", "z9"),
)


Configured = Callable[..., tuple[Site, ServerSettings]]


@pytest.fixture
def configured(own_site: Site, rendered: Callable[..., Path], tmp_path: Path) -> Configured:
    """Return a function that configures nginx and returns the site and the application's settings."""

    def configure(**settings: Any) -> tuple[Site, ServerSettings]:
        folder = rendered(**settings)
        own_site.configure(folder)
        return own_site, server_settings(tmp_path, environ=environment(folder))

    return configure


@pytest.fixture(scope="module")
def own_site(new_sites: Callable[..., Site]) -> Site:
    return new_sites()


def test_nginx_and_the_application_match_private_names_alike(configured: Configured) -> None:
    """If nginx read a pattern differently, a private name would be redirected to the public index."""
    site, settings = configured(ppm_private_names=list(PATTERNS))
    assert len(settings.private_names) == len(PATTERNS)
    differences = []
    for name in NAMES:
        answer = site.get(f"/simple/{name}/")
        if name.endswith("-"):  # not a normalised name
            assert answer.status_code == 404, name
            continue
        is_private = any(fnmatchcase(name, glob) for glob in settings.private_names)
        location = None if is_private else f"{UPSTREAM}{name}/"
        if (answer.status_code, answer.headers.get("Location")) != (404 if is_private else 302, location):
            differences.append(
                f"{name}: {answer.status_code} {answer.headers.get('Location')}, private: {is_private}"
            )
    private = [name for name in NAMES if any(fnmatchcase(name, glob) for glob in settings.private_names)]
    assert differences == []
    assert 15 < len(private) < len(NAMES) - 15, "the test has names of both kinds"


def test_a_limited_reader_sees_only_its_projects(site: Site, tmp_path: Path) -> None:
    """As with the embedded server; nginx itself serves everyone else from disk."""
    limited.fill(site)
    reader = limited.add(site, "reader")
    limited.check(site.request, site.auth, reader)
    for name in (limited.HIDDEN, limited.MISSING, "requests", "acme-x"):
        assert site.get(f"/simple/{name}/", auth=reader).status_code == 404
    assert site.get("/simple/limited-nothing/", auth=reader).status_code == 302, "a name that it may read"
    publisher = limited.add(site, "publisher", role="publisher")
    assert limited.differences(site.request, publisher) == []
    assert site.upload(wheels.wheel("limited-new", "1.0"), auth=publisher).status_code == 200
    limited.install(tmp_path / "one", site, reader, limited.SHOWN, ca=site.ca, expect=0)
    refused = limited.install(tmp_path / "two", site, reader, limited.HIDDEN, ca=site.ca, expect=1)
    assert "No matching distribution" in refused.output


def test_a_change_of_the_limit_counts_from_the_next_request(site: Site) -> None:
    """nginx and the application apply it at once; a wrong secret, or another's, is refused before and after."""
    assert site.upload(wheels.wheel("sometimes", "1.0")).status_code == 200
    root = ("--root", str(site.root))
    secret = ppmctl("user", "add", "changed", "--role", "reader", *root).stdout.strip()

    def seen(user: str = "changed", secret: str = secret) -> list[int]:
        wheel = wheels.wheel("sometimes", "1.0")[0]
        paths = ("/simple/sometimes/", f"/packages/sometimes/{wheel}", f"/packages/sometimes/{wheel}.metadata")
        return [site.get(path, auth=(user, secret)).status_code for path in paths]

    for options, status in (
        (("--project", "other"), 404),
        (("--project", "other", "--project", "sometimes"), 200),
        (("--project", "other"), 404),
        (("--all-projects",), 200),
    ):
        ppmctl("user", "change", "changed", *options, *root)
        assert seen() == [status] * 3, options
        assert seen(secret="ppm_wrong") == seen(user="nobody") == [401] * 3
    ppmctl("user", "change", "changed", "--project", "sometimes", *root)
    ppmctl("user", "disable", "changed", *root)
    assert seen() == [401] * 3


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://upstream.invalid", "http://upstream.invalid/"),
        ("http://upstream.invalid/simple", "http://upstream.invalid/simple/"),
        ("http://upstream.invalid/simple/", "http://upstream.invalid/simple/"),
        ("http://upstream.invalid:8080/a%20b/~c/(d)/e-f//", "http://upstream.invalid:8080/a%20b/~c/(d)/e-f/"),
    ],
)
def test_a_public_name_is_redirected_to_its_upstream_page(configured: Configured, url: str, expected: str) -> None:
    """The name and exactly one slash are added to the URL."""
    site, settings = configured(ppm_upstream_url=url)
    answer = site.get("/simple/some-name/")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{expected}some-name/")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert settings.upstream_url == expected


def test_the_default_upstream_is_the_public_index(configured: Configured) -> None:
    """As for the embedded server, it is the index that pypiserver falls back to."""
    site, _settings = configured(ppm_upstream_url="")
    answer = site.get("/simple/some-name/")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("https://")
    assert answer.headers["Location"].endswith("/simple/some-name/")
    assert "//simple" not in answer.headers["Location"].removeprefix("https://")
