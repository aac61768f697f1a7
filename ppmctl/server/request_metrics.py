"""Count the requests of one index, for `/metrics`: by kind and status, with their times, uploads and refusals.

Every label has a fixed set of values: none is a project, user or path, which clients could make up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

from ppmctl.access.audit_log import Attempt

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

WEB, UPLOAD, OTHER = "web", "upload", "other"
# the first part of a path → the kind of request; pages for people are "web", which the application knows
_KINDS = {
    "simple": "page",
    "packages": "file",
    "env": "environment",
    "api": "api",
    "search": "api",
    "pypi": "api",
    "RPC2": "api",
    "healthz": "health",
    "metrics": "metrics",
}
KINDS = tuple(dict.fromkeys([*_KINDS.values(), WEB, UPLOAD, OTHER]))
_UPLOAD_PATHS = frozenset({"/", "/legacy", "/legacy/", "/upload", "/upload/", "/upload/files"})
_REASONS = {
    400: "invalid",
    401: "credential",
    403: "rights",
    404: "missing",
    405: "method",
    408: "slow",
    409: "conflict",
    411: "size",
    413: "size",
    415: "invalid",
    429: "too many",
    500: "error",
    503: "unavailable",
    507: "full",
}
REASONS = tuple(dict.fromkeys([*_REASONS.values(), OTHER]))
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)  # seconds
_FIRST = ("200", "500", "503")  # exist from the start: a rate does not see the first value of a series
_WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})

# they are a time for each series, which nothing uses
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no type for it


def kind_of(method: str, path: str) -> str:
    """Return the kind of a request that is not for a page of people."""
    if method == "POST" and path in _UPLOAD_PATHS:
        return UPLOAD
    return _KINDS.get(path.split("/", 2)[1], OTHER) if path.startswith("/") else OTHER


def reason_of(status: int) -> str:
    """Return the reason of a refusal with this HTTP status, as a label."""
    return _REASONS.get(status, OTHER)


class RequestMetrics:
    """The counters of one index, in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "ppm_application_requests",
            "Requests that the application answered, by kind and HTTP status.",
            ["kind", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "ppm_application_request_seconds",
            "Seconds from a request's head until its answer begins; for an upload its body is received in between.",
            ["kind"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._uploads = Counter("ppm_uploads", "Uploads that were accepted, repeated ones too.", registry=registry)
        self._refusals = Counter(
            "ppm_refused_changes",
            "Changes that were refused, by kind (upload or change) and reason.",
            ["kind", "reason"],
            registry=registry,
        )
        self._series: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        for kind in KINDS:
            self._seconds.labels(kind)
            for status in _FIRST:
                self._requests.labels(kind, status)
        for reason in REASONS:
            for kind in (UPLOAD, "change"):
                self._refusals.labels(kind, reason)

    def counting(self, environ: WSGIEnvironment, kind: str, start_response: StartResponse) -> StartResponse:
        """Return a `start_response` that counts the answer to a request of this kind."""
        begun, method = time.perf_counter(), environ.get("REQUEST_METHOD", "")

        def start(status: str, *answer: Any) -> Callable[[bytes], object]:
            code = int(status.partition(" ")[0])
            self.count(kind, str(code), time.perf_counter() - begun)
            if method in _WRITING:
                self._count_change(Attempt.of(environ), "upload" if kind == UPLOAD else "change", code)
            return start_response(status, *answer)

        return start

    def count(self, kind: str, status: str, seconds: float) -> None:
        """Count a request of this kind; its answer began after `seconds`."""
        series = self._series.get((kind, status))
        if series is None:  # `labels` takes longer than the counting
            series = self._series[kind, status] = self._requests.labels(kind, status), self._seconds.labels(kind)
        series[0].inc()
        series[1].observe(seconds)

    def _count_change(self, attempt: Attempt, kind: str, code: int) -> None:
        for _part, status in attempt.parts:
            self._refusals.labels(kind, reason_of(status)).inc()
        if code >= 400 and not attempt.parts:
            self._refusals.labels(kind, reason_of(code)).inc()
        elif code < 300 and attempt.action == "publish":
            self._uploads.inc()
