"""The role hardening on a copy of a deployed host: it locks nobody out."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest
from support.deployed import SITE, Deployed, eventually

from testbed.hosts import Host

LOCALLY = "python3 -c 'import urllib.request as r; r.urlopen(\"http://127.0.0.1:{}/\")'"
SERVER = "systemd-run --quiet --unit=other-{0} --collect python3 -m http.server {0}"


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
