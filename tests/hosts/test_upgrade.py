"""Another release, there and back, a reload, a renewal: nobody notices. What does not work is not switched to."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from support import checkout as copies
from support import planted, streams
from support.deployed import Deployed
from support.load import Row, Stream, during, table

from testbed import playbook
from testbed.acme import Acme
from testbed.clients import Client
from testbed.place import CHECKOUT
from testbed.playbook import Result

REQUESTS = 1000  # at least, in each event
RELEASES = "/opt/ppm/releases"
RENEW = (
    "REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt"
    " certbot renew --quiet --force-renewal --no-random-sleep-on-renew"
)


def checkout(folder: Path, **changes: str) -> Path:
    """A copy of this checkout that is another release, and has another unit for it.

    `server="…"` puts statements at the beginning of ppmctl/server.py.
    """
    copies.copy(folder)
    first = "from __future__ import annotations\n"
    for module, text in changes.items():
        path = folder / "ppmctl" / f"{module}.py"
        path.write_text(path.read_text().replace(first, f"{first}\n{text}\n", 1))
    for path in (
        folder / "ppmctl" / "__init__.py",
        folder / "roles/pypiserver/templates/etc/systemd/system/ppm.service.j2",
    ):
        path.write_text(f"{path.read_text()}# {folder}\n")
    return folder


def upgrade(index: Deployed, release: Path = CHECKOUT, *, expect: int = 0) -> Result:
    """Run upgrade.yml from a checkout."""
    return run(index, release / "playbooks" / "upgrade.yml", expect=expect)


def rollback(index: Deployed, *, expect: int = 0) -> Result:
    return run(index, CHECKOUT / "playbooks" / "rollback.yml", expect=expect)


def run(index: Deployed, path: Path, *, expect: int) -> Result:
    inventory = playbook.write_inventory(index.folder / "upgrade.yml", [index.host], variables=index.variables)
    result = playbook.run(path, inventory, folder=path.parents[1])
    assert result.code == expect, f"{path} exited {result.code}, not {expect}:\n{result.output}"
    return result


def link(index: Deployed, name: str) -> str:
    return index.host.run(f"basename $(readlink /opt/ppm/{name})").out.strip()


def installed(index: Deployed) -> list[str]:
    return sorted(index.host.run(f"ls {RELEASES}").out.split())


def started(index: Deployed) -> str:
    """Which process the application is."""
    return index.host.run("systemctl show -p MainPID -p ExecMainStartTimestampMonotonic ppm.service").out


def is_up(index: Deployed) -> None:
    planted.upload(planted.wire(index), planted.fresh("upgraded"))
    assert index.host.run("systemctl is-active ppm.socket ppm.service").out == "active\nactive\n"


@pytest.fixture(scope="module")
def index(deployed: Callable[[int], Deployed]) -> Iterator[Deployed]:
    made = deployed(13)
    planted.plant(made)
    for number in range(3):
        planted.upload(planted.wire(made), planted.fresh(f"streamed-{number}"))
    before = link(made, "current")
    yield made
    if link(made, "current") != before:
        upgrade(made)


@pytest.fixture(scope="module")
def user(client: Client, acme: Acme, index: Deployed) -> Client:
    return planted.user(client, acme, index)


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with another release than this one, which works as well."""
    return checkout(tmp_path_factory.mktemp("another") / "release")


@pytest.fixture(scope="module")
def rows(figures: list[str]) -> Iterator[list[Row]]:
    made: list[Row] = []
    yield made
    figures.extend(table(made))


def everybody(index: Deployed, user: Client) -> list[Stream]:
    """Those who install and upload while something happens, none of whom tries a second time."""
    wire = planted.wire(index)
    reads = planted.reads(index)
    chance = random.Random()

    def upload(project: str, _number: int, seconds: float = 0.0) -> None:
        made = planted.fresh(project, size=streams.some_size(chance, largest=1 << 20))
        planted.upload(wire, made, seconds=seconds)

    def ask(_number: int) -> None:
        reply = wire.ask("GET", f"/simple/{planted.PROJECT}/", headers={"Accept": planted.UNDECIDED})
        assert reply.status == 200, str(reply)

    def pip(number: int) -> None:
        program = ("pip/bin/pip", "pip-newest --python pip/bin/python")[number % 2]
        options = f"--retries 0 --no-cache-dir --force-reinstall --index-url {index.simple}"
        user.run(f"{program} install -q {options} {planted.PROJECT}")

    def uv(_number: int) -> None:
        options = f"--python uv --no-cache --reinstall --index-url {index.simple}"
        user.run(f"uv pip install -q {options} {planted.PROJECT}", UV_HTTP_RETRIES="0")

    return [
        *(Stream("request", reads.ask, pause=0.04) for _ in range(2)),
        # more than a short queue would hold; they wait in the socket during a restart, as uploads do
        *(Stream("application", ask, pause=0.25) for _ in range(5)),
        *(Stream("upload", partial(upload, f"streamed-{number}"), pause=0.3) for number in range(2)),
        Stream("slow upload", partial(upload, "streamed-2", seconds=3)),
        Stream("pip", pip, pause=2),
        Stream("uv", uv, pause=1),
    ]


@pytest.mark.parametrize("event", ["upgrade.yml", "rollback.yml", "reload of nginx", "renewal"])
def test_nobody_notices(event: str, index: Deployed, another: Path, user: Client, rows: list[Row]) -> None:
    """No request, upload or install fails, of clients that try once."""
    releases = itertools.cycle([another, CHECKOUT])
    happens: dict[str, Callable[[], object]] = {
        "upgrade.yml": lambda: upgrade(index, next(releases)),
        "rollback.yml": lambda: rollback(index),
        "reload of nginx": lambda: index.host.run("nginx -q -t && systemctl reload nginx && sleep 2"),
        "renewal": lambda: renew(index),
    }
    if event == "rollback.yml" and link(index, "previous") not in installed(index):
        upgrade(index, another)
    row = during(event, happens[event], everybody(index, user), least={"request": REQUESTS, "pip": 2, "uv": 2})
    rows.append(row)
    print(*table([row]), sep="\n")
    assert row.failures == ()
    assert row.done["upload"] >= 10
    is_up(index)
    index.host.run("ppmctl index check")


def renew(index: Deployed) -> None:
    """Renew the certificate before its time; fail unless nginx serves the new one."""
    before = index.host.run("cat /etc/ppm/tls/fullchain.pem").out
    index.host.run(RENEW)
    assert index.host.run("cat /etc/ppm/tls/fullchain.pem").out != before
    served = index.host.run(
        f"openssl s_client -connect localhost:443 -servername {index.domain} </dev/null 2>/dev/null | openssl x509"
    ).out
    assert index.host.run("openssl x509 -in /etc/ppm/tls/fullchain.pem").out == served


# releases that do not work


def test_a_release_that_fails_its_self_check_is_not_switched_to(index: Deployed, tmp_path: Path) -> None:
    """The old one is not even started anew."""
    broken = checkout(tmp_path / "broken", app="import nothing_of_that_name")
    before = link(index, "current"), link(index, "previous"), started(index), units(index)
    refused = upgrade(index, broken, expect=2)
    assert "nothing_of_that_name" in refused.output, refused.output
    assert f"{before[0]}, serves on" in said(refused), refused.output
    assert "run playbooks/upgrade.yml again" in said(refused), refused.output
    assert (link(index, "current"), link(index, "previous"), started(index), units(index)) == before
    is_up(index)


def test_a_release_that_does_not_come_up_is_switched_back(
    index: Deployed, user: Client, rows: list[Row], tmp_path: Path
) -> None:
    """What passes by itself may fail as a service. Who uploads meanwhile waits for the old one."""
    dying = 'import os, sys\nif "NOTIFY_SOCKET" in os.environ:\n    sys.exit("it dies as a service")'
    broken = checkout(tmp_path / "broken", **{"cli/serve": dying})
    before = link(index, "current"), link(index, "previous"), units(index)
    results: list[Result] = []
    row = during(
        "upgrade.yml that fails",
        lambda: results.append(upgrade(index, broken, expect=2)),
        everybody(index, user),
        least={},
    )
    rows.append(row)
    assert row.failures == ()
    (refused,) = results
    assert f"{before[0]}, serves on" in said(refused), refused.output
    assert "it dies as a service" in said(refused), refused.output
    assert (link(index, "current"), link(index, "previous"), units(index)) == before
    is_up(index)


def test_the_same_release_again_changes_nothing(index: Deployed, another: Path) -> None:
    upgrade(index, another)
    before = started(index)
    again = upgrade(index, another)
    assert (again.host.changed, again.changed) == (0, ())
    assert "Already served" in again.output
    assert started(index) == before


def test_rollback_goes_back_and_forth_between_the_two_releases_that_are_kept(index: Deployed, another: Path) -> None:
    upgrade(index, another)
    upgrade(index)
    new, old = link(index, "current"), link(index, "previous")
    assert installed(index) == sorted([new, old])
    assert f"Serves: {old} (before: {new})" in said(rollback(index))
    assert (link(index, "current"), link(index, "previous")) == (old, new)
    is_up(index)
    rollback(index)
    assert (link(index, "current"), link(index, "previous")) == (new, old)
    is_up(index)
    assert installed(index) == sorted([new, old])


def test_rollback_with_nothing_to_go_back_to_says_so(index: Deployed) -> None:
    before = link(index, "current"), started(index)
    index.host.run("mv /opt/ppm/previous /opt/ppm/aside")
    try:
        refused = rollback(index, expect=2)
    finally:
        index.host.run("mv /opt/ppm/aside /opt/ppm/previous")
    assert "There is no release on this host to go back to" in said(refused), refused.output
    assert "playbooks/upgrade.yml" in said(refused)
    assert (link(index, "current"), started(index)) == before


def units(index: Deployed) -> str:
    """What the service is started with."""
    return index.host.run("sha256sum /etc/systemd/system/ppm.* /etc/ppm/ppm.env /usr/local/bin/ppmctl").out


def said(result: Result) -> str:
    """What Ansible said, without its line breaks."""
    return " ".join(result.output.split())
