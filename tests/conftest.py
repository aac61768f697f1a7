"""What every test may ask for."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.servers import Server  # imported where it is used: a unit test starts sooner without it

pytest_plugins = ["support.beds", "support.timing"]

# What a shell runs in the background ignores Ctrl-C, and so would all that it starts; some tests type it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Keep compiled code: the tests are compiled for long (pytest rewrites their asserts), and they start many processes.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# What stays together, where two run side by side, since it shares what is made once: hosts, which take a minute each;
# images, and port 8080, which the README names; installed Debian releases.
TOGETHER = {
    "hosts": ("tests/hosts/", "tests/clients/"),
    "images": ("tests/docker/", "tests/e2e/test_readme.py"),
    "nginx": ("tests/nginx/",),
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of two that run side by side each takes the next file, or what stays together; the largest first."""
    from xdist.scheduler import LoadScopeScheduling

    class Lanes(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
        def _split_scope(self, nodeid: str) -> str:
            found = (name for name, paths in TOGETHER.items() if nodeid.startswith(paths))
            return next(found, nodeid.partition("::")[0])

    return Lanes(config, log)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers that end with the test: `serve()`, `serve("--upstream", "none")`, `serve(root=…)`."""
    from support import servers

    started: list[Server] = []

    def start(*options: str, root: Path | None = None, **more: object) -> Server:
        server = servers.start(root or tmp_path / "root", options=options, **more)  # type: ignore[arg-type]
        started.append(server)
        return server

    yield start
    for server in started:
        with contextlib.suppress(ProcessLookupError):
            server.kill()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests of a module share; each uses names of its own. It sends nothing elsewhere."""
    from support import servers

    server = servers.start(tmp_path_factory.mktemp("index") / "root", options=("--upstream", "none"))
    yield server
    with contextlib.suppress(ProcessLookupError):
        server.kill()
