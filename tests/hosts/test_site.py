"""site.yml makes an index of bare Debian; then it is changed, renewed and rebooted. tests/clients has its clients.

The hosts are shared by the session. A test restores what it changes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
import requests
from support.deployed import SITE, Deployed, certificate, differences, eventually, files
from support.wheels import wheel

from testbed.acme import Acme


@pytest.fixture(scope="module", params=[13, 12], ids=["debian13", "debian12"])
def index(request: pytest.FixtureRequest, deployed: Callable[[int], Deployed]) -> Deployed:
    return deployed(request.param)


def test_one_run_makes_the_index_and_the_next_changes_nothing(index: Deployed) -> None:
    assert index.first.host.changed > 20
    assert (index.second.host.changed, index.second.changed) == (0, ())


def test_the_certificate_is_the_authoritys_with_its_chain(index: Deployed, acme: Acme) -> None:
    served = certificate(index)
    assert served.domains == [index.domain]
    assert "Pebble Intermediate" in served.issuer
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"https://{index.host.address}/healthz", verify=str(index.ca), timeout=10)


def test_a_renewal_by_certbots_own_unit_is_served_at_once(index: Deployed) -> None:
    """It is started as by the timer, with the CA of the ACME server, and without the environment of root's shell."""
    host, before = index.host, certificate(index)
    settings = f"/etc/letsencrypt/renewal/{index.domain}.conf"
    host.run(f"sed -i '1i renew_before_expiry = 99999 days' {settings}")
    try:
        host.run("systemctl start certbot.service")
        renewed = eventually(lambda: certificate(index), lambda served: served.serial != before.serial)

        # another service's site is broken: nginx keeps its configuration, and the journal has the error
        host.run("echo 'server {' > /etc/nginx/conf.d/broken.conf; systemctl start certbot.service")
        journal = host.run("journalctl -p err -n 40 --no-pager").out
        assert "broken.conf" in journal
        assert "systemctl reload nginx" in journal
        assert certificate(index) == renewed
        assert host.run("systemctl is-active nginx.service").out == "active\n"
    finally:
        host.run(f"rm -f /etc/nginx/conf.d/broken.conf; sed -i '/^renew_before_expiry/d' {settings}")
    host.run("systemctl reload nginx")
    eventually(lambda: certificate(index), lambda served: served.serial != renewed.serial)


WRITE, RELOAD = "nginx : Write the configuration", "nginx : Reload nginx"
SETTINGS = "pypiserver : Write settings, units and the command ppmctl"
START = "pypiserver : Start and enable the application"


def test_a_variable_changes_what_it_should_and_nothing_else(
    deployed: Callable[[int], Deployed], reset: Callable[[Deployed], None]
) -> None:
    """Some change only nginx, some the application too; a variable that is removed has no effect any more."""
    index = deployed(13)
    host = index.host
    where = ("/etc", "/opt", "/usr/local", "/srv/ppm", "/var/lib/ppm", "/root")
    ignored = ("/srv/ppm/incoming/*", "/srv/ppm/index/boot", "/srv/ppm/locks", "/root/.ansible*")
    ignored += ("/srv/ppm/index/search.sqlite3*", "/srv/ppm/servers/*")  # of the running application

    def snapshot() -> tuple[dict[str, str], str, str]:
        main = "systemctl show -p MainPID --value"
        return (
            files(host, *where, leave_out=ignored),
            host.run(f"{main} ppm.service").out,
            host.run(f"{main} nginx.service").out,
        )

    def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
        assert after.keys() ^ before.keys() == set()
        return set(differences(before, after))

    def digest(listing: dict[str, str]) -> str:
        return listing["/etc/nginx/ppm/headers.conf"].split()[-1]

    of_both = {"ppm_max_upload_size": "1M", "ppm_private_names": ["six", "acme-*"]}
    of_nginx = {"ppm_hsts_max_age": 600}
    names = ("headers", "http", "locations/answers", "locations/application", "locations/web")
    paths = {f"/etc/nginx/ppm/{name}.conf" for name in names} | {"/etc/ppm/ppm.env"}
    first, first_application, first_nginx = snapshot()
    try:
        shown = index.play(SITE, "--check", "--diff", **of_both, **of_nginx)
        assert set(shown.changed) | {RELOAD} == {WRITE, RELOAD, SETTINGS, START}
        assert {path for path in paths if f"before: {path}\n" in shown.output} == paths
        checked, *programs = snapshot()
        assert differences(first, checked) == {}, "--check changes nothing"
        assert programs == [first_application, first_nginx]

        result = index.play(**of_both, **of_nginx)
        second, second_application, second_nginx = snapshot()
        assert set(result.changed) == {WRITE, RELOAD, SETTINGS, START}
        assert changed(first, second) == paths
        assert second_application != first_application
        assert second_nginx == first_nginx, "nginx is reloaded, never restarted"
        assert index.get("/simple/").headers["Strict-Transport-Security"] == "max-age=600"

        result = index.play(**of_both)
        third, third_application, third_nginx = snapshot()
        assert set(result.changed) == {WRITE, RELOAD}
        assert changed(second, third) == {"/etc/nginx/ppm/headers.conf", "/etc/nginx/ppm/locations/web.conf"}
        assert digest(third) == digest(first) != digest(second)
        assert third_application == second_application, "the application restarts only if it has to"
        assert third_nginx == first_nginx

        big = index.upload(wheel("too-big", "1.0", files={"too_big.py": secrets.token_bytes(2 << 20)}))
        assert big.status_code == 413
        assert "1M (ppm_max_upload_size)" in big.text
        for name in ("six", "acme-secret"):
            assert index.get(f"/simple/{name}/").status_code == 404
        assert index.get("/simple/idna/").status_code == 302
    finally:
        reset(index)
    assert index.get("/simple/six/").status_code == 302


def test_a_reboot_loses_nothing(index: Deployed) -> None:
    made = wheel("before-reboot", "1.0")
    assert index.upload(made).status_code == 200
    folders = ("/srv/ppm/packages", "/srv/ppm/credentials", "/opt/ppm", "/etc/ppm", "/etc/nginx", "/etc/letsencrypt")
    issued, state = certificate(index), files(index.host, *folders)
    pages = [index.get(path).content for path in ("/simple/", "/simple/before-reboot/")]
    index.host.reboot()
    assert index.host.run("systemctl is-system-running", check=False).out == "running\n"
    assert differences(state, files(index.host, *folders)) == {}
    assert certificate(index) == issued
    assert [index.get(path).content for path in ("/simple/", "/simple/before-reboot/")] == pages
    assert index.get(f"/packages/before-reboot/{made[0]}").content == made[1]
    assert index.get("/simple/", auth=None).status_code == 401
    assert index.upload(wheel("before-reboot", "1.1")).status_code == 200
    assert len(index.page("before-reboot")["files"]) == 2
    units = ("ppm.socket", "ppm.service", "nginx.service", "certbot.timer", "ppm-prune.timer")
    assert index.host.run(f"systemctl is-active {' '.join(units)}").out.split() == ["active"] * len(units)
