"""The sandboxes of services, the limits of logs, and the role hardening on a copy of a deployed host."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import re
import socket
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.deployed import SITE, Deployed, eventually

from testbed.hosts import Host

SERVICES = ("ppm", "ppm-prune", "ppm-logs", "nginx", "certbot")
LOCALLY = "python3 -c 'import urllib.request as r; r.urlopen(\"http://127.0.0.1:{}/\")'"
SERVER = "systemd-run --quiet --unit=other-{0} --collect python3 -m http.server {0}"


@pytest.fixture(scope="module", params=[13, 12], ids=["debian13", "debian12"])
def index(request: pytest.FixtureRequest, deployed: Callable[[int], Deployed]) -> Deployed:
    return deployed(request.param)


def test_systemd_analyze_security(index: Deployed) -> None:
    """At most 3 for every service that ppm starts or configures; nginx had 9.6, and certbot 9.2."""
    exposures = {}
    for name in SERVICES:
        output = index.host.run(f"systemd-analyze security --no-pager {name}.service").out
        match = re.search(r"Overall exposure level for \S+: ([0-9.]+)", output)
        assert match, output
        exposures[name] = float(match[1])
    assert {name: exposure for name, exposure in exposures.items() if exposure > 3} == {}


def test_nginx_in_its_sandbox(index: Deployed) -> None:
    """It starts, stops and reloads without an error, and can write where other sites have their files."""
    host = index.host
    log = "/var/log/nginx/error.log"
    other = (
        "server { listen 127.0.0.1:8111; location / { root /var/www; dav_methods PUT; create_full_put_path on; } }"
    )
    host.run(
        f"truncate -s 0 {log}; install -d -o www-data /var/www/files; echo '{other}' > /etc/nginx/conf.d/other.conf"
    )
    try:
        host.run("systemctl reload nginx.service && systemctl restart nginx.service")
        assert index.get("/simple/").status_code == 200
        put = (
            "import urllib.request as r; r.urlopen(r.Request('http://127.0.0.1:8111/files/x', b'here', method='PUT'))"
        )
        host.run(f'python3 -c "{put}"')
        assert host.run("cat /var/www/files/x").out == "here"
        main = host.run("cat /run/nginx.pid").out.strip()
        assert int(host.run(f"awk '/^CapBnd/ {{print $2}}' /proc/{main}/status").out, 16) < 1 << 11
        # systemd in a container can't raise the limit of files
        errors = [line for line in host.run(f"cat {log}").out.splitlines() if "setrlimit" not in line]
        assert errors == []
    finally:
        host.run("rm -rf /etc/nginx/conf.d/other.conf /var/www/files; systemctl reload nginx.service")
        old = "pgrep -fc '[n]ginx: worker process is shutting down'"
        eventually(lambda: host.run(old, check=False).out, lambda count: count == "0\n")
        index.session.close()


def test_a_rotation_loses_no_line(index: Deployed) -> None:
    """The real unit and its configuration rotate, only with a smaller limit, while clients read."""
    host, folder = index.host, "/var/log/nginx"
    settings = "/etc/ppm/logrotate.conf"
    smaller = f"sed -i 's/^maxsize .*/maxsize 1k/' {settings}"
    grow = f"head -c 2000 /dev/zero | tr '\\0' '\\n' >> {folder}/access.log"
    rotate = f"{grow}; systemctl reset-failed ppm-logs.service; systemctl start ppm-logs.service"
    before = host.run(f"cp -p {settings} /root/kept; {smaller}; stat -c %i {folder}/access.log").out
    try:
        with ThreadPoolExecutor(4) as pool:
            for turn in range(3):
                agents = [f"rotation-{turn}-{number}" for number in range(60)]
                reading = [pool.submit(index.get, "/simple/", headers={"User-Agent": agent}) for agent in agents]
                host.run(rotate)
                assert {each.result().status_code for each in reading} == {200}
        listing = host.run(f"ls {folder}").out.split()
        assert {"access.log", "access.log.1", "access.log.2.gz", "access.log.3.gz"} <= set(listing), "not in the past"
        assert host.run(f"stat -c '%i %U %G %a' {folder}/access.log").out.split()[1:] == ["www-data", "adm", "640"]
        assert host.run(f"stat -c %i {folder}/access.log").out != before
        lines = host.run(f"cd {folder}; zcat -f access.log*").out.splitlines()
        found = Counter(json.loads(line)["agent"] for line in lines if '"rotation-' in line)
        assert set(found.values()) == {1}
        assert len(found) == 180

        host.run(f"for turn in $(seq 14); do {rotate}; done")
        old = [name for name in host.run(f"ls {folder}").out.split() if name.startswith("access.log.")]
        assert len(old) == 14, "the number is bounded too"
    finally:
        host.run(f"mv /root/kept {settings}; rm -f {folder}/access.log.*")
    assert host.run("systemctl is-active ppm-logs.timer logrotate.timer").out == "active\nactive\n"
    assert host.run("systemctl is-failed ppm-logs.service", check=False).out == "inactive\n"


def test_the_log_of_downloads_is_written_after_a_rotation(index: Deployed) -> None:
    """nginx's workers open it again as a user who can't list its folder."""
    host, log = index.host, "/var/log/nginx/ppm/requests.log"
    for turn in ("first", "second"):
        agent = {"User-Agent": f"rotated-{turn}"}

        def is_written(agent: dict[str, str] = agent) -> bool:
            assert index.get("/simple/", headers=agent).status_code == 200
            return agent["User-Agent"] in host.run(f"cat {log}").out

        eventually(is_written, bool)
        host.run("logrotate --force /etc/logrotate.d/ppm-requests")
        assert f"rotated-{turn}" in host.run(f"cat {log}.1").out
    assert "Permission denied" not in host.run("grep requests.log /var/log/nginx/error.log || true").out


def test_the_journal_is_limited(index: Deployed) -> None:
    shown = index.host.run("systemd-analyze cat-config systemd/journald.conf").out
    assert re.findall(r"(?m)^SystemMaxUse=.*", shown) == ["SystemMaxUse=500M"]


def is_open(host: Host, port: int) -> bool:
    """Return whether this machine can connect; fail if the host does not answer at all."""
    try:
        with contextlib.closing(socket.create_connection((host.address, port), timeout=10)):
            return True
    except ConnectionRefusedError:
        return False


WANTED = {"ppm_hardening": True, "ppm_ssh_hardening": True, "ppm_firewall_ports": ["8098/tcp"]}
PORTS = (22, 2222, 80, 443, 8098, 8099)


@pytest.fixture(scope="module")
def hardened(
    new_shared_host: Any, deployed: Callable[[int], Deployed], tmp_path_factory: pytest.TempPathFactory
) -> Deployed:
    """Return a copy of the host of Debian 12, where Ansible uses sudo, after site.yml with the role.

    Its SSH also listens on port 2222, and other programs on 8098 and 8099.
    """
    of = deployed(12)
    host = new_shared_host.copy(of, is_found=False)
    index = dataclasses.replace(of, host=host, folder=tmp_path_factory.mktemp("hardened"), runs=[])
    # the settings of its own network as on a machine; those of the kernel, which others share, stay read-only
    host.run("mount --bind /proc/sys/net /proc/sys/net && mount -o remount,bind,rw /proc/sys/net")
    host.run("printf 'Port 22\\nPort 2222\\n' > /etc/ssh/sshd_config.d/port.conf && systemctl restart ssh.service")
    host.run(f"{SERVER.format(8098)}; {SERVER.format(8099)}")
    for port in PORTS:
        eventually(functools.partial(is_open, host, port), bool)
    index.runs = [
        index.play(**WANTED, leave_out=("ppm_ssh_hardening",)),
        index.play(**WANTED),
        index.play(**WANTED),
        index.play(SITE, "--tags", "service", **WANTED),
    ]
    return index


def test_the_firewall_accepts_only_what_it_should(hardened: Deployed) -> None:
    """Ports of SSH are found, whatever they are; a refused client gets an answer at once."""
    ports = {port: is_open(hardened.host, port) for port in PORTS}
    assert ports == {22: True, 2222: True, 80: True, 443: True, 8098: True, 8099: False}
    assert hardened.host.run(LOCALLY.format(8099), check=False).code == 0
    assert hardened.get("/simple/").status_code == 200


def test_only_new_rules_are_tried(hardened: Deployed) -> None:
    """Those of SSH are switched on later; then nothing changes, and the services alone can be asked for."""
    tried = "hardening : Plan to undo it"
    assert [run.changed.count(tried) for run in hardened.runs] == [1, 1, 0, 0]
    assert [run.changed for run in hardened.runs[2:]] == [(), ()]


def test_settings_of_the_hardening(hardened: Deployed) -> None:
    host = hardened.host
    assert hardened.get("/simple/", auth=("nobody", "wrong")).status_code == 401
    assert "zone=ppm_wrong_credentials burst=" in host.run("nginx -T 2>/dev/null").out
    assert "passwordauthentication no" in host.run("sshd -T").out
    assert host.run("cat /proc/sys/net/ipv4/conf/all/send_redirects").out == "0\n"
    updates = host.run("unattended-upgrade --dry-run --verbose 2>&1 | grep 'Allowed origins'").out
    assert updates.count("origin=") == updates.count("label=Debian-Security") == 2


def test_lynis(hardened: Deployed, figures: list[str]) -> None:
    host = hardened.host
    host.run("apt-get install -y -qq --no-install-recommends lynis && lynis audit system --quick --quiet --no-colors")
    report = host.run("grep -E '^(hardening_index|suggestion)' /var/log/lynis-report.dat").out
    (score,) = re.findall(r"hardening_index=(\d+)", report)
    figures.append(f"lynis gives a host of Debian 12 with the role hardening {score} of 100")
    assert int(score) >= 75, report


# A change after which Ansible can't connect again, applied by the role's own tasks.
LOCK_OUT = """\
- hosts: ppm
  become: true
  gather_facts: false
  tasks:
    - name: Write a firewall without SSH
      ansible.builtin.replace:
        path: /etc/ppm/firewall.nft
        regexp: "tcp dport {[^}]*} accept$"
        replace: "tcp dport { 80, 443 } accept"
    - name: Try it
      ansible.builtin.include_role:
        name: hardening
        tasks_from: try
      vars:
        __hardening_seconds: 9
        __hardening_tcp: [80, 443]
        __hardening_what: The firewall
        __hardening_unit: ppm-firewall.service
        __hardening_state: restarted
        __hardening_undo: systemctl disable --now ppm-firewall.service
"""


def test_nobody_is_locked_out(hardened: Deployed) -> None:
    """It is loaded again at boot. One that Ansible can't connect through is removed, and stays away at boot."""
    host = hardened.host
    host.reboot()
    host.run(SERVER.format(8099))
    eventually(lambda: host.run(LOCALLY.format(8099), check=False).code, lambda code: code == 0)
    assert (is_open(host, 22), is_open(host, 8099)) == (True, False)

    playbook = hardened.folder / "lock-out.yml"
    playbook.write_text(LOCK_OUT)
    failed = hardened.play(playbook, expect=2)
    assert "The firewall was not kept" in failed.output
    assert "add it to ppm_firewall_ports" in failed.output
    eventually(lambda: is_open(host, 22) and is_open(host, 8099), bool)
    assert host.run("systemctl is-enabled ppm-firewall.service", check=False).out == "disabled\n"
