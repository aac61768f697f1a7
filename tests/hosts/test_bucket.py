"""Two hosts of one inventory are two nodes on a bucket: provisioning, a rolling upgrade, and the loss of a host.

Debian's haproxy is the balancer in front of them. The bucket is the S3 server of docker/compose.bucket.yml.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import balanced, composed, planted
from support import checkout as copies
from support.deployed import FIRST_CREDENTIAL
from support.evidence import until
from support.load import Row, Stream, Wire, during, table
from support.streams import Made

from testbed import container, playbook
from testbed.bed import Bed
from testbed.clients import Client
from testbed.container import Container
from testbed.hosts import Host
from testbed.place import CHECKOUT
from testbed.playbook import Result

DOMAIN = "packages.test"
ENVIRONMENT = "/etc/ppm/storage/environment"
SECRET = "of-the-bucket-in-a-test"
# a node is asked twice a second; a request that a node refused is sent to the other one
BALANCER = """
global
    maxconn 2000
defaults
    mode http
    timeout connect 2s
    timeout client 120s
    timeout server 120s
    retries 3
    option redispatch
    retry-on conn-failure empty-response
frontend index
    bind :80
    option forwardfor
    http-request disable-l7-retry if METH_POST
    default_backend nodes
backend nodes
    balance roundrobin
    option httpchk
    http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host {domain}
    default-server check inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
"""


@dataclass(kw_only=True)
class Nodes:
    """The hosts, the balancer in front of them, and the admin's secret; `first` and `second` are runs of site.yml."""

    hosts: list[Host]
    inventory: Path
    balancer: Container
    secret: str
    first: Result
    second: Result

    @property
    def wire(self) -> Wire:
        return self._wire(self.balancer.address)

    @property
    def direct(self) -> list[Wire]:
        """Return a wire to each host, past the balancer."""
        return [self._wire(host.address) for host in self.hosts]

    def _wire(self, address: str) -> Wire:
        return Wire(domain=DOMAIN, address=address, context=None, port=80, auth=(balanced.ADMIN, self.secret))


@pytest.fixture(scope="module")
def bucket(bed: Bed) -> Iterator[Container]:
    """Start the S3 server on the hosts' network."""
    tag = f"{bed.lease.name}-bucket"
    composed.build(bed, tag, "bucket")
    box = container.start(bed.engine, f"ppm-s3:{tag}", name="bucket", network=bed.network, lease=bed.lease.name)
    yield box
    box.remove()
    composed.remove_images(bed, tag)


@pytest.fixture(scope="module")
def nodes(
    bed: Bed,
    bucket: Container,
    new_shared_host: Callable[..., Host],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Nodes]:
    hosts = [new_shared_host(13) for _ in range(2)]
    variables: dict[str, object] = {
        "ppm_domain": DOMAIN,
        "ppm_tls": "none",
        "ppm_trusted_proxies": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
        "ppm_storage": "s3://packages/ppm",
        "ppm_storage_environment": {
            "AWS_ENDPOINT_URL": f"http://{bucket.name}:9000",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": SECRET,
        },
        **({} if hosts[0].allows_private_users() else {"ppm_private_users": False}),
    }
    folder = tmp_path_factory.mktemp("nodes")
    inventory = playbook.write_inventory(folder / "inventory.yml", hosts, variables=variables)
    first, second = (playbook.run(CHECKOUT / "site.yml", inventory).check() for _ in range(2))
    servers = "\n".join(f"    server {host.name} {host.address}:80" for host in hosts)
    balancer = container.start(
        bed.engine,
        bed.image("balancer", 13),
        name="balancer",
        network=bed.network,
        lease=bed.lease.name,
        aliases=(DOMAIN,),
        environment={"BALANCER_CONFIG": BALANCER.format(domain=DOMAIN, servers=servers)},
    )
    yield Nodes(
        hosts=hosts,
        inventory=inventory,
        balancer=balancer,
        secret=credential_of(hosts).partition(":")[2],
        first=first,
        second=second,
    )
    balancer.remove()


def credential_of(hosts: list[Host]) -> str:
    """Return the credential of the first admin, which only one of the hosts has made."""
    found = []
    for host in hosts:
        with contextlib.suppress(FileNotFoundError):
            found.append(host.box.get(FIRST_CREDENTIAL).decode().strip())
    (credential,) = found
    return credential


@pytest.fixture(scope="module")
def user(bed: Bed, nodes: Nodes) -> Iterator[Client]:
    made = bed.client("nodes-user")
    balanced.prepare(made, [DOMAIN], nodes.secret)
    yield made
    made.box.remove()


@pytest.fixture(scope="module")
def rows(figures: list[str]) -> Iterator[list[Row]]:
    made: list[Row] = []
    yield made
    figures.extend(table(made))


def test_site_makes_a_node_of_each_host(nodes: Nodes) -> None:
    """The first admin exists once, and is known to both; a second run changes nothing."""
    assert set(nodes.second.hosts) == {host.name for host in nodes.hosts}
    assert nodes.second.changed == ()
    for wire in (*nodes.direct, nodes.wire):
        until(lambda wire=wire: wire.ask("GET", "/simple/").status == 200, "each node knows the admin", seconds=30)


def test_only_the_application_reads_the_credentials_of_the_bucket(nodes: Nodes) -> None:
    for host, run in zip(nodes.hosts, (nodes.first, nodes.second), strict=True):
        assert host.run(f"stat -c '%a %U:%G' {ENVIRONMENT}").out == "640 root:ppm\n"
        assert SECRET in host.run(f"cat {ENVIRONMENT}").out
        assert host.run(f"setpriv --reuid www-data --clear-groups cat {ENVIRONMENT}", check=False).code
        elsewhere = (
            f"grep -rlF {SECRET} /etc /opt/ppm /srv/ppm /var/log /run/systemd 2>/dev/null | grep -v {ENVIRONMENT}"
        )
        assert host.run(elsewhere, check=False).out == ""
        assert SECRET not in host.run("journalctl --no-pager; cat /proc/[0-9]*/cmdline", check=False).out
        assert SECRET not in run.output


def test_units_without_the_bucket_still_have_no_network(nodes: Nodes) -> None:
    """The one that counts downloads needs none; the application has only what it needs for the bucket."""
    show = "systemctl show -P PrivateNetwork"
    for host in nodes.hosts:
        assert host.run(f"{show} ppm-count.service ppm.service").out.split() == ["yes", "no"]
        host.run("systemctl stop ppm.socket ppm.service; systemctl start ppm-prune.service")
        host.run("systemctl start ppm.socket ppm.service")
        assert "Bucket" not in host.run("journalctl -p err -u ppm-prune.service --no-pager -o cat").out


def test_what_one_host_accepts_the_other_serves(nodes: Nodes, figures: list[str]) -> None:
    took = []
    for number, (here, there) in enumerate([nodes.direct, nodes.direct[::-1]]):
        took.append(balanced.seconds_until_served(there, balanced.publish(here, f"published-{number}")))
    figures.append(f"Two hosts on a bucket: served by the other after {max(took):.1f} s")


def test_commands_on_a_host_use_the_bucket(nodes: Nodes) -> None:
    """`ppmctl` finds address and credentials by itself."""
    here, there = nodes.hosts
    made = balanced.publish(nodes.direct[1], "yanked")
    balanced.seconds_until_served(nodes.direct[0], made)
    here.run(f"ppmctl package yank {made.project} {made.version} --reason old")
    page = f"/simple/{made.project}/"
    until(lambda: b"data-yanked" in nodes.direct[1].ask("GET", page).body, f"{there.name} knows the yank", seconds=30)


def test_a_rolling_upgrade_fails_no_install_and_no_upload(
    nodes: Nodes, user: Client, rows: list[Row], tmp_path: Path
) -> None:
    """`playbooks/upgrade.yml` upgrades one host after the other; no client repeats an upload."""
    planted_one = balanced.publish(nodes.wire, "upgraded")
    for wire in nodes.direct:
        balanced.seconds_until_served(wire, planted_one)
    release = copies.copy(tmp_path / "release")
    package = release / "ppmctl" / "__init__.py"
    package.write_text(f"{package.read_text()}# another release\n")
    done: list[Made] = []
    clients: list[Stream] = [
        *balanced.uploads(nodes.wire, ["upgraded-0", "upgraded-1"], done, pause=1),
        *balanced.installs(user, f"http://{DOMAIN}/simple/", "upgraded", pause=3),
    ]

    def upgrade() -> None:
        playbook.run(release / "playbooks" / "upgrade.yml", nodes.inventory, folder=release).check()

    before = [host.run("readlink /opt/ppm/current").out for host in nodes.hosts]
    row = during("rolling upgrade", upgrade, clients, least={"upload": 20, "pip": 2, "uv": 2})
    rows.append(row)
    assert row.failures == ()
    after = [host.run("readlink /opt/ppm/current").out for host in nodes.hosts]
    assert before[0] == before[1] != after[0] == after[1]
    for wire in nodes.direct:
        for made in done:
            balanced.seconds_until_served(wire, made)


def test_the_loss_of_a_host_fails_no_install(nodes: Nodes, user: Client, rows: list[Row]) -> None:
    """A host is killed; an upload that is not acknowledged may be lost, and what was acknowledged is not."""
    made = balanced.publish(nodes.direct[0], "survives")
    balanced.seconds_until_served(nodes.direct[1], made)
    lost = nodes.hosts[0]

    def lose() -> None:
        bed_box = lost.box.engine.api.containers.get(lost.box.id)
        if bed_box.status == "running":
            bed_box.kill()
        time.sleep(0.5)

    clients = balanced.installs(user, f"http://{DOMAIN}/simple/", "survives")
    row = during("loss of a host", lose, clients, least={"pip": 1, "uv": 1})
    rows.append(row)
    assert row.failures == ()
    balanced.seconds_until_served(nodes.wire, balanced.publish(nodes.wire, "after-the-loss"))
    assert nodes.wire.ask("GET", f"/packages/{made.project}/{made.filename}").body == made.content
    assert nodes.wire.upload(planted.fresh("after-the-loss")).status == 200
