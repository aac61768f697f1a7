"""playbooks/self_check.yml sees what is broken, and only that; says what to do; and leaves nothing behind."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

import pytest
from support.deployed import Deployed

from ppmctl.doctor import probe
from testbed.place import CHECKOUT
from testbed.playbook import Result

PLAYBOOK = CHECKOUT / "playbooks" / "self_check.yml"
PROJECT = "ppm-self-check"
SECRET = r"ppm_[A-Za-z0-9_-]{40}"
KEEP, BRING_BACK = "cp -a /etc/nginx /root/nginx-kept", "rm -r /etc/nginx; mv /root/nginx-kept /etc/nginx"
# ends when no worker serves any more that did before
WORKERS = "pgrep -xf 'nginx: worker process'"
RELOAD = (
    f"nginx -t && old=$({WORKERS}) && systemctl reload nginx"
    f' && while {WORKERS} | grep -qxF "$old"; do sleep 0.05; done'
)


@pytest.fixture(scope="module")
def index(deployed: Callable[[int], Deployed]) -> Deployed:
    return deployed(13)


def look(index: Deployed, *arguments: str, expect: int = 0, **more: object) -> Result:
    """Run it as from a machine that trusts the index's authority; its DNS does not know the host."""
    seat = {"self_check_address": index.host.address, "self_check_ca_certificates": [str(index.ca)]}
    return index.play(PLAYBOOK, *arguments, expect=expect, **(seat | more))


def wrong(result: Result) -> dict[str, str]:
    """What it says is wrong: the check's name → what was found and the remedy, in one line."""
    found = re.findall(r"^ +WRONG +(\S.*?)  +(.*)\n((?: {20,}.*\n)*)", result.output, re.MULTILINE)
    return {name: " ".join(f"{said} {remedy}".split()) for name, said, remedy in found}


@contextlib.contextmanager
def broken(index: Deployed, command: str, mend: str) -> Iterator[None]:
    index.host.run(command)
    try:
        yield
    finally:
        index.host.run(mend)


@pytest.mark.parametrize("release", [13, 12], ids=["debian13", "debian12"])
def test_nothing_is_wrong_with_what_site_yml_made_and_nothing_is_left(
    release: int, deployed: Callable[[int], Deployed]
) -> None:
    """Nothing but a project without files, also of a run that was killed.

    The secrets are in no log, however much Ansible is asked to say.
    """
    index = deployed(release)
    before = index.host.run("ppmctl user list --json").out
    # what a run left that was killed
    index.host.run("ppmctl token create ppm-self-check+killed --role publisher --expires 1s")
    killed = probe.make("1000000000.1")
    assert index.upload((killed.filename, killed.content)).status_code in (200, 409)
    result = look(index, "-vvvv")
    assert re.search(r"^ +\d+ checks: \d+ ok, 1 not tried$", result.output, re.MULTILINE), result.output
    assert re.search(r"^ +not tried certificate +/etc/ppm/tls/", result.output, re.MULTILINE), "root's alone"
    for check in ("port 80", "challenges", "tls", "nginx", "versions", "http2", "strangers", "headers", "anonymous"):
        assert re.search(rf"^ +ok +{check}  ", result.output, re.MULTILINE), check
    for check in ("reader", "revoked", "immutable", "files", "removed", "upstream", "server", "self-check"):
        assert re.search(rf"^ +ok +{check}  ", result.output, re.MULTILINE), check
    assert "pip installs it from this index alone" in result.output
    assert index.host.run("ppmctl user list --json").out == before
    assert index.page(PROJECT)["files"] == []
    left = index.host.run(f"ls /srv/ppm/packages/{PROJECT}").out.split()
    assert [name for name in left if not name.endswith(".removed")] == []
    assert not re.search(SECRET, result.output)
    logs = "journalctl --no-pager; cat /var/log/nginx/*.log /srv/ppm/audit.jsonl"
    assert index.host.run(f"({logs}) | grep -cE '{SECRET}'", check=False).out == "0\n"


def test_in_check_mode_it_does_nothing(index: Deployed) -> None:
    audit = index.host.run("cat /srv/ppm/audit.jsonl").out
    assert "nothing is checked" in look(index, "--check", "--diff").output
    assert index.host.run("cat /srv/ppm/audit.jsonl").out == audit


def test_an_application_that_is_down_is_named_and_reads_go_on(index: Deployed) -> None:
    with broken(index, "systemctl stop ppm.socket ppm.service", "systemctl start ppm.socket ppm.service"):
        found = wrong(look(index, expect=2))
    assert found.keys() == {"publish", "server"}
    assert "systemctl status ppm.socket ppm.service" in found["publish"]


def test_all_that_is_wrong_is_said_at_once(index: Deployed) -> None:
    """A list of packages that is open to everybody, a header that is gone, and a page that clients may keep."""
    edits = (
        "sed -i /Strict-Transport-Security/d /etc/nginx/ppm/headers.conf",
        "sed -i 's/^location = .simple.*/&\\n    auth_basic off;/' /etc/nginx/ppm/locations/pages.conf",
        "sed -i s/no-cache/max-age=600/ /etc/nginx/ppm/page.conf",
    )
    with broken(index, f"{KEEP}; {' && '.join(edits)} && {RELOAD}", f"{BRING_BACK}; {RELOAD}"):
        found = wrong(look(index, expect=2))
    assert found.keys() == {"headers", "anonymous", "pages"}
    assert "no Strict-Transport-Security (ppm_hsts_max_age)" in found["headers"]
    assert "200 (OK) instead of 401 for /simple/" in found["anonymous"]
    assert "for 600 seconds" in found["pages"]
    assert "Run site.yml again" in found["headers"]
    assert "Run site.yml again" in found["anonymous"]


def test_a_certificate_that_clients_refuse_gets_no_credential(index: Deployed) -> None:
    """It is not the host's own, so whoever shows it may be anybody."""
    make = (
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout /root/key.pem -out /root/expired.pem -subj /CN=old.test"
        " -addext subjectAltName=DNS:old.test -not_before 20200101000000Z -not_after 20200401000000Z 2>&1"
    )
    serve = "sed -i 's#/etc/ppm/tls/fullchain.pem#/root/expired.pem#; s#/etc/ppm/tls/privkey.pem#/root/key.pem#'"
    with broken(
        index,
        f"{KEEP}; {make} && {serve} /etc/nginx/ppm/site.conf && {RELOAD}",
        f"{BRING_BACK}; rm /root/key.pem /root/expired.pem; {RELOAD}",
    ):
        result = look(index, expect=2)
    found = wrong(result)
    assert found.keys() == {"tls", "nginx"}
    faults = " ".join(re.findall(r"^ +WRONG +tls +(.*)$", result.output, re.MULTILINE))
    assert "it expired on 2020-04-01" in faults.replace("its certificate", "it")
    assert "is for old.test, not for" in faults
    assert "self-signed" in faults
    assert "systemctl reload nginx" in found["nginx"]
    assert re.search(r"not tried +refusals +not tried, because of: tls", result.output)


def test_a_host_that_can_not_be_entered_is_still_looked_at_from_outside(index: Deployed) -> None:
    away = ("-e", "ansible_port=2", "-e", f"ansible_control_path={index.folder}/control")
    result = look(index, *away, expect=2)
    assert wrong(result).keys() == {"host"}
    assert re.search(r"ok +anonymous", result.output)
    assert re.search(r"not tried +install", result.output)
