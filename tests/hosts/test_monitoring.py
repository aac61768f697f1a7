"""Prometheus scrapes a deployed host through nginx with a monitor's token; the host's alerts fire and clear."""

from __future__ import annotations

import json
import re
import secrets
import select
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.deployed import ROOT, Deployed
from support.evidence import until
from support.prometheus import RULES, Prometheus, scraping
from support.tls import Authority


@pytest.fixture(scope="module")
def index(deployed: Callable[[int], Deployed]) -> Deployed:
    return deployed(13)


class Tunnel(socketserver.BaseRequestHandler):
    """Connect a client of an HTTP proxy (CONNECT) with the host, whose name no DNS has."""

    address = ""

    def handle(self) -> None:
        client: socket.socket = self.request
        while not (head := client.recv(4096)).endswith(b"\r\n\r\n"):
            assert head
        with socket.create_connection((self.address, 443), timeout=20) as host:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            other = {client: host, host: client}
            while True:
                for ready in select.select(list(other), [], [], 60)[0]:
                    received = ready.recv(1 << 16)
                    if not received:
                        return
                    other[ready].sendall(received)


@pytest.fixture(scope="module")
def proxy(index: Deployed) -> Iterator[str]:
    handler = type("ToHost", (Tunnel,), {"address": index.host.address})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def prometheus(index: Deployed, proxy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    name = f"mon{secrets.token_hex(3)}+host"
    secret = index.ppmctl(f"token create {name} --role monitor").split()[-1]
    scrape = {
        "scheme": "https",
        "basic_auth": {"username": name, "password": secret},
        "tls_config": {"ca_file": str(index.ca)},
        "proxy_url": proxy,
    }
    folder = tmp_path_factory.mktemp("prometheus") / "p"
    with scraping(folder, f"{index.domain}:443", **scrape) as made:
        yield made
    index.host.run(f"ppmctl token revoke {name}", check=False)  # it is gone if a test has reset the host


def test_a_scrape_through_nginx(index: Deployed, prometheus: Prometheus) -> None:
    """The end of the certificate is that of what nginx has loaded, whose files only root may read."""
    until(lambda: prometheus.value("up") == 1, "a scrape")
    assert prometheus.value("ppm_publishing_works") == prometheus.value("ppm_pages_readable") == 1
    ends = index.host.run(
        'date +%s -d "$(openssl x509 -noout -enddate -in /etc/ppm/tls/fullchain.pem | cut -d= -f2)"'
    )
    assert prometheus.value("ppm_certificate_end_timestamp_seconds") == int(ends.out)
    assert prometheus.value("sum(ppm_metrics_failed)") == 0


ALERTS = re.findall(r"alert: (\w+)", RULES.read_text())
BLOCKED, PAGE = f"{ROOT}/incoming/.health", f"{ROOT}/index/simple/index.json"
SERVED = "/run/ppm/certificate.pem"  # a copy of what nginx has loaded
COUNTED_LONG_AGO = (
    "import sqlite3, sys; counts = sqlite3.connect(sys.argv[1], isolation_level=None);"
    " counts.execute('UPDATE counted SET last = last - 86400')"
)
SMALL = "mount -t tmpfs -o size=400m,nr_inodes=4000,mode=0755"


def change(index: Deployed, path: str, edit: Callable[[str], str]) -> None:
    """Replace the content of a file on the host; owner and mode stay."""
    text = index.host.run(f"cat {path}").out  # the engine does not see what is mounted in a container
    index.host.box.put("/root/changed", edit(text).encode())
    index.host.run(f"cat /root/changed >{path}")


def aged(text: str, **ago: int) -> str:
    """Return the result of an operation with an older success."""
    return json.dumps(json.loads(text) | {"last_success": (datetime.now(UTC) - timedelta(**ago)).isoformat()})


def ending(text: str) -> str:
    """Return access.yml with a longer life of the credential `ending`, so that its end is near for it."""
    before, name, after = text.partition('"ending"')
    return before + name + re.sub(r'("created": ")\d{4}', r"\g<1>2020", after, count=1)


def ask_to_write(index: Deployed) -> None:
    """Ask often enough that some scrapes see more answers than those before."""
    session = index.new_session()

    def fails() -> bool:  # the volume is tried every few seconds
        return session.get(f"{index.url}/healthz/write", timeout=20).status_code == 503

    until(fails, "a failing check")
    for _ in range(15):
        fails()
        time.sleep(0.3)


def faults(index: Deployed) -> Iterator[tuple[str, Callable[[], object], Callable[[], object]]]:
    """Return for each alert what makes it fire, and what makes it clear."""

    def run(command: str) -> Callable[[], object]:
        return lambda: index.host.run(command)

    def record(name: str, *options: str) -> Callable[[], object]:
        return lambda: index.ppmctl(f"operation record {name} {' '.join(options)}")

    since = f"""date -ud -9days '+"%FT%TZ"' >{ROOT}/operations/backups-expected.json"""
    for name in ("backup", "drill"):
        missing = run(f"rm -f {ROOT}/operations/{name}.json && {since}")
        yield f"Ppm{name.capitalize()}Missing", missing, record(name)
    for name, hours in (("backup", 49), ("drill", 8 * 24 + 1)):
        path = f"{ROOT}/operations/{name}.json"
        record(name)()
        unit = {"backup": "ppm-backup.service", "drill": "ppm-backup-drill.service"}[name]
        yield f"Ppm{name.capitalize()}Failed", run(f"systemctl start ppm-failed@{unit}.service"), record(name)
        yield (
            f"Ppm{name.capitalize()}Old",
            lambda path=path, hours=hours: change(index, path, lambda text: aged(text, hours=hours)),
            record(name),
        )
    yield "PpmCertificateRenewalFailed", record("certificate", "--failed", "gone"), record("certificate")
    yield "PpmCertificateEnds", run(f"cat /root/late.pem >{SERVED}"), run("systemctl reload nginx")
    yield "PpmMetricsFail", run(f"echo nothing >{SERVED}"), run("systemctl reload nginx")
    index.ppmctl("user add ending --role reader --expires 13d")
    yield (
        "PpmCredentialsExpire",
        lambda: change(index, f"{ROOT}/credentials/access.yml", ending),
        run("ppmctl user remove ending"),
    )
    state = f"{ROOT}/webhooks/0123456789abcdef.json"
    written = '{"failing_since": 0, "disabled": true, "dropped": 1}'
    yield (
        "PpmWebhooksFail",
        run(f"install -d -m 700 -o ppm {ROOT}/webhooks; echo '{written}' >{state}; chown ppm {state}"),
        run(f"rm {state}"),
    )
    index.host.run("systemctl start ppm-count.service; systemctl stop ppm-count.timer")
    yield (
        "PpmDownloadsNotCounted",
        run(f'runuser -u ppm -- python3 -c "{COUNTED_LONG_AGO}" {ROOT}/stats/downloads.sqlite3'),
        run("systemctl start ppm-count.timer ppm-count.service"),
    )
    yield "PpmPendingProjects", run(f"touch {ROOT}/index/pending/marked"), run(f"rm {ROOT}/index/pending/marked")
    yield "PpmPagesUnreadable", run(f"mv {PAGE} {PAGE}.aside"), run(f"mv {PAGE}.aside {PAGE}")
    yield "PpmPublishingFails", run(f"install -d -o ppm {BLOCKED}"), run(f"rmdir {BLOCKED}")
    yield "PpmErrors", lambda: (run(f"install -d -o ppm {BLOCKED}")(), ask_to_write(index)), run(f"rmdir {BLOCKED}")
    yield "PpmDiskFullSoon", run(f"fallocate -l 370M {ROOT}/large"), run(f"rm {ROOT}/large")
    yield (
        "PpmInodesUsedSoon",
        run(f"mkdir {ROOT}/many; seq -f {ROOT}/many/%g 4000 | xargs touch 2>/dev/null || true"),
        run(f"rm -r {ROOT}/many"),
    )
    yield "PpmDown", run("systemctl stop ppm.socket ppm.service"), run("systemctl start ppm.socket ppm.service")


@pytest.fixture
def small_disk(index: Deployed, reset: Callable[[Deployed], None]) -> Iterator[None]:
    """Put the volume on a small file system of its own, and let the index expect backups, as the role backup does."""
    everything = "ppm.socket ppm.service nginx.service nginx.socket"
    index.host.run(
        f"systemctl stop {everything}; mkdir /mnt/small && {SMALL} none /mnt/small && cp -a {ROOT}/. /mnt/small"
        f" && chown --reference={ROOT} /mnt/small && chmod --reference={ROOT} /mnt/small"
        f" && mount --bind /mnt/small {ROOT} && echo PPM_BACKUPS=expected >>/etc/ppm/ppm.env"
        " && systemctl start ppm.socket ppm.service nginx.socket nginx.service"
    )
    yield
    reset(index)


def test_every_alert_of_a_host_fires_and_clears(
    small_disk: None, index: Deployed, prometheus: Prometheus, tmp_path: Path
) -> None:
    late, _key = Authority().issue(tmp_path / "late", index.domain, days=5, age=85)
    index.host.box.put("/root/late.pem", late.read_bytes())
    seen = []
    for name, cause, repair in faults(index):
        cause()
        prometheus.fires(name)
        if name == "PpmDown":
            session = index.new_session()
            assert session.get(f"{index.url}/healthz", timeout=20).text == "ok\n"
            assert session.get(f"{index.url}/healthz/write", timeout=20).status_code == 503
        repair()
        prometheus.clears(name)
        seen.append(name)
    assert sorted(seen) == sorted(ALERTS)
    assert index.new_session().get(f"{index.url}/healthz/write", timeout=20).text == "ok\n"
