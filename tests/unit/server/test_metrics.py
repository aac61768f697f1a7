"""What `/metrics` says, with labels that nobody can multiply; tests/e2e/test_monitoring.py has a real Prometheus."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from support.nodes import new_node
from support.tls import Authority
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from ppmctl.access import accounts
from ppmctl.access.account import SERVER
from ppmctl.access.credential_files import Credentials
from ppmctl.access.rights import Access
from ppmctl.index import operation_result
from ppmctl.index.operation_result import OperationResult
from ppmctl.index.search_index import SearchIndex
from ppmctl.index.store import Store
from ppmctl.server import index_metrics, request_metrics, same_origin
from ppmctl.server.health_api import WriteCheck
from ppmctl.server.metrics_api import MetricsApi
from ppmctl.server.request_metrics import RequestMetrics
from ppmctl.server.settings import server_settings
from ppmctl.storage.bucket import Unavailable

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
Values = dict[tuple[str, tuple[str, ...]], float]


def api(store: Store, **flags: Any) -> MetricsApi:
    settings = server_settings(store.volume.root, flags=flags, environ={})
    return MetricsApi(settings, store, Credentials(store.volume), WriteCheck(store.volume))


def request(path: str = "/metrics", **environ: Any) -> Request:
    made = EnvironBuilder(path=path).get_environ() | {"REMOTE_ADDR": "127.0.0.1", same_origin.HOST: "127.0.0.1:8080"}
    return Request(made | environ)


def scraped(metrics: MetricsApi) -> Values:
    return dict(_samples(metrics.answer(request()).get_data(as_text=True)))


def _samples(text: str) -> Iterator[tuple[tuple[str, tuple[str, ...]], float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield (sample.name, tuple(sample.labels.values())), sample.value


def test_the_bucket_of_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = new_node(tmp_path / "node", f"memory://{tmp_path.name}")
    metrics = api(node)
    assert node.cache.compare("demo")
    values = scraped(metrics)
    assert values["ppm_bucket_reachable", ()] == values["ppm_publishing_works", ()] == 1
    assert values["ppm_bucket_requests_total", ("read",)] >= 1

    def fail(_project: str) -> None:
        raise Unavailable("The bucket does not answer.")

    assert node.mirror is not None
    monkeypatch.setattr(node.mirror, "pull", fail)
    assert not node.cache.compare("other")
    assert scraped(metrics)["ppm_bucket_reachable", ()] == 0


def test_the_state_of_an_index(store: Store, tmp_path: Path) -> None:
    store.write_root()
    certificate, _key = Authority().issue(tmp_path / "tls", "index.example", days=30)
    operation_result.write(store.volume, OperationResult(name="backup", succeeded=True))
    operation_result.write(store.volume, OperationResult(name="drill", succeeded=False, detail="/secret/path"))
    store.volume.mark("acme").touch()
    SearchIndex(store).rebuild()
    metrics = api(store, certificate=str(certificate), backups="expected")
    text = metrics.answer(request()).get_data(as_text=True)
    assert "secret" not in text
    assert "acme" not in text
    values = dict(_samples(text))
    assert values["ppm_pages_readable", ()] == values["ppm_publishing_works", ()] == 1
    assert values["ppm_disk_free_bytes", ()] <= values["ppm_disk_size_bytes", ()]
    assert values["ppm_pending_projects", ()] == 1
    assert values["ppm_projects", ()] == values["ppm_files", ()] == values["ppm_files_bytes", ()] == 0
    ends_in = values["ppm_certificate_end_timestamp_seconds", ()] - time.time()
    assert ends_in == pytest.approx(30 * 86_400, abs=3_600)
    assert values["ppm_certificate_begin_timestamp_seconds", ()] < time.time()
    assert values["ppm_backups_expected", ()] == 1
    assert values["ppm_backups_expected_timestamp_seconds", ()] == pytest.approx(time.time(), abs=60)
    assert (values["ppm_operation_succeeded", ("backup",)], values["ppm_operation_succeeded", ("drill",)]) == (1, 0)
    assert ("ppm_operation_success_timestamp_seconds", ("backup",)) in values
    assert ("ppm_operation_success_timestamp_seconds", ("drill",)) not in values
    assert all(name.startswith("ppm_") for name, _labels in values)


def test_a_part_that_can_not_be_read_is_named_and_the_others_are_there(store: Store, tmp_path: Path) -> None:
    values = scraped(api(store, certificate=str(tmp_path / "nothing.pem")))
    assert values["ppm_metrics_failed", ("certificate",)] == 1
    assert values["ppm_metrics_failed", ("disk",)] == 0
    assert values["ppm_pages_readable", ()] == 0, "there is no list of projects yet"


def test_requests_are_counted_by_kind_and_status_alone() -> None:
    registry = CollectorRegistry()
    counted = RequestMetrics(registry)
    for number in range(3_000):
        method, path = ("GET", "POST", "PUT")[number % 3], f"/{('simple', 'x', 'api')[number % 3]}/{number}/"
        environ = EnvironBuilder(method=method, path=path).get_environ()
        kind = request_metrics.kind_of(method, path)
        counted.counting(environ, kind, lambda *_answer: lambda _body: None)(f"{(200, 404, 507)[number % 3]} x", [])
    series = {
        (family.name, *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
    }
    assert len(series) < 300
    assert series["ppm_application_requests", "page", "200"] == 1_000
    assert series["ppm_application_requests", "other", "404"] == 1_000
    assert series["ppm_refused_changes", "change", "full"] == 1_000
    assert series["ppm_refused_changes", "change", "missing"] == 1_000


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/simple/x/", "page"),
        ("HEAD", "/packages/x/x-1.0.tar.gz", "file"),
        ("GET", "/env/x/env.json", "environment"),
        ("POST", "/legacy/", "upload"),
        ("POST", "/", "upload"),
        ("GET", "/", "other"),
        ("POST", "/RPC2", "api"),
        ("GET", "/healthz/write", "health"),
        ("GET", "/metrics", "metrics"),
        ("OPTIONS", "*", "other"),
        ("GET", "", "other"),
    ],
)
def test_kinds_of_requests(method: str, path: str, kind: str) -> None:
    assert request_metrics.kind_of(method, path) == kind


def test_credentials_that_end_soon(store: Store) -> None:
    def entry(created: int, end: int | None, **more: Any) -> Access:
        times = [(NOW + timedelta(days=days)).isoformat() for days in (created, end or 0)]
        return Access(
            name="x", role="reader", created=times[0], expires=times[1] if end is not None else None, **more
        )

    counted = {
        "soon": entry(-80, 10),
        "later": entry(-80, 15),
        "never": entry(-80, None),
        "ended": entry(-80, -1),
        "made for a job": entry(-1, 1),
        "disabled": entry(-80, 10, disabled=True),
    }
    assert [name for name, each in counted.items() if index_metrics.expiring([each], NOW)] == ["soon"]
    accounts.create_user(store.volume, SERVER, "ann", role="reader")
    assert len(Credentials(store.volume).entries()) == 1


def test_what_grows_with_the_index_is_read_once_in_a_while() -> None:
    calls, now = [], [0.0]
    kept = index_metrics.Kept(lambda: calls.append(1) or len(calls), clock=lambda: now[0])
    assert [kept.get(), kept.get()] == [1, 1]
    now[0] = 5.1
    assert kept.get() == 2


@pytest.mark.parametrize(
    ("metrics", "environ", "is_open"),
    [
        ("credential", {}, False),
        ("loopback", {}, True),
        ("loopback", {"REMOTE_ADDR": "::1", same_origin.HOST: "[::1]:8080"}, True),
        ("loopback", {same_origin.HOST: "localhost"}, True),
        ("loopback", {"REMOTE_ADDR": "192.0.2.1"}, False),
        ("loopback", {"REMOTE_ADDR": ""}, False),
        ("loopback", {"ppm.is_forwarded": True}, False),
        ("loopback", {same_origin.HOST: "rebound.example:8080"}, False),
        ("loopback", {same_origin.HOST: ""}, False),
        ("loopback", {"REMOTE_ADDR": "192.0.2.1", "HTTP_X_PPM_LOOPBACK": "yes"}, False),
    ],
)
def test_only_this_machine_needs_no_credential(
    store: Store, metrics: str, environ: dict[str, Any], is_open: bool
) -> None:
    assert api(store, metrics=metrics).is_open(request(**environ)) is is_open


def test_the_traffic_of_the_web_server_is_exported(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another part counts it, in a module that is imported where it exists."""

    class Traffic:
        @staticmethod
        def totals(_volume: object) -> dict[tuple[str, int], int]:
            return {("page", 200): 7, ("file", 404): 1}

        @staticmethod
        def last_run(_volume: object) -> int:
            return 1_790_000_000

    monkeypatch.setattr(index_metrics.importlib, "import_module", lambda _name: Traffic)
    values = scraped(api(store))
    assert values["ppm_http_requests_total", ("page", "200")] == 7
    assert values["ppm_http_requests_total", ("file", "404")] == 1
    assert values["ppm_downloads_counted_timestamp_seconds", ()] == 1_790_000_000
    assert json.dumps(values["ppm_metrics_failed", ("web",)]) == "0.0"
