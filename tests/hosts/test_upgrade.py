"""Upgrade, rollback, reload and renewal fail no request, and a broken release is not activated.

Each test continues with the host of the one before, because an upgrade takes long; it is reset after the last.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from support import checkout as copies
from support import planted, streams
from support.deployed import Deployed
from support.load import Row, Stream, during_one_of_several, failures, running, table

from testbed import playbook
from testbed.acme import Acme
from testbed.clients import Client
from testbed.place import CHECKOUT
from testbed.playbook import Result

REQUESTS = 1000  # minimum, over all events
LEAST = {"request": 100, "pip": 2, "uv": 2}  # minimum, in each event
RELEASES = "/opt/ppm/releases"
RELOAD = "for _ in 1 2 3 4 5 6 7 8 9 10; do nginx -q -t && systemctl reload nginx && sleep 0.5 || exit 1; done"
RENEW = (
    "REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt"
    " certbot renew --quiet --force-renewal --no-random-sleep-on-renew"
)
FAILS_SELF_CHECK = "import nothing_of_that_name"  # the self-check finds this
DIES_AS_A_SERVICE = (
    'import os, sys\nif "NOTIFY_SOCKET" in os.environ:\n    sys.exit("it dies as a service")'  # but not this
)


def checkout(folder: Path, **changes: str) -> Path:
    """Copy this checkout as another release, with another unit, and return its folder.

    `**{"server/app": "…"}` puts statements at the beginning of ppmctl/server/app.py.
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
    return index.host.run(f'basename "$(readlink /opt/ppm/{name})"').out.strip()


def installed(index: Deployed) -> list[str]:
    return sorted(index.host.run(f"ls {RELEASES}").out.split())


def process_of(index: Deployed) -> str:
    """Return the application's process ID and start time."""
    return index.host.run("systemctl show -p MainPID -p ExecMainStartTimestampMonotonic ppm.service").out


def units(index: Deployed) -> str:
    """Return checksums of the units, the settings and the command."""
    return index.host.run("sha256sum /etc/systemd/system/ppm.* /etc/ppm/ppm.env /usr/local/bin/ppmctl").out


def serving(index: Deployed) -> dict[str, str]:
    """Return the active and the previous release, the process and the units."""
    links = {name: link(index, name) for name in ("current", "previous")}
    return {**links, "process": process_of(index), "units": units(index)}


def require_up(index: Deployed) -> None:
    """Fail unless an upload succeeds and the units are active."""
    planted.upload(planted.wire(index), planted.fresh("upgraded"))
    assert index.host.run("systemctl is-active ppm.socket ppm.service").out == "active\nactive\n"


@pytest.fixture(scope="module")
def index(deployed: Callable[[int], Deployed], reset: Callable[[Deployed], None]) -> Iterator[Deployed]:
    made = deployed(13)
    planted.plant(made)
    for project in ("upgraded", *(f"streamed-{number}" for number in range(3))):
        planted.upload(planted.wire(made), planted.fresh(project))
    yield made
    reset(made)


@pytest.fixture(scope="module")
def user(client: Client, acme: Acme, index: Deployed) -> Client:
    return planted.user(client, acme, index)


@pytest.fixture(scope="module")
def working_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a checkout with another release, which works too."""
    return checkout(tmp_path_factory.mktemp("another") / "release")


@pytest.fixture(scope="module")
def broken_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a checkout with a release that fails for two reasons."""
    changes = {"server/app": FAILS_SELF_CHECK, "cli/serve": DIES_AS_A_SERVICE}
    return checkout(tmp_path_factory.mktemp("broken") / "release", **changes)


@pytest.fixture(scope="module")
def failed_upgrade(index: Deployed, broken_release: Path) -> tuple[Result, dict[str, str], dict[str, str]]:
    """Try to upgrade to the broken release; return the result, and what served before and after it."""
    before = serving(index)
    result = upgrade(index, broken_release, expect=2)
    return result, before, serving(index)


@pytest.fixture(scope="module")
def rows(figures: list[str]) -> Iterator[list[Row]]:
    made: list[Row] = []
    yield made
    figures.extend(table(made))


def clients_without_retries(index: Deployed, user: Client) -> list[Stream]:
    """Return streams of installs and uploads that never retry."""
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
        # with pauses, because an upgrade on two cores would otherwise wait for its own test
        *(Stream("request", reads.ask, pause=0.15) for _ in range(2)),
        # more than fit into a short queue; they wait in the socket during a restart, like uploads
        *(Stream("application", ask, pause=0.6) for _ in range(5)),
        *(Stream("upload", partial(upload, f"streamed-{number}"), pause=1) for number in range(2)),
        Stream("slow upload", partial(upload, "streamed-2", seconds=3), pause=1),
        Stream("pip", pip, pause=6),
        Stream("uv", uv, pause=6),
    ]


def test_a_release_that_fails_its_self_check_is_not_switched_to(
    index: Deployed, failed_upgrade: tuple[Result, dict[str, str], dict[str, str]]
) -> None:
    """The old process is not even restarted."""
    result, before, after = failed_upgrade
    assert "nothing_of_that_name" in result.output, result.output
    assert f"{before['current']}, continues to serve unchanged" in printed(result), result.output
    assert "run playbooks/upgrade.yml again" in printed(result), result.output
    assert after == before
    require_up(index)


@pytest.mark.usefixtures("failed_upgrade")
def test_upgrade_rollback_reload_and_renewal_fail_no_request(
    index: Deployed, working_release: Path, broken_release: Path, user: Client, rows: list[Row]
) -> None:
    """Clients without retries see no failure."""
    clients = clients_without_retries(index, user)

    def happens(name: str, event: Callable[[], object]) -> None:
        rows.append(row := during_one_of_several(name, event, clients, least=LEAST))
        print(*table([row]), sep="\n")
        assert row.failures == ()
        require_up(index)

    with running(clients):
        happens("upgrade.yml that fails", lambda: upgrade_that_dies(index, broken_release))
        old = link(index, "current")
        happens("upgrade.yml", lambda: upgrade(index, working_release))
        new = link(index, "current")
        assert (new != old, link(index, "previous")) == (True, old)
        happens("rollback.yml", lambda: roll_back_twice(index))
        happens("10 reloads of nginx", lambda: index.host.run(RELOAD))
        happens("renewal", lambda: renew(index))
    assert failures(clients) == ()
    done = {kind: sum(row.done[kind] for row in rows) for kind in rows[0].done}
    assert done["request"] >= REQUESTS
    assert done["upload"] >= 50
    index.host.run("ppmctl index check")


def roll_back_twice(index: Deployed) -> None:
    """Roll back to the previous release, and from there back to the current one."""
    new, old = link(index, "current"), link(index, "previous")
    assert f"Serves: {old} (before: {new})" in printed(rollback(index))
    assert (link(index, "current"), link(index, "previous")) == (old, new)
    require_up(index)
    rollback(index)
    assert (link(index, "current"), link(index, "previous")) == (new, old)


def renew(index: Deployed) -> None:
    """Renew the certificate early; fail unless nginx serves the new one."""
    before = index.host.run("cat /etc/ppm/tls/fullchain.pem").out
    index.host.run(RENEW)
    assert index.host.run("cat /etc/ppm/tls/fullchain.pem").out != before
    served = index.host.run(
        f"openssl s_client -connect localhost:443 -servername {index.domain} </dev/null 2>/dev/null | openssl x509"
    ).out
    assert index.host.run("openssl x509 -in /etc/ppm/tls/fullchain.pem").out == served


def upgrade_that_dies(index: Deployed, broken_release: Path) -> None:
    """Upgrade to a release that passes its self-check and then does not start: the old one is activated again."""
    index.host.run(
        f"sed -i '/^{FAILS_SELF_CHECK}$/d' {RELEASES}/*/venv/lib/python3*/site-packages/ppmctl/server/app.py"
    )
    before = link(index, "current"), link(index, "previous"), units(index)
    failed_upgrade = upgrade(index, broken_release, expect=2)
    assert f"{before[0]}, continues to serve unchanged" in printed(failed_upgrade), failed_upgrade.output
    assert "it dies as a service" in printed(failed_upgrade), failed_upgrade.output
    assert (link(index, "current"), link(index, "previous"), units(index)) == before


def test_an_installed_release_is_activated_and_a_second_run_changes_nothing(
    index: Deployed, working_release: Path
) -> None:
    """Releases that are neither active nor the previous one are removed."""
    if link(index, "previous") not in installed(index):
        upgrade(index, working_release)
    before = link(index, "current")
    back = upgrade(index)
    assert f"(before: {before};" in printed(back)
    assert "release : Make the release's Python environment" not in back.changed
    assert link(index, "previous") == before
    assert installed(index) == sorted([link(index, "current"), before])
    require_up(index)

    process = process_of(index)
    again = upgrade(index)
    assert (again.host.changed, again.changed) == (0, ())
    assert "Already served" in again.output
    assert process_of(index) == process


def test_rollback_with_nothing_to_go_back_to_is_refused(index: Deployed) -> None:
    index.host.run("rm -f /opt/ppm/previous")
    before = serving(index)
    failed_upgrade = rollback(index, expect=2)
    assert "There is no release on this host to go back to" in printed(failed_upgrade), failed_upgrade.output
    assert "playbooks/upgrade.yml" in printed(failed_upgrade)
    assert serving(index) == before


def printed(result: Result) -> str:
    """Return what Ansible printed, without its line breaks."""
    return " ".join(result.output.split())
