"""Fixtures: nginx of Debian 12 and Debian 13 with the role's configuration, on ports of the loopback."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from support import debian, rendering, webserver
from support.debian import Tree
from support.servers import PPMCTL
from support.webserver import Site

USUAL = {
    "ppm_upstream_url": rendering.UPSTREAM,
    "ppm_private_names": ["acme-*", "Billing"],
    "ppm_max_upload_size": "300M",
}

Rendered = Callable[..., Path]
Sites = Callable[..., Site]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by Debian release and by file, because they share sites."""

    def order(item: pytest.Item) -> tuple[int, Path, int]:
        return cast("Any", item).callspec.params["tree"], item.path, item.location[1] or 0

    positions = [position for position, item in enumerate(items) if "tree" in getattr(item, "fixturenames", ())]
    tests = sorted((items[position] for position in positions), key=order)
    for position, item in zip(positions, tests, strict=True):
        items[position] = item


@pytest.fixture(scope="session", params=[12, 13], ids=["Debian 12", "Debian 13"])
def tree(request: pytest.FixtureRequest) -> Tree:
    """Run a test with the nginx of both releases, unless it is for one (`debian.only`)."""
    release: int = request.param
    return debian.tree(release)


@pytest.fixture(scope="session")
def rendered(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """Return the folder with the configuration for the usual settings and others: `rendered(ppm_tls="none")`."""
    folders: dict[str, Path] = {}

    def get(**settings: Any) -> Path:
        settings = USUAL | settings
        key = json.dumps(settings, sort_keys=True)
        if key not in folders:
            folder = tmp_path_factory.mktemp("rendered")
            rendering.render([(folder, rendering.variables(tree, ipv6=webserver.has_ipv6(), **settings))])
            folders[key] = folder
        return folders[key]

    return get


def _factory(tree: Tree, rendered: Rendered, new_folder: Callable[[], Path], started: list[Site]) -> Sites:
    def start(
        *,
        faster: dict[str, str] | None = None,
        options: tuple[str, ...] = (),
        command: tuple[str, ...] = PPMCTL,
        **settings: Any,
    ) -> Site:
        root = new_folder() / "root"
        site = webserver.start(rendered(**settings), tree, root, faster=faster, options=options, command=command)
        started.append(site)
        return site

    return start


@pytest.fixture
def new_site(tree: Tree, rendered: Rendered, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """Make sites that are closed after the test: `new_site(ppm_read_access="public")`."""
    started: list[Site] = []
    yield _factory(tree, rendered, lambda: tmp_path_factory.mktemp("site"), started)
    for site in started:
        site.close()


@pytest.fixture(scope="module")
def new_sites(tree: Tree, rendered: Rendered, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """Make sites for all tests of a module."""
    started: list[Site] = []
    yield _factory(tree, rendered, lambda: tmp_path_factory.mktemp("site"), started)
    for site in started:
        site.close()


@pytest.fixture(scope="session")
def site(tree: Tree, rendered: Rendered, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Start a site with ordinary settings for the session; each test uses its own project names."""
    started: list[Site] = []
    yield _factory(tree, rendered, lambda: tmp_path_factory.mktemp("site"), started)()
    for site in started:
        site.close()
