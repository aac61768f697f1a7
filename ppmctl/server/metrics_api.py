"""Answer `/metrics`, in the text format of Prometheus, for admins and tokens with the role monitor."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from werkzeug.wrappers import Request, Response

from ppmctl.access.credential_files import Credentials
from ppmctl.index.store import Store
from ppmctl.server import request_headers, same_origin
from ppmctl.server.health_api import WriteCheck
from ppmctl.server.index_metrics import IndexMetrics
from ppmctl.server.json_api import not_allowed
from ppmctl.server.request_metrics import RequestMetrics
from ppmctl.server.settings import ServerSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

PATH = "/metrics"
# nginx sets the header for requests to its own address on the loopback, and removes it from all others
_LOCAL, _IS_LOCAL = "HTTP_X_PPM_LOOPBACK", "yes"
_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class MetricsApi:
    """The metrics of one index; `requests` counts what it answers."""

    def __init__(self, settings: ServerSettings, store: Store, credentials: Credentials, writes: WriteCheck) -> None:
        self._settings = settings
        self._registry = CollectorRegistry()
        self.requests = RequestMetrics(self._registry)
        self._registry.register(IndexMetrics(settings, store, credentials, writes))
        ProcessCollector(namespace="ppm", registry=self._registry)

    def is_open(self, request: Request) -> bool:
        """Return whether a request needs no credential: it comes from this machine, where the settings allow that.

        A proxy on this machine, such as nginx, sends the requests of others; so does a browser for a foreign page,
        with the name of its host.
        """
        if self._settings.metrics != "loopback":
            return False
        environ = request.environ
        host = environ.get(same_origin.HOST, "").rpartition(":")
        name = host[0] if host[2].isdecimal() and host[0] else environ.get(same_origin.HOST, "")
        return name.lower() in _NAMES and _is_local(environ)

    def answer(self, request: Request) -> Response:
        """Return all metrics."""
        if request.method not in ("GET", "HEAD"):
            return not_allowed("GET", "HEAD")
        headers = {"Cache-Control": "no-store"}
        return Response(generate_latest(self._registry), content_type=CONTENT_TYPE_PLAIN_0_0_4, headers=headers)


def _is_local(environ: WSGIEnvironment) -> bool:
    connection = environ.get("gunicorn.socket")
    if connection is not None and connection.family == socket.AF_UNIX:
        return bool(environ.get(_LOCAL) == _IS_LOCAL)
    try:
        address = ipaddress.ip_address(environ.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    return address.is_loopback and not environ.get(request_headers.IS_FORWARDED)
