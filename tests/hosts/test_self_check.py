"""playbooks/self_check.yml reports all problems and nothing else, with remedies, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator

import pytest
from packaging.version import Version
from support.deployed import Deployed

from ppmctl.doctor import probe
from testbed.place import CHECKOUT
from testbed.playbook import Result

PLAYBOOK = CHECKOUT / "playbooks" / "self_check.yml"
PROJECT = "ppm-self-check"
SECRET = r"ppm_[A-Za-z0-9_-]{40}"
SAVE_NGINX, RESTORE_NGINX = "cp -a /etc/nginx /root/nginx-kept", "rm -r /etc/nginx; mv /root/nginx-kept /etc/nginx"
# the reload command below waits until all old workers have ended
WORKERS = "pgrep -xf 'nginx: worker process'"
RELOAD = (
    f"nginx -t && old=$({WORKERS}) && systemctl reload nginx"
    f' && while {WORKERS} | grep -qxF "$old"; do sleep 0.05; done'
)


@pytest.fixture(scope="module")
def index(deployed: Callable[[int], Deployed]) -> Deployed:
    return deployed(13)


def self_check(index: Deployed, *arguments: str, expect: int = 0, **more: object) -> Result:
    """Run it on a machine that trusts the index's CA, and whose DNS does not resolve the host."""
    defaults = {"self_check_address": index.host.address, "self_check_ca_certificates": [str(index.ca)]}
    return index.play(PLAYBOOK, *arguments, expect=expect, **(defaults | more))


def problems(result: Result) -> dict[str, str]:
    """Return the reported problems: the check's name → the finding and the remedy, in one line."""
    matches = re.findall(r"^ +WRONG +(\S.*?)  +(.*)\n((?: {20,}.*\n)*)", result.output, re.MULTILINE)
    return {name: " ".join(f"{message} {remedy}".split()) for name, message, remedy in matches}


@contextlib.contextmanager
def broken(index: Deployed, command: str, repair: str) -> Iterator[None]:
    index.host.run(command)
    try:
        yield
    finally:
        index.host.run(repair)


@pytest.mark.parametrize("release", [13, 12], ids=["debian13", "debian12"])
def test_self_check_of_a_healthy_host_finds_nothing_and_leaves_nothing(
    release: int, deployed: Callable[[int], Deployed]
) -> None:
    """Only a project without files is left, also after a run that was killed.

    The secrets are in no log, even with the highest verbosity.
    """
    index = deployed(release)
    before = index.host.run("ppmctl user list --json").out
    # leftovers of a run that was killed
    index.host.run("ppmctl token create ppm-self-check+killed --role publisher --expires 1s")
    # the second is of an upload that was wrongly accepted; then one of another run, and no probe at all
    kept = [f"{time.time() - 60:.0f}.1", "1.0"]
    for version in ("1000000000.1", "1000000000.1.post1", *kept):
        made = probe.make(version)
        assert index.upload((made.filename, made.content)).status_code in (200, 409)
    result = self_check(index, "-vvvv")
    assert re.search(r"^ +\d+ checks: \d+ ok$", result.output, re.MULTILINE), result.output
    assert re.search(r"^ +ok +certificate +/etc/ppm/tls/", result.output, re.MULTILINE), "only root can read it"
    for check in ("port 80", "challenges", "tls", "nginx", "versions", "http2", "strangers", "headers", "anonymous"):
        assert re.search(rf"^ +ok +{check}  ", result.output, re.MULTILINE), check
    for check in ("reader", "revoked", "immutable", "files", "removed", "upstream", "server", "self-check"):
        assert re.search(rf"^ +ok +{check}  ", result.output, re.MULTILINE), check
    assert "pip installs it from this index alone" in result.output
    assert index.host.run("ppmctl user list --json").out == before
    assert index.page(PROJECT)["versions"] == sorted(kept, key=Version)
    for version in kept:
        index.host.run(f"ppmctl package remove {PROJECT} {version} --yes")
    left = index.host.run(f"ls /srv/ppm/packages/{PROJECT}").out.split()
    assert [name for name in left if not name.endswith(".removed")] == []
    assert not re.search(SECRET, result.output)
    logs = "journalctl --no-pager; cat /var/log/nginx/*.log /srv/ppm/audit.jsonl"
    assert index.host.run(f"({logs}) | grep -cE '{SECRET}'", check=False).out == "0\n"


def test_check_mode_does_nothing(index: Deployed) -> None:
    audit = index.host.run("cat /srv/ppm/audit.jsonl").out
    assert "nothing is checked" in self_check(index, "--check", "--diff").output
    assert index.host.run("cat /srv/ppm/audit.jsonl").out == audit


def test_a_stopped_application_is_reported_while_reads_work(index: Deployed) -> None:
    with broken(index, "systemctl stop ppm.socket ppm.service", "systemctl start ppm.socket ppm.service"):
        reported = problems(self_check(index, expect=2))
    assert reported.keys() == {"publish", "server"}
    assert "systemctl status ppm.socket ppm.service" in reported["publish"]


def test_all_problems_are_reported_in_one_run(index: Deployed) -> None:
    """The list of projects is public, a header is missing, and clients may cache a page."""
    edits = (
        "sed -i /Strict-Transport-Security/d /etc/nginx/ppm/headers.conf",
        "sed -i 's/^location = .simple.*/&\\n    auth_basic off;/' /etc/nginx/ppm/locations/pages.conf",
        "sed -i s/no-cache/max-age=600/ /etc/nginx/ppm/page.conf",
    )
    with broken(index, f"{SAVE_NGINX}; {' && '.join(edits)} && {RELOAD}", f"{RESTORE_NGINX}; {RELOAD}"):
        reported = problems(self_check(index, expect=2))
    assert reported.keys() == {"headers", "anonymous", "pages"}
    assert "no Strict-Transport-Security (ppm_hsts_max_age)" in reported["headers"]
    assert "200 (OK) instead of 401 for /simple/" in reported["anonymous"]
    assert "for 600 seconds" in reported["pages"]
    assert "Run site.yml again" in reported["headers"]
    assert "Run site.yml again" in reported["anonymous"]


def test_no_credential_is_sent_to_an_untrusted_certificate(index: Deployed) -> None:
    """Any server could present a certificate that is not the host's own."""
    make = (
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout /root/key.pem -out /root/expired.pem -subj /CN=old.test"
        " -addext subjectAltName=DNS:old.test -not_before 20200101000000Z -not_after 20200401000000Z 2>&1"
    )
    serve = "sed -i 's#/etc/ppm/tls/fullchain.pem#/root/expired.pem#; s#/etc/ppm/tls/privkey.pem#/root/key.pem#'"
    with broken(
        index,
        f"{SAVE_NGINX}; {make} && {serve} /etc/nginx/ppm/site.conf && {RELOAD}",
        f"{RESTORE_NGINX}; rm /root/key.pem /root/expired.pem; {RELOAD}",
    ):
        result = self_check(index, expect=2)
    reported = problems(result)
    assert reported.keys() == {"tls", "nginx"}
    faults = " ".join(re.findall(r"^ +WRONG +tls +(.*)$", result.output, re.MULTILINE))
    assert "it expired on 2020-04-01" in faults.replace("its certificate", "it")
    assert "is for old.test, not for" in faults
    assert "self-signed" in faults
    assert "systemctl reload nginx" in reported["nginx"]
    assert re.search(r"not tried +refusals +not tried, because of: tls", result.output)


def test_a_host_without_ssh_access_is_checked_from_outside(index: Deployed) -> None:
    away = ("-e", "ansible_port=2", "-e", f"ansible_control_path={index.folder}/control")
    result = self_check(index, *away, expect=2)
    assert problems(result).keys() == {"host"}
    assert re.search(r"ok +anonymous", result.output)
    assert re.search(r"not tried +install", result.output)
