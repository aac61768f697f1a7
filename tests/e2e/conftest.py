"""Real clients and real distributions for the tests with real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import clients, cluster
from support.clients import Installer, Machine, Real
from support.cluster import Cluster
from support.servers import Server

OLDEST_PIP = "23.0.1"  # what Debian 12 ships


@pytest.fixture(scope="session")
def real() -> Real:
    return Real(
        pure=clients.fetch("six==1.17.0"),
        compiled=clients.fetch("zope.interface==8.7", "--only-binary=:all:"),
        sdist_only=clients.fetch("docopt==0.6.2"),
        sdist_of_wheel=clients.fetch("six==1.17.0", "--no-binary=:all:"),
        dotted_pure=clients.fetch("ruamel.yaml==0.19.1", "--only-binary=:all:"),
        dependent=clients.fetch("importlib-metadata==8.5.0"),
        dependency=clients.fetch("zipp==3.21.0"),
    )


@pytest.fixture(scope="session")
def newest_pip() -> Path:
    return clients.pip_library()


@pytest.fixture
def new_machine(tmp_path: Path) -> Callable[..., Machine]:
    """Make a user's computer: `new_machine(server)` knows the server's credential, `new_machine()` none."""
    made = 0

    def make(server: Server | None = None) -> Machine:
        nonlocal made
        made += 1
        return clients.machine(tmp_path / f"home-{made}", server)

    return make


@pytest.fixture
def installer_of(newest_pip: Path, new_machine: Callable[..., Machine]) -> Callable[..., Installer]:
    """Make an installer by name: "pip" (the newest), "old pip" or "uv", on its own computer."""

    def make(name: str, server: Server | None = None) -> Installer:
        library = {"pip": newest_pip, "old pip": clients.pip_library(OLDEST_PIP), "uv": None}[name]
        return Installer(name=name, machine=new_machine(server), library=library)

    return make


@pytest.fixture(params=["pip", "old pip", "uv"])
def new_installer(request: pytest.FixtureRequest, installer_of: Callable[..., Installer]) -> Callable[..., Installer]:
    """Run the test with the newest pip, with Debian 12's pip, and with uv."""
    name: str = request.param
    return lambda server=None: installer_of(name, server)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Return two nodes of an index that the tests of a module share; each test uses its own projects."""
    with cluster.running(tmp_path_factory.mktemp("pair"), 2) as running:
        yield running
