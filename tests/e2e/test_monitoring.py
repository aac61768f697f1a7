"""A real Prometheus scrapes a real server, and sees every alert fire and clear that can be caused on one machine.

The disk and the inodes are in monitoring/ppm-alerts-of-days.test.yml: no file system here is nearly full.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from support import wheels
from support.evidence import until
from support.prometheus import Prometheus, scraping
from support.servers import Server, ppmctl
from support.tls import Authority

MONITOR = "monitoring+prometheus"
DOCUMENT = Path(__file__).parents[2] / "docs" / "monitoring.md"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Server]:
    """Return a server with a certificate to watch and expected backups, which the tests share in their order."""
    from support import servers

    root = tmp_path_factory.mktemp("monitored") / "root"
    certificate, _key = authority.issue(root.with_name("tls"), "index.example", days=80, age=10)
    settings = {"PPM_CERTIFICATE": str(certificate), "PPM_BACKUPS": "expected"}
    server = servers.start(root, options=("--upstream", "none"), environ=settings)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def monitor(index: Server) -> tuple[str, str]:
    made = ppmctl("token", "create", MONITOR, "--role", "monitor", "--root", str(index.root))
    return MONITOR, made.stdout.strip()


@pytest.fixture(scope="module")
def prometheus(
    index: Server, monitor: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    name, secret = monitor
    folder = tmp_path_factory.mktemp("prometheus") / "p"
    with scraping(folder, f"127.0.0.1:{index.port}", basic_auth={"username": name, "password": secret}) as made:
        yield made


def test_metrics_are_for_admins_and_monitors(index: Server, monitor: tuple[str, str]) -> None:
    reader = ppmctl("user", "add", "rea", "--role", "reader", "--root", str(index.root)).stdout.strip()
    statuses = {
        who: index.get("/metrics", auth=auth).status_code
        for who, auth in {"nobody": None, "reader": ("rea", reader), "admin": index.auth, "monitor": monitor}.items()
    }
    assert statuses == {"nobody": 401, "reader": 403, "admin": 200, "monitor": 200}
    assert index.get("/metrics", auth=("__token__", monitor[1])).status_code == 200
    for path in ("/simple/", "/", "/packages/", "/api/whoami", "/api/packages", "/account/", "/projects/", "/admin/"):
        for accept in ("*/*", "text/html"):
            answer = index.get(path, auth=monitor, headers={"Accept": accept})
            assert answer.status_code == 403, (path, accept, answer.status_code)
    assert index.upload(wheels.wheel("by-a-monitor", "1.0"), auth=monitor).status_code == 403
    assert requests.post(f"{index.url}/metrics", auth=monitor, timeout=20).status_code == 405


def test_a_monitor_has_tokens_for_monitoring_alone(index: Server, monitor: tuple[str, str]) -> None:
    root = ("--root", str(index.root))
    mixed = ppmctl("token", "create", "monitoring+ci", "--role", "reader", *root, expect=2)
    assert "has tokens for monitoring alone" in mixed.stderr
    assert index.get("/metrics", auth=monitor).status_code == 200
    assert (
        "reads /metrics and no project"
        in ppmctl("user", "add", "m", "--role", "monitor", "--project", "x", *root, expect=2).stderr
    )
    body = {"name": "m", "role": "monitor", "expires": "1h"}
    secret = ppmctl("user", "add", "pub", "--role", "publisher", *root).stdout.strip()
    refused = requests.post(f"{index.url}/api/tokens", json=body, auth=("pub", secret), timeout=20)
    assert (refused.status_code, "the role monitor" in refused.text) == (403, True)


def test_requests_uploads_and_refusals_are_counted(index: Server, prometheus: Prometheus) -> None:
    made = wheels.wheel("counted", "1.0")
    assert index.upload(made).status_code == 200
    assert index.upload(("broken-1.0-py3-none-any.whl", b"no wheel")).status_code == 400
    assert index.upload(made, auth=("admin", "wrong")).status_code == 401
    until(lambda: prometheus.value("ppm_uploads_total") == 1, "the upload is counted")
    refused = 'ppm_refused_changes_total{kind="upload", reason="credential"}'
    until(lambda: prometheus.value(refused) == 1, "the refusal is counted")
    until(lambda: prometheus.value("ppm_projects") == 1, "the project is counted")
    until(lambda: prometheus.value("ppm_files_bytes") == len(made[1]), "its bytes are counted")
    index.page("counted")
    until(lambda: prometheus.value('ppm_application_requests_total{kind="page", status="200"}') == 1, "a page")
    assert prometheus.value('ppm_application_request_seconds_count{kind="upload"}') == 4


def test_nothing_fires_on_a_healthy_index(prometheus: Prometheus) -> None:
    # other tests write to the same disk, which the rule takes for its rate over hours
    until(lambda: prometheus.value("up") == 1, "a scrape")
    assert prometheus.firing() <= {"PpmDiskFullSoon"}


def cause_and_clear(
    prometheus: Prometheus, name: str, cause: Callable[[], object], repair: Callable[[], object]
) -> None:
    assert name not in prometheus.firing()
    cause()
    prometheus.fires(name)
    repair()
    prometheus.clears(name)


def test_the_alerts_of_operations(index: Server, prometheus: Prometheus) -> None:
    root = ("--root", str(index.root))

    def record(name: str, *options: str) -> None:
        ppmctl("operation", "record", name, *options, *root)

    def age(name: str, **ago: int) -> None:
        path = index.root / "operations" / f"{name}.json"
        document = json.loads(path.read_text())
        document["last_success"] = (datetime.now(UTC) - timedelta(**ago)).isoformat()
        path.write_text(json.dumps(document))

    since = index.root / "operations" / "backups-expected.json"
    since.write_text(json.dumps(f"{datetime.now(UTC) - timedelta(days=9)}"))
    prometheus.fires("PpmBackupMissing")
    prometheus.fires("PpmDrillMissing")
    assert "No backup was ever made." in (text := health(index, expect=1))
    assert "No restore drill was ever made" in text
    record("backup")
    prometheus.clears("PpmBackupMissing")
    record("drill")
    assert health(index).startswith("ok: ")
    prometheus.clears("PpmDrillMissing")
    for name, old, ago in (("backup", "PpmBackupOld", 49), ("drill", "PpmDrillOld", 8 * 24 + 1)):
        record(name)
        cause_and_clear(prometheus, old, lambda n=name, h=ago: age(n, hours=h), lambda n=name: record(n))
        failed = f"Ppm{name.capitalize()}Failed"
        cause_and_clear(
            prometheus, failed, lambda n=name: record(n, "--failed", "no space"), lambda n=name: record(n)
        )
    renewal = "PpmCertificateRenewalFailed"
    cause_and_clear(
        prometheus, renewal, lambda: record("certificate", "--failed", "no account"), lambda: record("certificate")
    )


def test_health_reports_operations(index: Server) -> None:
    root = ("--root", str(index.root))
    ppmctl("operation", "record", "drill", "--failed", "a damaged file", *root)
    try:
        assert "The last restore drill failed" in (text := health(index, expect=1))
        assert "a damaged file" in text
        values = json.loads(ppmctl("health", "--json", *root, expect=1).stdout)
        assert (values["ok"], len(values["problems"])) == (False, 1)
        assert {each["name"] for each in values["operations"]} == {"backup", "drill", "certificate"}
        assert ppmctl("health", "--server-only", *root).stdout.startswith("ok: ")
    finally:
        ppmctl("operation", "record", "drill", *root)
    assert health(index).startswith("ok: ")


def health(index: Server, *, expect: int = 0) -> str:
    done = ppmctl("health", "--root", str(index.root), expect=expect, env={**os.environ, **index.environ})
    return done.stdout + done.stderr


def test_the_alerts_of_the_volume(index: Server, prometheus: Prometheus) -> None:
    blocked, page = index.root / "incoming" / ".health", index.root / "index" / "simple" / "index.json"
    aside = page.with_name("aside")

    def is_failing(path: str) -> bool:
        return requests.get(f"{index.url}{path}", timeout=20).status_code == 503

    cause_and_clear(prometheus, "PpmPublishingFails", blocked.mkdir, blocked.rmdir)
    assert not is_failing("/healthz/write")
    page.rename(aside)
    prometheus.fires("PpmPagesUnreadable")
    assert is_failing("/healthz")
    assert requests.get(f"{index.url}/healthz", timeout=20).text == "The pages can't be read\n"
    aside.rename(page)
    prometheus.clears("PpmPagesUnreadable")
    mark = index.root / "index" / "pending" / "marked"
    cause_and_clear(prometheus, "PpmPendingProjects", mark.touch, mark.unlink)


def test_the_alert_of_webhooks(index: Server, prometheus: Prometheus) -> None:
    """The state is written as the sender writes it."""
    state = index.root / "webhooks" / "0123456789abcdef.json"
    state.parent.mkdir(mode=0o700, exist_ok=True)
    text = json.dumps({"failing_since": 0, "disabled": True, "dropped": 3})
    cause_and_clear(prometheus, "PpmWebhooksFail", lambda: state.write_text(text), state.unlink)
    state.write_text(text)
    assert "1 are disabled: ppmctl webhook list" in health(index, expect=1)
    until(lambda: prometheus.value("ppm_webhook_events_given_up_total") == 3, "the events that were given up")
    state.unlink()


def test_the_alerts_of_certificate_and_credentials(
    index: Server, prometheus: Prometheus, authority: Authority, tmp_path: Path
) -> None:
    path = Path(index.environ["PPM_CERTIFICATE"])
    good = path.read_bytes()
    late, _key = authority.issue(tmp_path / "late", "index.example", days=5, age=85)
    cause_and_clear(
        prometheus, "PpmCertificateEnds", lambda: path.write_bytes(late.read_bytes()), lambda: path.write_bytes(good)
    )
    cause_and_clear(
        prometheus, "PpmMetricsFail", lambda: path.write_text("no certificate"), lambda: path.write_bytes(good)
    )
    root = ("--root", str(index.root))
    ppmctl("user", "add", "ending", "--role", "reader", "--expires", "13d", *root)
    access = index.root / "credentials" / "access.yml"
    text = access.read_text()
    created = text.partition('"ending"')[2].partition('"created": "')[2][:4]
    before, _, after = text.partition('"ending"')

    def make_old() -> None:
        access.write_text(f'{before}"ending"{after.replace(created, "2020", 1)}')

    cause_and_clear(prometheus, "PpmCredentialsExpire", make_old, lambda: ppmctl("user", "remove", "ending", *root))


def test_the_alert_of_errors(index: Server, prometheus: Prometheus) -> None:
    """A page that can't be read is an error of the server; the rate falls after it was repaired."""
    page = index.root / "index" / "simple" / "index.json"
    aside = page.with_name("aside")
    page.rename(aside)

    def fail() -> bool:
        requests.get(f"{index.url}/healthz", timeout=20)
        return "PpmErrors" in prometheus.firing()

    until(fail, "PpmErrors fires", seconds=60)
    aside.rename(page)
    prometheus.clears("PpmErrors")


def test_the_alert_of_a_server_that_is_down(index: Server, prometheus: Prometheus) -> None:
    cause_and_clear(prometheus, "PpmDown", index.stop, index.start_again)


def test_the_commands_of_the_documentation(index: Server, tmp_path: Path) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    script = "set -eu\n" + "".join(blocks).replace("monitoring+prometheus", "monitoring+docs")
    script = script.replace("127.0.0.1:8080", f"127.0.0.1:{index.port}").replace(".ppm", str(index.root))
    command = script.replace("ppmctl ", f"{sys.executable} -m ppmctl ")
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ok\nok\n")
    assert "ppm_build_info" in done.stdout


def test_the_loopback_needs_no_credential_where_configured(serve: Callable[..., Server]) -> None:
    server = serve("--metrics", "loopback")
    assert "ppm_build_info" in requests.get(f"{server.url}/metrics", timeout=20).text
    for headers in ({"X-Forwarded-For": "192.0.2.1"}, {"Forwarded": "for=192.0.2.1"}, {"Host": "evil.example"}):
        assert requests.get(f"{server.url}/metrics", headers=headers, timeout=20).status_code == 401, headers
    assert requests.get(f"{server.url}/simple/", timeout=20).status_code == 401
