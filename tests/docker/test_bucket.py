"""Two nodes on a bucket behind a balancer, by docker/compose.bucket.yml."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from support import balanced, planted
from support.composed import Composed
from support.load import Stream, Wire, during, table
from support.streams import Made

from testbed import compose
from testbed.bed import Bed
from testbed.clients import Client

FILE = compose.FILE.with_name("compose.bucket.yml")
BALANCER = "balancer"
NODES = (("application-1", "nginx-1"), ("application-2", "nginx-2"))
PORT = 8080
_SECRET = re.compile(r"ppm_[\w-]{40,}")


@pytest.fixture(scope="module")
def index(new_shared_compose: Callable[..., Composed]) -> Composed:
    """Start it for all tests of this module, which leave both nodes running."""
    made = new_shared_compose(files=(FILE,), up=False)
    made.compose.up()
    done = made.compose.exec("application-1", "ppmctl", "user", "add", balanced.ADMIN, "--role", "admin")
    made.secret = _SECRET.findall(done.out + done.err)[0]
    return made


@pytest.fixture(scope="module")
def client(bed: Bed, index: Composed) -> Iterator[Client]:
    made = bed.client("nodes", network=index.compose.network)
    balanced.prepare(made, [BALANCER, *(web for _application, web in NODES)], index.secret)
    yield made
    made.box.remove()


def direct(index: Composed, web: str) -> Wire:
    """Return a wire to one node, past the balancer."""
    return replace(index.wire, domain=web, address=index.compose.container(web).address, port=PORT)


def wires(index: Composed) -> list[Wire]:
    return [direct(index, web) for _application, web in NODES]


def settle(index: Composed, project: str) -> Made:
    """Publish a file of a project, and wait until both nodes serve it."""
    made = balanced.publish(index.wire, project)
    for wire in wires(index):
        balanced.seconds_until_served(wire, made)
    return made


def test_what_one_node_accepts_the_other_serves(index: Composed, client: Client, figures: list[str]) -> None:
    """The admin was made at the first node; each node installs what was published at the other."""
    took = []
    for number, (here, there) in enumerate([wires(index), wires(index)[::-1]]):
        made = balanced.publish(here, f"published-{number}")
        took.append(balanced.seconds_until_served(there, made))
        simple = f"http://{there.domain}:{PORT}/simple/"
        client.run(f"pip/bin/pip install -q --index-url {simple} --trusted-host {there.domain} published-{number}")
    figures.append(f"Nodes by compose: served by the other node after {max(took):.1f} s")


def test_a_name_that_no_node_has_is_redirected_and_one_that_exists_is_not(index: Composed) -> None:
    made = balanced.publish(wires(index)[0], "only-here")
    answer = direct(index, NODES[1][1]).ask("GET", f"/simple/{made.project}/")
    assert answer.status == 200, str(answer)
    assert index.wire.ask("GET", f"/simple/{planted.PUBLIC}/").status == 302


def test_no_request_fails_while_the_nodes_are_replaced(index: Composed, client: Client, figures: list[str]) -> None:
    """One node after the other gets new containers; uploads are never repeated by a client."""
    settle(index, "replaced")
    done: list[Made] = []
    simple = f"http://{BALANCER}:{PORT}/simple/"
    clients: list[Stream] = [
        *balanced.uploads(index.wire, ["replaced-0", "replaced-1"], done),
        *balanced.installs(client, simple, "replaced"),
    ]
    row = during("nodes replaced", lambda: replace_nodes(index), clients, least={"upload": 10, "pip": 2, "uv": 2})
    figures.extend(table([row]))
    assert row.failures == ()
    for wire in wires(index):
        for made in done:
            balanced.seconds_until_served(wire, made)


def replace_nodes(index: Composed) -> None:
    for application, web in NODES:
        index.compose.stop(web)
        index.compose.up("--no-deps", "--force-recreate", application)
        index.compose.up("--no-deps", "--force-recreate", web)


def test_a_lost_node_is_nothing(index: Composed, client: Client) -> None:
    """A node is removed with its volume while clients go on; a new one with an empty volume serves everything."""
    application, web = NODES[0]
    before = settle(index, "before-the-loss")
    index.compose.kill(application, web)
    index.compose.call("rm", "--force", "--volumes", application, web)
    for volume in ("data-1", "run-1"):
        index.compose.engine.api.volumes.get(f"{index.compose.project}_{volume}").remove()
    during_it = balanced.publish(index.wire, "during-the-loss")
    options = f"--index-url http://{BALANCER}:{PORT}/simple/ --trusted-host {BALANCER}"
    client.run(f"pip/bin/pip install -q --no-cache-dir --force-reinstall {options} {before.project}")
    index.compose.up()
    for made in (before, during_it):
        balanced.seconds_until_served(direct(index, web), made)
    balanced.publish(direct(index, web), "after-the-loss")


def test_without_the_bucket_reads_go_on_and_an_upload_is_refused(index: Composed, client: Client) -> None:
    made = settle(index, "kept-on-disk")
    index.compose.call("pause", "bucket")
    try:
        options = f"--index-url http://{BALANCER}:{PORT}/simple/ --trusted-host {BALANCER}"
        client.run(f"pip/bin/pip install -q --no-cache-dir --force-reinstall {options} {made.project}")
        refused = index.wire.upload(planted.fresh("kept-on-disk"))
        assert refused.status == 503, str(refused)
        assert refused.headers["retry-after"].isdecimal()
    finally:
        index.compose.call("unpause", "bucket")
    settle(index, "kept-on-disk")
