"""The read path of the index by compose answers as the embedded server does: see tests/support/answers.py."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from support import answers
from support.answers import Asked, Party
from support.composed import Composed
from support.evidence import until
from support.servers import free_port

from testbed import container
from testbed.bed import Bed
from testbed.container import HOST


def answers_at(party: Party) -> bool:
    with contextlib.suppress(ConnectionError):
        return answers.ask(party, Asked(path="/healthz")).status == 200
    return False


@pytest.fixture
def embedded(bed: Bed, images: str, composed: Composed) -> Iterator[Party]:
    """`ppmctl serve` from the application's image alone, on the volume of the deployment."""
    port = free_port()
    box = container.start(
        bed.engine,
        f"ppm-pypiserver:{images}",
        name="embedded",
        network=HOST,
        lease=bed.lease.name,
        command=["ppmctl", "serve", "--host", "127.0.0.1", "--port", str(port)],
        volumes_from=[composed.application.id],
    )
    made = Party(url=f"http://localhost:{port}", auth=composed.auth)
    until(lambda: answers_at(made) or not box.is_running(), "an answer", seconds=30)
    assert box.is_running(), box.logs()
    yield made
    box.remove()


def test_compose_answers_as_the_embedded_server_does(composed: Composed, embedded: Party) -> None:
    """Which of the two a client meets must make no difference: the same client was tested against either."""
    answers.fill(composed, composed.ppmctl)
    here = Party(url=f"http://localhost:{composed.port}", auth=composed.auth)
    count, differences = answers.differences(here, embedded)
    assert not differences, "\n".join(["where they differ, nginx's answer first:", *differences])
    assert count > 900
