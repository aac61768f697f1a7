"""Fixtures for all tests, and their order."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from support.servers import Server  # imported where it is used: a unit test starts sooner without it

pytest_plugins = ["support.beds", "support.timing"]

# A process that a shell runs in the background ignores Ctrl-C, and so do its children; some tests type it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Cache compiled code: compiling tests is slow (pytest rewrites their asserts), and they start many processes.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Tests that share fixtures of a session stay on one worker: hosts, which take a minute each; images, and port 8080,
# which the README names; installed Debian releases. Hosts take longest, so they start first; unit tests run beside
# them, then the other groups in this order. Single files, the largest first, keep the workers busy until the end.
TOGETHER = {
    "deployed hosts": (
        "tests/clients/",
        "tests/hosts/test_attacks.py",
        "tests/hosts/test_declared.py",
        "tests/hosts/test_hardening.py",
        "tests/hosts/test_inventory.py",
        "tests/hosts/test_monitoring.py",
        "tests/hosts/test_role_hardening.py",
        "tests/hosts/test_self_check.py",
        "tests/hosts/test_site.py",
        "tests/hosts/test_state.py",
        "tests/hosts/test_webhooks.py",
    ),
    "changed hosts": (
        "tests/docker/test_data.py",
        "tests/hosts/test_backup.py",
        "tests/hosts/test_collection.py",
        "tests/hosts/test_faults.py",
        "tests/hosts/test_testbed.py",
        "tests/hosts/test_upgrade.py",
    ),
    "other hosts": ("tests/hosts/",),
    "images": ("tests/docker/", "tests/e2e/test_readme.py"),
    "nginx": ("tests/nginx/",),
}
LONGEST = ("deployed hosts", "changed hosts", "other hosts")
UNIT = "tests/unit/"


def _group(nodeid: str) -> str:
    """Return the name of the group that a test belongs to, or its file."""
    groups = (name for name, paths in TOGETHER.items() if nodeid.startswith(paths))
    return next(groups, nodeid.partition("::")[0])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests into the order in which workers run them."""
    groups = [_group(item.nodeid) for item in items]
    size = Counter(groups)
    named = list(TOGETHER)

    def place(group: str) -> tuple[int, int]:
        if group in TOGETHER:
            return (0 if group in LONGEST else 2), named.index(group)
        return (1 if group.startswith(UNIT) else 3), -size[group]

    order = sorted(range(len(items)), key=lambda number: place(groups[number]))
    items[:] = [items[number] for number in order]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker the next group or file."""
    from xdist.scheduler import LoadScopeScheduling

    config.option.loadscopereorder = False
    scheduling = LoadScopeScheduling(config, log)
    scheduling._split_scope = _group
    return scheduling


@pytest.hookimpl(hookwrapper=True, optionalhook=True)
def pytest_report_to_serializable() -> Generator[None, pluggy.Result[dict[str, Any]], None]:
    """Replace lone surrogates of a report, as a name of a file has them: a worker that can't send one would end."""
    outcome = yield
    outcome.force_result(sendable(outcome.get_result()))


def sendable(value: Any) -> Any:
    """Return a value of a report with each lone surrogate as an escape."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {sendable(key): sendable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(sendable, value))
    return value


_internal_errors: list[str] = []


def pytest_internalerror(excrepr: object) -> None:
    """Store an error of pytest itself or of a worker, for the end of the output."""
    _internal_errors.append(str(excrepr))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Print the first internal error again: others follow from it, and thousands of lines may lie between them."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if _internal_errors and reporter is not None:
        reporter.write_sep("=", "the first internal error")
        reporter.write_line(_internal_errors[0][-3000:])


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers, stopped after the test: `serve()`, `serve("--upstream", "none")`, `serve(root=…)`."""
    from support import servers

    started: list[Server] = []

    def start(*options: str, root: Path | None = None, **more: Any) -> Server:
        server = servers.start(root or tmp_path / "root", options=options, **more)
        started.append(server)
        return server

    yield start
    for server in started:
        with contextlib.suppress(ProcessLookupError):
            server.kill()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server that the tests of a module share; each uses its own names. It redirects to no other index."""
    from support import servers

    server = servers.start(tmp_path_factory.mktemp("index") / "root", options=("--upstream", "none"))
    yield server
    with contextlib.suppress(ProcessLookupError):
        server.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run a browser that the tests of a module share; each opens its own windows with `support.browser.tab`."""
    from support.browser import chromium

    with chromium() as running:
        yield running
