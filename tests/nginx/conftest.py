"""nginx as Debian 12 and Debian 13 have it, with the configuration that the role writes, on ports of the loopback."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import debian, rendering, webserver
from support.debian import Tree
from support.webserver import Site

USUAL = {
    "ppm_upstream_url": rendering.UPSTREAM,
    "ppm_private_names": ["acme-*", "Billing"],
    "ppm_max_upload_size": "300M",
}

Rendered = Callable[..., Path]
Sites = Callable[..., Site]


@pytest.fixture(scope="session", params=[12, 13], ids=["Debian 12", "Debian 13"])
def tree(request: pytest.FixtureRequest) -> Tree:
    """Each test runs with the nginx of both releases."""
    release: int = request.param
    return debian.tree(release)


@pytest.fixture(scope="session")
def rendered(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """The folder with the configuration for some settings, rendered once: `rendered(ppm_upstream="none")`."""
    made: dict[str, Path] = {}

    def get(**settings: Any) -> Path:
        key = json.dumps(settings, sort_keys=True)
        if key not in made:
            folder = tmp_path_factory.mktemp("rendered")
            rendering.render([(folder, rendering.variables(tree, ipv6=webserver.has_ipv6(), **settings))])
            made[key] = folder
        return made[key]

    return get


def _factory(tree: Tree, rendered: Rendered, new_folder: Callable[[], Path], started: list[Site]) -> Sites:
    def start(*, faster: dict[str, str] | None = None, options: tuple[str, ...] = (), **settings: Any) -> Site:
        site = webserver.start(
            rendered(**{**USUAL, **settings}), tree, new_folder() / "root", faster=faster, options=options
        )
        started.append(site)
        return site

    return start


@pytest.fixture
def new_site(tree: Tree, rendered: Rendered, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """Make sites that end with the test: `new_site(ppm_read_access="public")`."""
    started: list[Site] = []
    yield _factory(tree, rendered, lambda: tmp_path_factory.mktemp("site"), started)
    for site in started:
        site.close()


@pytest.fixture(scope="module")
def new_sites(tree: Tree, rendered: Rendered, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """Make sites that the tests of a module share."""
    started: list[Site] = []
    yield _factory(tree, rendered, lambda: tmp_path_factory.mktemp("site"), started)
    for site in started:
        site.close()


@pytest.fixture(scope="module")
def site(new_sites: Sites) -> Site:
    """A site with an ordinary inventory's settings, which the tests of a module share."""
    return new_sites()
