"""The sandboxes of services, and the limits of logs."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.deployed import Deployed, eventually

SERVICES = ("ppm", "ppm-prune", "ppm-logs", "nginx", "certbot")


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
