"""site.yml makes an index of bare Debian; then it is changed, renewed and rebooted. tests/clients has its clients.

The hosts are shared by the session. A test restores what it changes.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from support.deployed import SITE, Deployed, certificate, differences, eventually, files
from support.tls import Authority
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


# a key that the authority does not know, as if it had lost the account
LOSE_ACCOUNT = """python3 - <<'END'
import glob, josepy
from cryptography.hazmat.primitives.asymmetric import rsa
(path,) = glob.glob("/etc/letsencrypt/accounts/*/dir/*/private_key.json")
key = josepy.JWKRSA(key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
open(path, "w").write(key.json_dumps())
END
"""
RENEW_ACCOUNT = "letsencrypt : Register again if the authority has lost the account"


def last_renewal(index: Deployed) -> dict[str, Any]:
    """Return the recorded result of the last renewal, or {}."""
    operations: list[dict[str, Any]] = json.loads(index.host.run("ppmctl operation list --json").out)["operations"]
    return next((each for each in operations if each["name"] == "certificate"), {})


def count_renewals(index: Deployed) -> int:
    """Return the number of audited renewals, failed ones too."""
    lines = index.host.run("cat /srv/ppm/audit.jsonl").out.splitlines()
    return sum(json.loads(line)["action"] == "certificate" for line in lines)


def test_a_failed_renewal_is_recorded_and_the_next_success_too(index: Deployed) -> None:
    host, settings = index.host, f"/etc/letsencrypt/renewal/{index.domain}.conf"
    host.run(f"cp {settings} /root/kept; sed -i '1i renew_before_expiry = 99999 days' {settings}")
    try:
        host.run(f"sed -i 's#^server = .*#server = https://acme.test:9/dir#' {settings}")
        assert host.run("systemctl start certbot.service", check=False).code
        failed = eventually(lambda: last_renewal(index), lambda result: not result.get("succeeded", True))
        assert failed["detail"] == "see journalctl -u certbot.service"
        lines = host.run("tail -5 /srv/ppm/audit.jsonl").out.splitlines()
        assert any(json.loads(line)["action"] == "certificate" for line in lines)
        assert "certbot.service failed, see: journalctl" in host.run("journalctl -p err -n 40 --no-pager").out
        findings = json.loads(host.run("ppmctl doctor --json", check=False).out)["findings"]
        assert [each["state"] for each in findings if each["check"] == "last renewal"] == ["fail"]

        host.run(f"cp /root/kept {settings}; systemctl start certbot.service")  # nothing is due
        over = last_renewal(index)
        assert over["succeeded"], "as after a failure that another certificate of the host had"

        host.run(f"sed -i '1i renew_before_expiry = 99999 days' {settings}; systemctl start certbot.service")
        renewed = eventually(lambda: last_renewal(index), lambda result: result["finished"] != over["finished"])
        assert renewed["last_success"] == renewed["finished"] > over["finished"] > failed["finished"]
    finally:
        host.run(f"mv /root/kept {settings}; sed -i '/^renew_before_expiry/d' {settings}; systemctl reset-failed")


def test_a_lost_account_is_registered_again_by_the_renewal(index: Deployed) -> None:
    """Before the certificate is due, so that nobody has to hurry; the new certificate is served at once."""
    host, before, known = index.host, certificate(index), count_renewals(index)
    host.run(LOSE_ACCOUNT)
    host.run("systemctl start certbot.service")
    renewed = eventually(lambda: certificate(index), lambda served: served.serial != before.serial)
    assert "Pebble" in renewed.issuer
    assert host.run("ls /etc/letsencrypt/forgotten-accounts | wc -l").out == "1\n"
    assert eventually(lambda: last_renewal(index), lambda result: result.get("succeeded", False))
    assert count_renewals(index) == known + 1, "the hook ran once"
    host.run("systemctl start certbot.service")
    assert certificate(index) == renewed, "the new account is known"
    host.run("rm -r /etc/letsencrypt/forgotten-accounts")


def test_site_yml_repairs_an_account_and_an_expired_certificate_and_warns_before(
    deployed: Callable[[int], Deployed], tmp_path: Path
) -> None:
    index = deployed(13)
    host, authority = index.host, Authority()

    def serve(days: int) -> None:
        """Serve a certificate that was not renewed: it ends in `days`."""
        chain, key = authority.issue(tmp_path / str(days), index.domain, days=days, age=80)
        for name, path, mode in (("fullchain", chain, 0o644), ("privkey", key, 0o600)):
            host.run(f"rm /etc/ppm/tls/{name}.pem")
            host.box.put(f"/etc/ppm/tls/{name}.pem", path.read_bytes(), mode=mode, owner=0)
        host.run("systemctl reload nginx")

    serve(10)
    host.run(LOSE_ACCOUNT)
    result = index.play()
    assert set(result.changed) == {RENEW_ACCOUNT, RELOAD}
    host.run("rm -r /etc/letsencrypt/forgotten-accounts")
    serve(9)
    timers = "ppm-count.timer certbot.timer"
    host.run(f"systemctl disable --quiet --now {timers}")
    again = index.play()
    assert set(again.changed) == {START, "letsencrypt : Start and enable certbot's timer"}
    assert host.run(f"systemctl is-active {timers}; systemctl is-enabled {timers}").out.split() == [
        *("active", "active", "enabled", "enabled")
    ]
    warned = " ".join(again.output.split())
    assert "WARNING: the certificate expires on " in warned
    assert "was not renewed. On the host: systemctl start certbot.service" in warned
    assert "WARNING: the index works on the host, but this machine did not reach it" in warned, "it has no DNS for it"
    findings = json.loads(host.run("ppmctl doctor --json", check=False).out)["findings"]
    assert [each["state"] for each in findings if each["check"] == "certificate"] == ["warn"]
    serve(-1)
    assert "letsencrypt : Get the certificate" in index.play().changed
    assert "Pebble" in eventually(lambda: certificate(index), lambda _: True).issuer


def test_site_yml_fails_while_the_index_is_down(deployed: Callable[[int], Deployed]) -> None:
    """Nothing is to be changed, all units are active, and no request is answered."""
    index = deployed(13)
    index.host.run("systemctl kill --signal=STOP nginx.service")
    try:
        result = index.play(expect=2)
    finally:
        index.host.run("systemctl kill --signal=CONT nginx.service")
    assert result.changed == ()
    assert f"The index does not work at https://{index.domain}/" in result.output


def test_a_site_that_keeps_nginx_from_starting_is_found_first(deployed: Callable[[int], Deployed]) -> None:
    """As on a host whose nginx has a default server: nginx restarts in vain, and site.yml must not report success."""
    index = deployed(13)
    path = "/etc/nginx/conf.d/other.conf"
    index.host.run(f"echo 'server {{ listen 80 default_server; }}' >{path}; systemctl restart nginx", check=False)
    try:
        before = files(index.host, "/etc", "/var/backups")
        result = index.play(expect=2)
        assert differences(before, files(index.host, "/etc", "/var/backups")) == {}
    finally:
        index.host.run(f"rm {path}; systemctl restart nginx")
    assert (result.host.failed, result.host.changed) == (1, 0)
    printed = " ".join(result.output.split())
    assert f"a duplicate default server for 0.0.0.0:80 in {path}:1. Please remove default_server" in printed


def test_an_upload_that_does_not_fit_on_the_disk_gets_507(deployed: Callable[[int], Deployed]) -> None:
    """nginx, which stores it first, has no room."""
    index = deployed(13)
    mounts = "nsenter --mount --target $(systemctl show -p MainPID --value nginx.service)"  # of its sandbox
    index.host.run(f"{mounts} mount -t tmpfs -o size=1m,mode=0700,uid=$(id -u www-data) tmpfs /srv/ppm/bodies")
    try:
        refused = index.upload(wheel("no-room", "1.0", files={"no_room.py": secrets.token_bytes(3 << 20)}))
    finally:
        index.host.run(f"{mounts} umount /srv/ppm/bodies")
    assert (refused.status_code, "no space left" in refused.text) == (507, True)


WRITE, RELOAD = "nginx : Write the configuration", "nginx : Reload nginx"
PLAN = "nginx : Plan a reload, as an interrupted run has written the configuration"
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
    # of the running application and the counter of downloads
    ignored += ("/srv/ppm/index/search.sqlite3*", "/srv/ppm/servers/*", "/srv/ppm/stats/*")

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


def test_a_run_completes_what_an_interrupted_one_has_only_written(deployed: Callable[[int], Deployed]) -> None:
    """Its files are as they should be, and newer than what was started with them."""
    index = deployed(13)
    units = "/etc/systemd/system/ppm-count.timer /etc/systemd/system/certbot.service.d/ppm.conf"
    index.host.run(f"touch /etc/ppm/ppm.env /etc/nginx/ppm/headers.conf {units}")
    assert set(index.play().changed) == {START, PLAN, RELOAD}
    needed = "systemctl show --property=NeedDaemonReload --value ppm-count.timer certbot.service ppm.service"
    assert index.host.run(needed).out.split() == ["no"] * 3
    assert index.play().changed == ()


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
    units = ("ppm.socket", "ppm.service", "nginx.socket", "nginx.service")
    units += ("certbot.timer", "ppm-prune.timer", "ppm-count.timer")
    assert index.host.run(f"systemctl is-active {' '.join(units)}").out.split() == ["active"] * len(units)
