"""From bare Debian to an index by one playbook; then changed, renewed and rebooted. Its clients are in tests/clients.

The hosts are the session's. What a test changes about one it puts back.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
import requests
from support.deployed import SITE, Deployed, certificate, eventually, files
from support.wheels import wheel

from testbed.acme import Acme


@pytest.fixture(scope="module", params=[13, 12], ids=["debian13", "debian12"])
def index(request: pytest.FixtureRequest, deployed: Callable[[int], Deployed]) -> Deployed:
    return deployed(request.param)


def test_one_run_makes_the_index_and_the_next_changes_nothing(index: Deployed) -> None:
    assert index.first.host.changed > 20
    assert (index.second.host.changed, index.second.changed) == (0, ())


def test_the_certificate_is_the_authoritys_with_its_chain(index: Deployed, acme: Acme) -> None:
    found = certificate(index)
    assert found.domains == [index.domain]
    assert "Pebble Intermediate" in found.issuer
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"https://{index.host.address}/healthz", verify=str(index.ca), timeout=10)


def test_a_renewal_by_certbots_own_unit_is_served_at_once(index: Deployed) -> None:
    """As the timer starts it, with the authority's own CA; not as root's shell would."""
    host, before = index.host, certificate(index)
    settings = f"/etc/letsencrypt/renewal/{index.domain}.conf"
    host.run(f"sed -i '1i renew_before_expiry = 99999 days' {settings}")
    try:
        host.run("systemctl start certbot.service")
        renewed = eventually(lambda: certificate(index), lambda found: found.serial != before.serial)

        # a broken site of somebody else's: nginx goes on with what it has, and somebody is told
        host.run("echo 'server {' > /etc/nginx/conf.d/broken.conf; systemctl start certbot.service")
        said = host.run("journalctl -p err -n 40 --no-pager").out
        assert "broken.conf" in said
        assert "systemctl reload nginx" in said
        assert certificate(index) == renewed
        assert host.run("systemctl is-active nginx.service").out == "active\n"
    finally:
        host.run(f"rm -f /etc/nginx/conf.d/broken.conf; sed -i '/^renew_before_expiry/d' {settings}")
    host.run("systemctl reload nginx")
    eventually(lambda: certificate(index), lambda found: found.serial != renewed.serial)


# What a variable changes: tasks, by their names; files; and what a client sees of it.
CHANGES: list[tuple[dict[str, object], set[str], set[str]]] = [
    (
        {"ppm_hsts_max_age": 600},
        {"nginx : Write the configuration", "nginx : Reload nginx"},
        {"/etc/nginx/ppm/headers.conf"},
    ),
    (
        {"ppm_max_upload_size": "1M"},
        {
            *("nginx : Write the configuration", "nginx : Reload nginx"),
            "pypiserver : Write the settings, the units and the command",
            "pypiserver : Start the application, now and with the host",
        },
        {"/etc/nginx/ppm/index.conf", "/etc/ppm/ppm.env"},
    ),
    (
        {"ppm_private_names": ["six", "acme-*"]},
        {
            *("nginx : Write the configuration", "nginx : Reload nginx"),
            "pypiserver : Write the settings, the units and the command",
            "pypiserver : Start the application, now and with the host",
        },
        {"/etc/nginx/ppm/http.conf", "/etc/ppm/ppm.env"},
    ),
]


def test_a_variable_changes_what_it_should_and_nothing_else(deployed: Callable[[int], Deployed]) -> None:
    index = deployed(13)
    host = index.host
    where = ("/etc", "/opt", "/usr/local", "/srv/ppm", "/var/lib/ppm", "/root")
    passing = ("/srv/ppm/incoming/*", "/srv/ppm/index/boot", "/srv/ppm/locks", "/root/.ansible*")

    def look() -> tuple[dict[str, str], str, str]:
        main = "systemctl show -p MainPID --value"
        return (
            files(host, *where, leave_out=passing),
            host.run(f"{main} ppm.service").out,
            host.run(f"{main} nginx.service").out,
        )

    before, given = look(), {}
    original = before[0]
    for changed, tasks, paths in CHANGES:
        given |= changed
        if changed is CHANGES[-1][0]:
            shown = index.play(SITE, "--check", "--diff", **given)
            assert set(shown.changed) | {"nginx : Reload nginx"} == tasks
            assert look() == before, "--check changes nothing"
            assert {path for path in paths if f"before: {path}\n" in shown.output} == paths

        result = index.play(**given)
        after = look()
        assert set(result.changed) == tasks
        assert {path for path in after[0] if after[0][path] != before[0].get(path)} == paths
        assert after[0].keys() == before[0].keys()
        assert (after[1] == before[1]) == ("/etc/ppm/ppm.env" not in paths), (
            "the application restarts only if it has to"
        )
        assert after[2] == before[2], "nginx is reloaded, never restarted"
        before = after

    assert index.get("/simple/").headers["Strict-Transport-Security"] == "max-age=600"
    big = index.upload(wheel("too-big", "1.0", files={"too_big.py": secrets.token_bytes(2 << 20)}))
    assert big.status_code == 413
    assert "1M (ppm_max_upload_size)" in big.text
    for name in ("six", "acme-secret"):
        assert index.get(f"/simple/{name}/").status_code == 404
    assert index.get("/simple/idna/").status_code == 302

    index.play()
    back = look()[0]
    assert {path: what.split()[-1] for path, what in back.items() if what[0] == "f"} == {
        path: what.split()[-1] for path, what in original.items() if what[0] == "f"
    }
    assert index.get("/simple/six/").status_code == 302


def test_a_reboot_loses_nothing(index: Deployed) -> None:
    made = wheel("before-reboot", "1.0")
    assert index.upload(made).status_code == 200
    kept = ("/srv/ppm/packages", "/srv/ppm/credentials", "/opt/ppm", "/etc/ppm", "/etc/nginx", "/etc/letsencrypt")
    issued, state = certificate(index), files(index.host, *kept)
    pages = [index.get(path).content for path in ("/simple/", "/simple/before-reboot/")]
    index.host.reboot()
    assert index.host.run("systemctl is-system-running", check=False).out == "running\n"
    assert files(index.host, *kept) == state
    assert certificate(index) == issued
    assert [index.get(path).content for path in ("/simple/", "/simple/before-reboot/")] == pages
    assert index.get(f"/packages/before-reboot/{made[0]}").content == made[1]
    assert index.get("/simple/", auth=None).status_code == 401
    assert index.upload(wheel("before-reboot", "1.1")).status_code == 200
    assert len(index.page("before-reboot")["files"]) == 2
    units = ("ppm.socket", "ppm.service", "nginx.service", "certbot.timer", "ppm-prune.timer")
    assert index.host.run(f"systemctl is-active {' '.join(units)}").out.split() == ["active"] * len(units)
