"""Alert rules and dashboard in `monitoring/`: valid, about metrics that exist; each alert fires and clears."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support.tls import Authority
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from ppmctl.access.credential_files import Credentials
from ppmctl.index import operation_result
from ppmctl.index.operation_result import OperationResult
from ppmctl.index.search_index import SearchIndex
from ppmctl.index.store import Store
from ppmctl.server import index_metrics
from ppmctl.server.health_api import WriteCheck
from ppmctl.server.metrics_api import MetricsApi
from ppmctl.server.settings import server_settings

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"
RULES, RULE_TESTS = MONITORING / "ppm-alerts.yml", sorted(MONITORING.glob("*.test.yml"))
FROM_PROMETHEUS = {"up": frozenset({"job", "instance"})}
Series = dict[str, frozenset[str]]


@pytest.fixture
def exported(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Series:
    """Return the labels of each metric of an index that has everything, with those that Prometheus adds."""

    class Traffic:
        @staticmethod
        def totals(_volume: object) -> dict[tuple[str, int], int]:
            return {("page", 200): 1}

        @staticmethod
        def last_run(_volume: object) -> int:
            return 1

    monkeypatch.setattr(index_metrics.importlib, "import_module", lambda _name: Traffic)
    store.write_root()
    SearchIndex(store).rebuild()
    certificate, _key = Authority().issue(tmp_path / "tls", "index.example")
    for name in operation_result.NAMES:
        operation_result.write(store.volume, OperationResult(name=name, succeeded=True))
    flags = {"certificate": str(certificate), "backups": "expected"}
    settings = server_settings(store.volume.root, flags=flags, environ={})
    api = MetricsApi(settings, store, Credentials(store.volume), WriteCheck(store.volume))
    text = api.answer(Request(EnvironBuilder(path="/metrics").get_environ())).get_data(as_text=True)
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {sample.name: frozenset({*sample.labels, "job", "instance"}) for sample in samples} | FROM_PROMETHEUS


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def used(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:ppm_[a-z0-9_]+|up)\b", expression))


def promtool(*arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], cwd=MONITORING, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_accepts_rules_and_configuration() -> None:
    assert f"{len(alerts())} rules found" in promtool("check", "rules", RULES.name)
    promtool("check", "config", "prometheus.yml")


def test_each_alert_fires_and_clears_as_the_rule_tests_say(exported: Series) -> None:
    """A series of the tests must be one that an index exports, or the test would show nothing."""
    tests = [test for path in RULE_TESTS for test in yaml.safe_load(path.read_text())["tests"]]
    checks = [check for test in tests for check in test["alert_rule_test"]]
    fires = {check["alertname"] for check in checks if check.get("exp_alerts")}
    last = {check["alertname"]: bool(check.get("exp_alerts")) for check in checks}
    first = {check["alertname"]: bool(check.get("exp_alerts")) for check in reversed(checks)}
    assert fires == set(alerts())
    assert not any(last.values()), "it clears"
    assert not any(first.values()), "it does not fire at once"
    for series in (each["series"] for test in tests for each in test["input_series"]):
        name, _, labels = series.partition("{")
        assert exported[name] == set(re.findall(r"(\w+)=", labels)), series
    promtool("test", "rules", *(path.name for path in RULE_TESTS))


def test_alerts_and_dashboard_use_exported_metrics_alone(exported: Series, tmp_path: Path) -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [variable["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    assert len(queries) > 15
    for expression in [*queries, *(rule["expr"] for rule in alerts().values())]:
        assert used(expression)
        assert used(expression) <= exported.keys(), expression
    rules = [{"record": f"q{number}", "expr": query} for number, query in enumerate(queries) if "label_" not in query]
    written = tmp_path / "queries.yml"
    written.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(written))


def test_labels_are_bounded(exported: Series) -> None:
    """None is a project, a user, a path or an address."""
    labels = frozenset().union(*exported.values())
    assert labels == {"job", "instance", "kind", "status", "reason", "operation", "part", "version", "le"}


def test_the_documentation_names_each_alert_and_each_metric(exported: Series) -> None:
    text = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    assert [name for name in alerts() if f"`{name}`" not in text] == []
    own = {name for name in exported if name.startswith("ppm_") and not name.startswith("ppm_process_")}
    assert [name for name in sorted(own) if re.sub("_(bucket|count|sum)$", "", name) not in text] == []
