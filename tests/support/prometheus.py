"""A real Prometheus that scrapes an index and evaluates the rules of `monitoring/`, faster than in production."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml

from support.evidence import until
from support.servers import free_port

RULES = Path(__file__).parents[2] / "monitoring" / "ppm-alerts.yml"
_EVERY = "250ms"


@dataclass(frozen=True, kw_only=True)
class Prometheus:
    """A running Prometheus."""

    url: str
    log: Path

    def value(self, query: str) -> float | None:
        """Return the value of a query's only series, or None without one."""
        results = self._get("query", query=query)["result"]
        return float(results[0]["value"][1]) if results else None

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        return {each["labels"]["alertname"] for each in self._get("alerts")["alerts"] if each["state"] == "firing"}

    def fires(self, name: str) -> None:
        until(lambda: name in self.firing(), f"{name} fires", seconds=60)

    def clears(self, name: str) -> None:
        until(lambda: name not in self.firing(), f"{name} clears", seconds=60)

    def _get(self, path: str, **parameters: str) -> Any:
        with contextlib.suppress(requests.ConnectionError):  # before it listens
            answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=20)
            if answer.ok:
                return answer.json()["data"]
        return {"result": [], "alerts": []}


@contextlib.contextmanager
def scraping(folder: Path, target: str, **scrape: Any) -> Iterator[Prometheus]:
    """Run Prometheus while it scrapes `target` (host:port); `scrape` are more values of its scrape configuration."""
    folder.mkdir()
    (folder / "rules.yml").write_text(hurried(RULES.read_text()))
    job: Mapping[str, Any] = {"job_name": "ppm", "static_configs": [{"targets": [target]}], **scrape}
    times = {"scrape_interval": _EVERY, "evaluation_interval": _EVERY, "scrape_timeout": _EVERY}
    if "https" in scrape.values():
        times |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
    configuration = {"global": times, "rule_files": ["rules.yml"], "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    port, log = free_port(), folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        made = Prometheus(url=f"http://127.0.0.1:{port}", log=log)
        until(lambda: process.poll() is not None or made.value("up") is not None, "a first scrape")
        assert process.poll() is None, log.read_text()
        yield made
    finally:
        process.terminate()
        process.wait(timeout=30)


def hurried(rules: str) -> str:
    """Return the rules with seconds for the minutes and hours that a fault must last; the conditions are the same."""
    rules = re.sub(r"(?m)^( +for: ).*$", r"\g<1>0s", rules)
    assert "[5m]" in rules
    return rules.replace("[5m]", "[5s]")
