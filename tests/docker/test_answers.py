"""The compose deployment answers reads like the embedded server; the table is in tests/support/answers.py."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from support import answers, webserver
from support.answers import Asked, Party
from support.composed import Composed
from support.evidence import until
from support.secured import Secured
from support.servers import free_port

from testbed import container
from testbed.bed import Bed
from testbed.container import HOST


def answers_at(party: Party) -> bool:
    with contextlib.suppress(ConnectionError):
        return answers.ask(party, Asked(path="/healthz")).status == 200
    return False


@pytest.fixture(params=["composed", "secured"])
def index(request: pytest.FixtureRequest) -> Composed:
    """Run a test with compose.yml's defaults, and with a domain, TLS and private names."""
    deployment: Composed = request.getfixturevalue(request.param)
    return deployment


@pytest.fixture
def embedded(bed: Bed, images: str, index: Composed) -> Iterator[Party]:
    """Run `ppmctl serve` from the application's image, without nginx, on the volume of the deployment."""
    port = free_port()
    box = container.start(
        bed.engine,
        f"ppm-pypiserver:{images}",
        name="embedded",
        network=HOST,
        lease=bed.lease.name,
        command=["ppmctl", "serve", "--host", "127.0.0.1", "--port", str(port)],
        environment=webserver.environment(index.rendered) if isinstance(index, Secured) else {},
        volumes_from=[index.application.id],
    )
    made = Party(url=f"http://localhost:{port}", auth=index.auth)
    until(lambda: answers_at(made) or not box.is_running(), "an answer", seconds=30)
    assert box.is_running(), box.logs()
    yield made
    box.remove()


def test_compose_answers_as_the_embedded_server_does(index: Composed, embedded: Party) -> None:
    """Clients must see no difference, because each client was tested with only one of them.

    Hosts and containers have the same nginx configuration. tests/nginx sends the whole table; here each path, method
    and header is sent once, because containers have other addresses, volumes and users.
    """
    answers.fill(index, index.ppmctl)
    ca = index.ca if isinstance(index, Secured) else None
    here = Party(url=index.url.replace("127.0.0.1", "localhost"), auth=index.auth, ca=ca)
    count, differences = answers.differences(here, embedded, answers.sample)
    assert not differences, "\n".join(["where they differ, nginx's answer first:", *differences])
    assert count > 250
