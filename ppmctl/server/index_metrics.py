"""Collect the state of an index for `/metrics`: its size and disk, operations, certificate, credentials.

Nothing walks through the volume: a scrape reads one row of the search index and a few small files, and what could
grow with the index is kept for some seconds. A part that can't be read is left out and named in `ppm_metrics_failed`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ppmctl import __version__
from ppmctl.access.credential_files import Credentials
from ppmctl.access.rights import Access
from ppmctl.errors import PpmError
from ppmctl.index import operation_result, pages
from ppmctl.index.search_index import SearchIndex
from ppmctl.index.store import Store
from ppmctl.server import health, operation_health
from ppmctl.server.health_api import WriteCheck
from ppmctl.server.settings import ServerSettings

SOON = timedelta(days=14)  # before the end of a credential
_KEPT = 5.0  # seconds

Result = TypeVar("Result")


class Kept(Generic[Result]):
    """The result of a function, which is called again only after some seconds, and once for all threads."""

    def __init__(self, function: Callable[[], Result], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._function = function
        self._clock = clock
        self._guard = threading.Lock()
        self._until = 0.0
        self._result: Result | None = None

    def get(self) -> Result:
        """Return the result. Raise what the function raises."""
        with self._guard:
            if self._result is None or self._clock() >= self._until:
                self._result = self._function()
                self._until = self._clock() + _KEPT
            return self._result


class IndexMetrics(Collector):
    """The state of one index."""

    def __init__(self, settings: ServerSettings, store: Store, credentials: Credentials, writes: WriteCheck) -> None:
        self._settings = settings
        self._volume = store.volume
        self._cache = store.cache
        self._credentials = credentials
        self._writes = writes
        search = SearchIndex(store)
        self._totals = Kept(search.totals)
        self._marked = Kept(lambda: len([name for name in pages.marked(store.volume) if not name.startswith(".")]))
        self._expiring = Kept(lambda: expiring(credentials.entries(), datetime.now(UTC)))
        with contextlib.suppress(OSError):  # each scrape tries again
            self._note_expected()

    def describe(self) -> list[Metric]:
        """Return nothing, so that the registration reads nothing."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, those of each part that can be read."""
        failed = GaugeMetricFamily(
            "ppm_metrics_failed", "1 for a part of the metrics that can't be read.", labels=["part"]
        )
        for part in (
            self._health,
            self._disk,
            self._pending,
            self._bucket,
            self._numbers,
            self._operations,
            self._webhooks,
            self._certificate,
            self._tokens,
            self._web,
        ):
            name, metrics = part.__name__.strip("_"), []
            try:
                metrics = list(part())
            except (OSError, PpmError, ValueError):
                failed.add_metric([name], 1)
            else:
                failed.add_metric([name], 0)
            yield from metrics
        yield failed
        info = GaugeMetricFamily("ppm_build_info", "The version of ppm; always 1.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info

    def _health(self) -> Iterator[Metric]:
        readable, works = not health.page_problem(self._volume), not self._writes.problem()
        yield _gauge("ppm_pages_readable", "1 if the list of projects can be read (/healthz).", readable)
        yield _gauge("ppm_publishing_works", "1 if the volume can be written (/healthz/write).", works)

    def _disk(self) -> Iterator[Metric]:
        status = os.statvfs(self._volume.root)
        yield _gauge(
            "ppm_disk_size_bytes", "The size of the volume's file system.", status.f_blocks * status.f_frsize
        )
        yield _gauge(
            "ppm_disk_free_bytes", "What the server may still write to it.", status.f_bavail * status.f_frsize
        )
        if status.f_files:
            yield _gauge("ppm_disk_inodes", "The files that the volume's file system can have.", status.f_files)
            yield _gauge("ppm_disk_free_inodes", "How many more files the server may make there.", status.f_favail)

    def _pending(self) -> Iterator[Metric]:
        yield _gauge(
            "ppm_pending_projects",
            "Projects whose pages may be older than their files; more than zero for long is a fault.",
            self._marked.get(),
        )

    def _bucket(self) -> Iterator[Metric]:
        if self._cache.mirror is None or self._cache.freshness is None:
            return
        text = "1 if the bucket answered the last comparison; otherwise what is on the disk is served."
        yield _gauge("ppm_bucket_reachable", text, not self._cache.freshness.is_away)
        requests = CounterMetricFamily(
            "ppm_bucket_requests", "Requests to the bucket, and those of them that failed.", labels=["kind"]
        )
        for kind, number in sorted(self._cache.mirror.bucket.counts.items()):
            requests.add_metric([kind], number)
        yield requests

    def _numbers(self) -> Iterator[Metric]:
        totals = self._totals.get()
        yield _gauge("ppm_projects", "Projects with a folder.", totals.projects)
        yield _gauge("ppm_files", "Files that the pages list.", totals.files)
        yield _gauge("ppm_files_bytes", "The sum of their sizes.", totals.size)

    def _note_expected(self) -> bool:
        is_expected = self._settings.backups == "expected"
        operation_result.note_expected(self._volume, is_expected=is_expected)
        return is_expected

    def _operations(self) -> Iterator[Metric]:
        succeeded, finished, success = (
            GaugeMetricFamily(f"ppm_operation_{name}", text, labels=["operation"])
            for name, text in (
                ("succeeded", "1 if the last backup, drill or renewal of the certificate succeeded, 0 if it failed."),
                ("finished_timestamp_seconds", "When it ended last."),
                ("success_timestamp_seconds", "When it succeeded last."),
            )
        )
        for name, result in operation_result.read_all(self._volume).items():
            succeeded.add_metric([name], int(result.succeeded))
            for family, text in ((finished, result.finished), (success, result.last_success)):
                if (moment := operation_health.moment(text)) is not None:
                    family.add_metric([name], moment.timestamp())
        yield from (succeeded, finished, success)
        yield _gauge("ppm_backups_expected", "1 if the settings say that backups are made.", self._note_expected())
        if (since := operation_health.moment(operation_result.expected_since(self._volume))) is not None:
            text = "Since when the settings say so."
            yield _gauge("ppm_backups_expected_timestamp_seconds", text, since.timestamp())

    def _webhooks(self) -> Iterator[Metric]:
        found = operation_health.webhooks(self._volume, datetime.now(UTC))
        yield _gauge("ppm_webhooks_failing", "Webhooks that did not receive the last attempt.", found.failing)
        yield _gauge("ppm_webhooks_disabled", "Webhooks whose receivers answered 410.", found.disabled)
        text = "Events that webhooks have not received in days."
        yield CounterMetricFamily("ppm_webhook_events_given_up", text, value=found.given_up)

    def _certificate(self) -> Iterator[Metric]:
        if self._settings.certificate is None:
            return
        from cryptography import x509  # 9 MB of memory, for what an embedded server does not have

        certificate = x509.load_pem_x509_certificates(self._settings.certificate.read_bytes())[0]
        for name, moment in (("begin", certificate.not_valid_before_utc), ("end", certificate.not_valid_after_utc)):
            text = f"The {name} of the validity of the certificate that the web server sends."
            yield _gauge(f"ppm_certificate_{name}_timestamp_seconds", text, moment.timestamp())

    def _tokens(self) -> Iterator[Metric]:
        text = f"Credentials that end within {SOON.days} days, without those that were made for less."
        yield _gauge("ppm_credentials_expiring", text, self._expiring.get())

    def _web(self) -> Iterator[Metric]:
        try:
            traffic: Any = importlib.import_module("ppmctl.downloads.traffic")
        except ModuleNotFoundError:
            return
        requests = CounterMetricFamily(
            "ppm_http_requests", "Requests that the web server answered, from its log.", labels=["kind", "status"]
        )
        for (kind, status), number in sorted(traffic.totals(self._volume).items()):
            requests.add_metric([kind, str(status)], number)
        yield requests
        if (last_run := traffic.last_run(self._volume)) is not None:
            text = "When the log was read last, so that downloads are counted up to then."
            yield _gauge("ppm_downloads_counted_timestamp_seconds", text, last_run)


def expiring(entries: list[Access], now: datetime) -> int:
    """Return how many live credentials end soon. A short-lived one, such as for a job of CI, always does: no news."""
    number = 0
    for entry in entries:
        end = operation_health.moment(entry.effective.expires or "")
        begin = operation_health.moment(entry.created)
        is_long = end is not None and (begin is None or end - begin > SOON)
        number += bool(is_long and end is not None and now < end <= now + SOON and entry.is_live(now))
    return number


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))
