"""Fixtures with real hosts, an ACME server and clients.

Everything runs in containers, which are removed at the end of their test, module or session.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import signal
import time
import types
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy
import pytest

if TYPE_CHECKING:  # every run of pytest loads this plugin; only fixtures that need Docker's SDK import it
    from support.composed import Composed
    from support.deployed import Deployed
    from support.secured import Secured
    from testbed.acme import Acme
    from testbed.bed import Bed
    from testbed.clients import Client
    from testbed.hosts import Host
    from testbed.playbook import Result

_OF_LOGS = (Exception, pytest.fail.Exception)  # the latter by the time limit of the test, which ends here too
_numbers = itertools.count(1)
_up: list[Host] = []
_figures: list[str] = []


def pytest_configure() -> None:
    """Clean up on SIGTERM too, which a time limit around the tests sends."""

    def end(number: int, _: types.FrameType | None) -> None:
        pytest.exit("Terminated", returncode=128 + number)

    signal.signal(signal.SIGTERM, end)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pluggy.Result[Any], None]:
    """Add the hosts' errors and the logs of compose's containers to a failure's report."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    if report.failed and "bed" in getattr(item, "fixturenames", ()):
        for host in _up:
            with contextlib.suppress(*_OF_LOGS):  # the failure matters more than its logs
                journal = host.run("journalctl --no-pager -b -p warning -n 40; systemctl --failed", check=False)
                report.sections.append((f"{host.name} ({host.domain})", journal.out))
        from support import composed as composing

        for index in composing.there:
            with contextlib.suppress(*_OF_LOGS):  # as above
                report.sections.append((index.compose.project, index.compose.logs()[-6000:]))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Pass a worker's figures to the process that prints them."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = _figures


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Collect the figures of a worker that has ended."""
    _figures.extend(getattr(node, "workeroutput", {}).get("figures", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how long it took; no test asserts a time."""
    for line in _figures:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def figures() -> list[str]:
    """Return the lines to print at the end of the session."""
    return _figures


@pytest.fixture(scope="session")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """Return an engine and a network, for the session."""
    from testbed.bed import open_bed

    made = open_bed(f"tests-{os.getpid()}", tmp_path_factory.mktemp("bed"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def acme(bed: Bed) -> Acme:
    """Return an ACME server that resolves the hosts' names, for the session."""
    return bed.acme()


class _Maker:
    """Make hosts, by default each with its own name and domain, and remove them."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._made: list[Host] = []

    def __call__(self, release: int = 13, *, snapshot: str = "", **wanted: object) -> Host:
        from testbed.hosts import Wanted

        number = next(_numbers)
        options: dict[str, Any] = {"name": f"host{number}", "domain": f"index{number}.test"} | wanted
        host = self._bed.host(Wanted(release=release, **options), snapshot=snapshot)
        self._made.append(host)
        _up.append(host)
        return host

    def copy(self, index: Deployed, **wanted: object) -> Host:
        """Make a host with a copy of another's disk, including its users, domain and certificate."""
        host = index.host
        same = {"sudo": host.user != "root", "domain": host.domain}
        return self(host.release, snapshot=index.snapshot, **(same | wanted))

    def remove(self, host: Host) -> None:
        self._made.remove(host)
        _up.remove(host)
        host.remove()


@contextlib.contextmanager
def _making(bed: Bed) -> Iterator[_Maker]:
    maker = _Maker(bed)
    yield maker
    for host in list(maker._made):
        maker.remove(host)


@pytest.fixture(scope="session")
def _session_hosts(bed: Bed) -> Iterator[_Maker]:
    with _making(bed) as maker:
        yield maker


@pytest.fixture(scope="session")
def deployed(
    _session_hosts: _Maker, acme: Acme, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], Deployed]:
    """Return a host of a Debian release that site.yml has set up as an index: `deployed(13)`, for the session.

    Ansible logs in to Debian 12 as a user with sudo, to Debian 13 as root. Tests restore what they change: it runs
    the release of this checkout with its original variables, and its files, users and services are complete.
    A test whose changes take long to undo calls `reset`, or uses a copy (`new_deployed`).
    """
    from support.deployed import deploy

    made: dict[int, Deployed] = {}

    def get(release: int) -> Deployed:
        if release not in made:
            host = _session_hosts(release, sudo=release == 12)
            index = made[release] = deploy(host, acme, tmp_path_factory.mktemp(f"debian{release}"))
            took = [f"{run.seconds:.0f} s" for run in index.runs]
            _figures.append(f"Debian {release}: site.yml took {took[0]} from bare, {took[1]} for a second run")
        return made[release]

    return get


@pytest.fixture(scope="session")
def reset(_session_hosts: _Maker) -> Callable[[Deployed], None]:
    """Restore a host of `deployed` to the state after site.yml: `reset(index)`. It boots and gets another address."""

    def put_back(index: Deployed) -> None:
        name = index.host.name
        _session_hosts.remove(index.host)
        index.host = _session_hosts.copy(index, name=name)

    return put_back


@pytest.fixture
def new_deployed(bed: Bed, deployed: Callable[[int], Deployed], tmp_path: Path) -> Iterator[Callable[..., Deployed]]:
    """Make copies of `deployed(release)`, removed after the test: `new_deployed(13)`.

    A copy has the same domain, certificate and users. Other containers resolve that domain to the session's host,
    unless it is unplugged; the options are those of `testbed.hosts.Wanted` (`tmpfs={…}`).
    """
    with _making(bed) as new:

        def make(release: int = 13, **wanted: object) -> Deployed:
            of = deployed(release)
            host = new.copy(of, is_found=False, **wanted)
            folder = tmp_path / host.name
            folder.mkdir()
            return dataclasses.replace(of, host=host, folder=folder)

        yield make


@pytest.fixture(scope="session")
def composed(bed: Bed, images: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """Return an index deployed by docker/compose.yml, for the session.

    Tests restore what they change: it is up, with its users and its original variables.
    """
    from support import composed as composing

    began = time.monotonic()
    maker = composing.maker(bed, images, tmp_path_factory.mktemp("composed"))
    made = next(maker)()
    _figures.append(f"Compose: up in {time.monotonic() - began:.1f} s")
    yield made
    next(maker, None)


@pytest.fixture(scope="session")
def secured(bed: Bed, images: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Return the same with a domain, a certificate and other settings, for the session."""
    from support import secured as securing

    private = ["acme-*", "Billing"]
    yield from securing.deploy(bed, images, tmp_path_factory.mktemp("secured"), ppm_private_names=private)


@pytest.fixture
def new_host(bed: Bed) -> Iterator[Callable[..., Host]]:
    """Make bare hosts, removed after the test: `new_host()`, `new_host(12, sudo=True)`, `new_host(tmpfs={…})`.

    By default each has its own name and domain; the options are those of `testbed.hosts.Wanted`.
    """
    with _making(bed) as new:
        yield new


@pytest.fixture(scope="module")
def new_shared_host(bed: Bed) -> Iterator[Callable[..., Host]]:
    """Make hosts that the tests of a module share."""
    with _making(bed) as new:
        yield new


@pytest.fixture(scope="session")
def new_client(bed: Bed) -> Callable[..., Client]:
    """Make a machine with pip, uv and twine, on the hosts' network: `new_client()`, `new_client(13)`."""

    def make(release: int = 12) -> Client:
        return bed.client(f"client{next(_numbers)}", release)

    return make


@pytest.fixture(scope="module")
def client(new_client: Callable[..., Client]) -> Iterator[Client]:
    """Return a machine with Debian 12's pip and the newest pip, uv and twine, for a module."""
    made = new_client()
    yield made
    made.box.remove()


@pytest.fixture(scope="session")
def images(bed: Bed) -> Iterator[str]:
    """Return the tag of the images of docker/, built from this checkout for the session."""
    from support import composed as composing

    tag = bed.lease.name
    began = time.monotonic()
    composing.build(bed, tag)
    _figures.append(f"The images of docker/ were built in {time.monotonic() - began:.0f} s")
    yield tag
    composing.remove_images(bed, tag)


@pytest.fixture
def new_compose(bed: Bed, images: str, tmp_path: Path) -> Iterator[Callable[..., Composed]]:
    """Make indexes by compose, removed with their data after the test: `new_compose()`.

    Each has its own project and port. `new_compose(up=False)` starts nothing, `environment` are the variables of
    docker/.env, `files` are compose files.
    """
    from support import composed as composing

    yield from composing.maker(bed, images, tmp_path)


@pytest.fixture(scope="module")
def new_shared_compose(
    bed: Bed, images: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Composed]]:
    """Make indexes that the tests of a module share."""
    from support import composed as composing

    yield from composing.maker(bed, images, tmp_path_factory.mktemp("compose"))


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., Result]:
    """Run a playbook, a file or its text, on hosts in the group ppm: `play(Path("site.yml"), host, ppm_domain=…)`.

    The test fails unless `expect` is its exit code. `arguments` are ansible-playbook's (`("--check", "--diff")`).
    """

    from testbed import playbook

    def run(
        path: Path | str, *hosts: Host, expect: int = 0, arguments: tuple[str, ...] = (), **variables: object
    ) -> Result:
        if isinstance(path, str):
            content, path = path, tmp_path / "playbook.yml"
            path.write_text(content)
        inventory = playbook.write_inventory(tmp_path / "inventory.yml", hosts, variables=variables)
        result = playbook.run(path, inventory, *arguments)
        if result.code != expect:
            pytest.fail(f"ansible-playbook exited {result.code}, not {expect}:\n{result.output}")
        return result

    return run
