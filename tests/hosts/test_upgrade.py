"""Another release, there and back, a reload, a renewal: nobody notices. What does not work is not switched to.

The tests take the host as the one before left it, since each upgrade takes its time; it is put back after the last.
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

REQUESTS = 1000  # at least, in all events
LEAST = {"request": 100, "pip": 2, "uv": 2}  # in each
RELEASES = "/opt/ppm/releases"
RELOAD = "for _ in 1 2 3 4 5 6 7 8 9 10; do nginx -q -t && systemctl reload nginx && sleep 0.5 || exit 1; done"
RENEW = (
    "REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt"
    " certbot renew --quiet --force-renewal --no-random-sleep-on-renew"
)
FAULT = "import nothing_of_that_name"  # the self-check finds it
DYING = 'import os, sys\nif "NOTIFY_SOCKET" in os.environ:\n    sys.exit("it dies as a service")'  # and not this


def checkout(folder: Path, **changes: str) -> Path:
    """Return a copy of this checkout that is another release, and has another unit for it.

    `server="…"` puts statements at the beginning of ppmctl/server/gunicorn.py.
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


def started(index: Deployed) -> str:
    """Return which process the application is."""
    return index.host.run("systemctl show -p MainPID -p ExecMainStartTimestampMonotonic ppm.service").out


def units(index: Deployed) -> str:
    """Return what the service is started with."""
    return index.host.run("sha256sum /etc/systemd/system/ppm.* /etc/ppm/ppm.env /usr/local/bin/ppmctl").out


def serving(index: Deployed) -> dict[str, str]:
    """Return what serves, and what it would be rolled back to."""
    links = {name: link(index, name) for name in ("current", "previous")}
    return {**links, "process": started(index), "units": units(index)}


def is_up(index: Deployed) -> None:
    """Fail unless an upload succeeds, and the units are active."""
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
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with another release than this one, which works as well."""
    return checkout(tmp_path_factory.mktemp("another") / "release")


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a release that does not work, for two reasons."""
    return checkout(tmp_path_factory.mktemp("broken") / "release", app=FAULT, **{"cli/serve": DYING})


@pytest.fixture(scope="module")
def refused(index: Deployed, broken: Path) -> tuple[Result, dict[str, str], dict[str, str]]:
    """The first attempt to switch to the broken release, and what served before and after it."""
    before = serving(index)
    result = upgrade(index, broken, expect=2)
    return result, before, serving(index)


@pytest.fixture(scope="module")
def rows(figures: list[str]) -> Iterator[list[Row]]:
    made: list[Row] = []
    yield made
    figures.extend(table(made))


def everybody(index: Deployed, user: Client) -> list[Stream]:
    """Return those who install and upload while something happens, none of whom tries a second time."""
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


def test_a_release_that_fails_its_self_check_is_not_switched_to(
    index: Deployed, refused: tuple[Result, dict[str, str], dict[str, str]]
) -> None:
    """The process of the old one is not even restarted."""
    result, before, after = refused
    assert "nothing_of_that_name" in result.output, result.output
    assert f"{before['current']}, serves on" in printed(result), result.output
    assert "run playbooks/upgrade.yml again" in printed(result), result.output
    assert after == before
    is_up(index)


@pytest.mark.usefixtures("refused")
def test_nobody_notices(index: Deployed, another: Path, broken: Path, user: Client, rows: list[Row]) -> None:
    """No request, upload or install fails, of clients that try once, whatever happens to the host."""
    clients = everybody(index, user)

    def happens(name: str, event: Callable[[], object]) -> None:
        rows.append(row := during_one_of_several(name, event, clients, least=LEAST))
        print(*table([row]), sep="\n")
        assert row.failures == ()
        is_up(index)

    with running(clients):
        happens("upgrade.yml that fails", lambda: upgrade_that_dies(index, broken))
        old = link(index, "current")
        happens("upgrade.yml", lambda: upgrade(index, another))
        new = link(index, "current")
        assert (new != old, link(index, "previous")) == (True, old)
        happens("rollback.yml", lambda: there_and_back(index))
        happens("10 reloads of nginx", lambda: index.host.run(RELOAD))
        happens("renewal", lambda: renew(index))
    assert failures(clients) == ()
    done = {kind: sum(row.done[kind] for row in rows) for kind in rows[0].done}
    assert done["request"] >= REQUESTS
    assert done["upload"] >= 50
    index.host.run("ppmctl index check")


def there_and_back(index: Deployed) -> None:
    """Roll back twice: to the release before, and from there to the one that serves now."""
    new, old = link(index, "current"), link(index, "previous")
    assert f"Serves: {old} (before: {new})" in printed(rollback(index))
    assert (link(index, "current"), link(index, "previous")) == (old, new)
    is_up(index)
    rollback(index)
    assert (link(index, "current"), link(index, "previous")) == (new, old)


def renew(index: Deployed) -> None:
    """Renew the certificate before its time; fail unless nginx serves the new one."""
    before = index.host.run("cat /etc/ppm/tls/fullchain.pem").out
    index.host.run(RENEW)
    assert index.host.run("cat /etc/ppm/tls/fullchain.pem").out != before
    served = index.host.run(
        f"openssl s_client -connect localhost:443 -servername {index.domain} </dev/null 2>/dev/null | openssl x509"
    ).out
    assert index.host.run("openssl x509 -in /etc/ppm/tls/fullchain.pem").out == served


def upgrade_that_dies(index: Deployed, broken: Path) -> None:
    """Switch to a release that passes its self-check and then does not come up: the old one is switched back to."""
    index.host.run(f"sed -i '/^{FAULT}$/d' {RELEASES}/*/venv/lib/python3*/site-packages/ppmctl/server/app.py")
    before = link(index, "current"), link(index, "previous"), units(index)
    refused = upgrade(index, broken, expect=2)
    assert f"{before[0]}, serves on" in printed(refused), refused.output
    assert "it dies as a service" in printed(refused), refused.output
    assert (link(index, "current"), link(index, "previous"), units(index)) == before


def test_an_installed_release_is_switched_to_and_again_changes_nothing(index: Deployed, another: Path) -> None:
    """Releases that are neither running nor the way back are removed."""
    if link(index, "previous") not in installed(index):
        upgrade(index, another)
    before = link(index, "current")
    back = upgrade(index)
    assert f"(before: {before};" in printed(back)
    assert "release : Make the release's Python environment" not in back.changed
    assert link(index, "previous") == before
    assert installed(index) == sorted([link(index, "current"), before])
    is_up(index)

    process = started(index)
    again = upgrade(index)
    assert (again.host.changed, again.changed) == (0, ())
    assert "Already served" in again.output
    assert started(index) == process


def test_rollback_with_nothing_to_go_back_to_is_refused(index: Deployed) -> None:
    index.host.run("rm -f /opt/ppm/previous")
    before = serving(index)
    refused = rollback(index, expect=2)
    assert "There is no release on this host to go back to" in printed(refused), refused.output
    assert "playbooks/upgrade.yml" in printed(refused)
    assert serving(index) == before


def printed(result: Result) -> str:
    """Return what Ansible printed, without its line breaks."""
    return " ".join(result.output.split())
