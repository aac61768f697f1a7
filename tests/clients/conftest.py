"""Fixtures: the index embedded, deployed by compose, and on hosts with Debian 12 and 13, and a client of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from flit_core import buildapi
from support import servers
from support.composed import Composed
from support.deployed import Deployed
from support.served import Embedded, Served

from testbed.bed import Bed
from testbed.clients import Client
from testbed.container import HOST
from testbed.place import CHECKOUT

RELEASES = {"debian13": 13, "debian12": 12}
COMPOSE_FIXTURES = {"compose": "composed", "compose, TLS": "secured"}
INDEXES = ("embedded", *COMPOSE_FIXTURES, *RELEASES)
TOOLS = "tools"  # the client's virtual environment, which is kept for the next index


@pytest.fixture(scope="module", params=INDEXES)
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run each test with every index."""
    kind: str = request.param
    if kind == "embedded":
        server = servers.start(tmp_path_factory.mktemp("embedded") / "root")
        yield Embedded(server=server)
        with contextlib.suppress(ProcessLookupError):
            server.kill()
    elif kind in COMPOSE_FIXTURES:
        composed: Composed = request.getfixturevalue(COMPOSE_FIXTURES[kind])
        yield composed
    else:
        deployed: Callable[[int], Deployed] = request.getfixturevalue("deployed")
        yield deployed(RELEASES[kind])


@pytest.fixture
def index_number(request: pytest.FixtureRequest) -> int:
    """Return the number of the index, by which tests distribute cases over the indexes."""
    return INDEXES.index(request.node.callspec.params["index"])


@pytest.fixture(scope="session")
def client_at(bed: Bed) -> Iterator[Callable[..., Client]]:
    """Start the client's machine for an index: on the hosts' network, or on this machine's loopback."""
    made: dict[bool, Client] = {}

    def get(index: Served) -> Client:
        if index.is_local not in made:
            name, network = ("local-user", HOST) if index.is_local else ("user", "")
            made[index.is_local] = bed.client(name, network=network)
        return made[index.is_local]

    yield get
    for one in made.values():
        one.box.remove()


@pytest.fixture(scope="module")
def client(index: Served, client_at: Callable[..., Client]) -> Client:
    """Return a machine with Debian 12's pip and the newest pip, uv and twine, without files of earlier tests."""
    made = client_at(index)
    if index.authority:
        made.trust("index", index.authority)
    made.run(f"find . -mindepth 1 -maxdepth 1 ! -name {TOOLS} -exec rm -rf {{}} +")
    return made


@pytest.fixture(scope="module")
def ppmctl(
    index: Served, run_as_user: Callable[..., str], client: Client, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., str]:
    """Run this checkout's `ppmctl` like `run_as_user`.

    It is installed from the first index of a machine; its requirements come through the redirect.
    """
    if client.run(f"test -x {TOOLS}/bin/ppmctl", check=False).code:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(CHECKOUT)
            folder = tmp_path_factory.mktemp("tool")
            tool = folder / buildapi.build_wheel(str(folder))
        assert index.upload((tool.name, tool.read_bytes())).status_code == 200
        run_as_user(f"uv venv -q {TOOLS} && uv pip install -q --python {TOOLS} ppmctl")
    return lambda command, **options: run_as_user(f"{TOOLS}/bin/ppmctl {command}", **options)


@pytest.fixture(scope="module")
def run_as_user(index: Served, client: Client) -> Callable[..., str]:
    """Run a command as a user of the index, with one index URL, a netrc file and no retries; return its output.

    `code` is the expected exit code, or None for any.
    """
    user, secret = index.auth
    client.put(".netrc", f"machine {index.name} login {user} password {secret}\n".encode(), mode=0o600)
    settings = {
        "PIP_INDEX_URL": index.simple,
        "PIP_RETRIES": "0",
        "PIP_NO_INPUT": "1",
        "PIP_NO_CACHE_DIR": "1",
        "UV_DEFAULT_INDEX": index.simple,
        "UV_HTTP_RETRIES": "0",
        "UV_NO_CACHE": "1",
        "UV_PUBLISH_URL": f"{index.url}/",
        "UV_PUBLISH_USERNAME": user,
        "UV_PUBLISH_PASSWORD": secret,
        "TWINE_REPOSITORY_URL": f"{index.url}/",
        "TWINE_USERNAME": user,
        "TWINE_PASSWORD": secret,
        "TWINE_NON_INTERACTIVE": "1",
        "PPMCTL_INDEX": index.url,
        "COLUMNS": "500",
        "TERM": "dumb",
    }

    def run(command: str, *, code: int | None = 0, **env: str) -> str:
        done = client.run(command, check=False, **(settings | env))
        assert code in (None, done.code), f"`{command}` exited {done.code}:\n{done.out}{done.err}"
        return done.out + done.err

    return run
