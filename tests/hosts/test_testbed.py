"""The testbed that other tests use: its hosts behave like real ones, and nothing is left of them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from support import reach
from support.deployed import Deployed

from testbed import lease
from testbed.acme import Acme
from testbed.bed import Bed, open_bed
from testbed.clients import Client
from testbed.errors import BedError
from testbed.hosts import Host
from testbed.playbook import Result


def in_another_process(script: str) -> subprocess.Popen[str]:
    """Run Python code in another process and session."""
    command = [sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


@pytest.fixture(scope="module")
def hosts(new_shared_host: Callable[..., Host]) -> dict[int, Host]:
    """Make a bare host of each Debian release."""
    volumes = {"/srv/small": "size=1m", "/srv/fixed": "ro"}
    return {12: new_shared_host(12, sudo=True, tmpfs=volumes), 13: new_shared_host(13)}


@pytest.mark.parametrize(("release", "user"), [(12, "admin"), (13, "root")])
def test_a_host_is_a_bare_debian_with_systemd_and_ssh(release: int, user: str, hosts: dict[int, Host]) -> None:
    host = hosts[release]
    assert f'VERSION_ID="{release}"' in host.run("cat /etc/os-release").out
    assert host.run("systemctl is-system-running").out == "running\n"
    listening = host.run("cat /proc/net/tcp /proc/net/tcp6").out.splitlines()
    ports = {
        int(line.split()[1].rpartition(":")[2], 16) for line in listening if " 0A " in line and "0B00007F" not in line
    }
    assert ports == {22}
    for program in ("nginx", "curl", "pip3", "certbot", "gcc"):
        assert host.run(f"command -v {program}", check=False).code
    done = subprocess.run([*host.ssh(), "id -un"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"{user}\n"


@pytest.mark.parametrize("release", [12, 13])
def test_a_service_can_be_confined_as_on_real_hardware(release: int, hosts: dict[int, Host]) -> None:
    """If the container forbade a sandbox, tests would have to disable it, and it would never be tested."""
    sandbox = """
        User=nobody PrivateUsers=yes ProtectProc=invisible ProcSubset=pid ProtectSystem=strict PrivateTmp=yes
        PrivateDevices=yes PrivateNetwork=yes RestrictNamespaces=yes MemoryDenyWriteExecute=yes
        SystemCallFilter=@system-service CapabilityBoundingSet=
    """
    confined = " ".join(f"-p {setting}" for setting in sandbox.split())
    host = hosts[release]
    seen = host.run(
        f"systemd-run --quiet --wait --pipe {confined} sh -c 'cat /proc/self/uid_map; touch /etc/x'", check=False
    )
    assert seen.code
    assert "Read-only file system" in seen.err
    assert "4294967295" not in seen.out
    assert host.allows_private_users()


def test_limits_of_services_hold_on_each_host(hosts: dict[int, Host]) -> None:
    """Hosts that share control groups would remove each other's, and wait for each other's services."""
    host, other = hosts[13], hosts[12]
    host.run("systemd-run --unit=same sleep 600")
    assert other.run("systemctl status same.service", check=False).code == 4
    assert "same" not in other.run("find /sys/fs/cgroup -name '*.service'").out
    other.reboot()
    for each in (host, other):
        eats = "systemd-run --quiet --wait -p MemoryMax=50M python3 -c \"x = b'1' * 100_000_000\""
        assert each.run(eats, check=False).code
        assert each.run(eats.replace("50M", "300M")).code == 0
        forks = "systemd-run --quiet --wait -p TasksMax=1 sh -c 'true & wait'"
        assert each.run(forks, check=False).code
    assert host.run("systemctl is-active same.service").out == "active\n"


def test_a_reboot_keeps_the_disk_and_clears_the_rest(hosts: dict[int, Host]) -> None:
    host = hosts[13]
    host.run("touch /srv/kept /tmp/gone /run/gone; cat /proc/sys/kernel/random/boot_id")
    before = host.run(
        "systemctl show -p UserspaceTimestampMonotonic --value systemd-journald; stat -c %Y /proc/1"
    ).out
    host.reboot()
    assert host.run("ls /srv/kept; ls /tmp/gone /run/gone", check=False).out == "/srv/kept\n"
    assert (
        host.run("systemctl show -p UserspaceTimestampMonotonic --value systemd-journald; stat -c %Y /proc/1").out
        != before
    )


def test_a_copy_starts_with_the_disk_of_a_host_and_has_no_name(
    hosts: dict[int, Host], new_host: Callable[..., Host]
) -> None:
    host = hosts[13]
    host.run("touch /srv/kept /run/gone")
    copy = new_host(snapshot=host.snapshot(), domain=host.domain, is_found=False)
    host.run("touch /srv/later")
    assert copy.run("ls /srv/kept /run/gone /srv/later", check=False).out == "/srv/kept\n"
    assert hosts[12].run(f"getent ahostsv4 {host.domain} | cut -d' ' -f1 | sort -u").out.split() == [host.address]


def test_ansible_logs_in_as_a_user_with_sudo(hosts: dict[int, Host], play: Callable[..., Result]) -> None:
    host = hosts[12]
    book = """\
    - hosts: ppm
      become: true
      gather_facts: false
      tasks:
        - name: Write for root
          ansible.builtin.copy: {content: "x", dest: /root/written, mode: "0600"}
          notify: Say so
        - name: Refuse
          ansible.builtin.fail: {msg: as was asked}
          when: refuse | default(false)
      handlers:
        - name: Say so
          ansible.builtin.command: touch /root/said
    """
    first = play(textwrap.dedent(book), host)
    assert (first.host.changed, first.changed) == (2, ("Write for root", "Say so"))
    second = play(textwrap.dedent(book), host)
    assert (second.host.changed, second.changed) == (0, ())
    refused = play(textwrap.dedent(book), host, expect=2, refuse=True)
    assert refused.host.failed == 1
    assert "as was asked" in refused.output
    with pytest.raises(BedError, match="as was asked"):
        refused.check()


def test_small_and_read_only_volumes(hosts: dict[int, Host]) -> None:
    host = hosts[12]
    full = host.run("head -c 2M /dev/zero >/srv/small/file", check=False)
    assert "No space left on device" in full.err
    assert "Read-only file system" in host.run("touch /srv/fixed/file", check=False).err


def test_a_certificate_is_issued_and_clients_trust_it(
    acme: Acme, client: Client, deployed: Callable[[int], Deployed]
) -> None:
    index = deployed(13)
    url, address = f"{index.url}/healthz", index.host.address
    with index.new_session() as session:
        assert session.get(url, timeout=10).text == "ok\n"
    with reach.session(index.domain, address) as session, pytest.raises(requests.exceptions.SSLError):
        session.get(url, timeout=10)
    with reach.session("else.test", address, index.ca) as session, pytest.raises(requests.exceptions.SSLError):
        session.get("https://else.test/", timeout=10)

    assert "unable to get local issuer" in client.run(f"curl -sS {url}", check=False).err
    client.trust("pebble", acme.root())
    assert client.run(f"curl -sS {url}").out == "ok\n"


def test_a_client_has_debians_pip_and_the_newest_clients(client: Client) -> None:
    """They reach the public index with this machine's CAs, proxies and mirrors."""
    assert client.run("id -un; pip --version").out.startswith("user\npip 23.0.1 ")
    newest = client.run("pip-newest --version").out.split()[1]
    assert int(newest.partition(".")[0]) >= 26
    client.run("uv --version; twine --version")
    client.run("python3 -m venv v && v/bin/pip install -q six && v/bin/python -c 'import six'")
    client.run("pip-newest download -q --no-deps --dest d six && ls d/six-*.whl")
    client.run("uv venv -q u && uv pip install -q --python u six && u/bin/python -c 'import six'")


def test_containers_of_a_killed_process_are_removed(bed: Bed, tmp_path: Path) -> None:
    name = f"killed-{os.getpid()}"
    script = f"""
        import time
        from pathlib import Path
        from testbed.bed import open_bed
        bed = open_bed({name!r}, Path({str(tmp_path)!r}))
        bed.client("left")
        print("up", flush=True)
        time.sleep(600)
    """
    labels = {"label": f"ppm-testbed.lease=ppm-testbed-{name}"}
    with in_another_process(script) as process:
        assert process.stdout
        assert process.stdout.readline() == "up\n"
        assert len(bed.engine.api.containers.list(filters=labels)) == 1
        assert f"ppm-testbed-{name}" in lease.live()
        process.kill()

    another = open_bed(f"another-{os.getpid()}", tmp_path / "another")
    assert bed.engine.api.containers.list(all=True, filters=labels) == []
    assert bed.engine.api.networks.list(filters=labels) == []
    another.close()
    assert bed.engine.api.ping(), "the engine is ours still"


def test_a_bed_that_is_kept_outlives_its_process_until_its_folder_goes(bed: Bed, tmp_path: Path) -> None:
    name, folder = f"kept-{os.getpid()}", tmp_path / "kept"
    script = f"""
        from pathlib import Path
        from testbed.bed import open_bed
        bed = open_bed({name!r}, Path({str(folder)!r}), keep=True)
        bed.client("left")
        bed.let_go()
    """
    labels = {"label": f"ppm-testbed.lease=ppm-testbed-{name}"}
    with in_another_process(script) as process:
        assert process.wait(timeout=300) == 0
    open_bed(f"another-{os.getpid()}", tmp_path / "another").close()
    assert len(bed.engine.api.containers.list(filters=labels)) == 1

    folder.rename(tmp_path / "gone")
    open_bed(f"another-{os.getpid()}", tmp_path / "another").close()
    assert bed.engine.api.containers.list(all=True, filters=labels) == []


def test_a_disconnected_host_is_unreachable(hosts: dict[int, Host], client: Client) -> None:
    host = hosts[13]
    connect = f"python3 -c 'import socket; print(socket.create_connection((\"{host.domain}\", 22), 3).recv(4))'"
    assert "SSH-" in client.run(connect).out
    host.box.disconnect()
    assert client.run(connect, check=False).code
    host.box.connect(host.domain)
    until = time.monotonic() + 20
    while client.run(connect, check=False).code:
        assert time.monotonic() < until
        time.sleep(0.2)
