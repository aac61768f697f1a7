"""The WSGI application of an index: authenticate a request, then answer it from disk, by an API or by pypiserver."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from werkzeug.wrappers import Request, Response

from ppmctl import files
from ppmctl.access import audit_log, rights
from ppmctl.access.credential_files import Access, Credentials
from ppmctl.access.rights import Action
from ppmctl.distributions.distribution import one_line
from ppmctl.errors import PpmError, Refused
from ppmctl.index import discovery
from ppmctl.index.store import Store
from ppmctl.server import metrics_api, request_headers, request_metrics, same_origin, token_api, upload_form, uploads
from ppmctl.server.environment_api import EnvironmentApi
from ppmctl.server.environment_reader import EnvironmentReader
from ppmctl.server.front import Front
from ppmctl.server.health_api import HealthApi
from ppmctl.server.metrics_api import MetricsApi
from ppmctl.server.mirror_api import RPC_PATHS, MirrorApi
from ppmctl.server.package_api import PackageApi
from ppmctl.server.public_names import PublicNames
from ppmctl.server.pypiserver_backend import PUBLIC_INDEX, Pypiserver
from ppmctl.server.request_body import Body
from ppmctl.server.settings import ServerSettings
from ppmctl.server.simple_api import Reader
from ppmctl.server.waiting import STALLED_AFTER

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)

UPLOAD_PATH = "/legacy/"  # that users are told; the others are those of pypiserver, and common mistakes
UPLOAD_PATHS = frozenset({"/", "/legacy", UPLOAD_PATH, "/upload", "/upload/"})
_SHOWN = 100  # characters of a path in a message
_ACTIONS = ("file_upload", "submit", "verify", "remove_pkg")
_WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Pages(Protocol):
    """Pages for people (`ppmctl.web.site`): they authenticate by themselves, and show errors as pages."""

    def handles(self, request: Request) -> bool:
        """Return whether the request is for a page."""

    def answer(self, request: Request) -> Response:
        """Return the page. Raise PpmError or OSError."""

    def refusal(self, request: Request, refused: Refused) -> Response:
        """Return a page with the reason of a refusal."""


class Index:
    """The application of one index. A process can have several."""

    def __init__(self, settings: ServerSettings, store: Store, credentials: Credentials, pages: Pages) -> None:
        self._settings = settings
        self._store = store
        self._credentials = credentials
        self._pages = pages
        self._reader = Reader(settings, store, upstream_url=settings.upstream_url or PUBLIC_INDEX)
        self._environment_reader = EnvironmentReader(settings, store)
        public_names = PublicNames.of(settings)
        self._pypiserver = Pypiserver(store, public_names)
        self._packages = PackageApi(store)
        self._environment_api = EnvironmentApi(store, public_names)
        self._mirrors = MirrorApi(store)
        self._tokens = token_api.TokenApi(settings.volume)
        self._health = HealthApi(settings.volume)
        self._metrics = MetricsApi(settings, store, credentials, self._health.writes)
        self._refusals = audit_log.Refusals(settings.volume)
        # a cache of a bucket may have to be compared with it first
        self.front = Front(settings, credentials, self._metrics.requests) if store.cache.mirror is None else None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        _prepare_connection(environ)
        request_headers.drop(environ)
        environ["wsgi.input"] = Body(environ)
        request = Request(environ)
        kind = request_metrics.kind_of(request.method, request.path)
        if kind != request_metrics.UPLOAD and self._pages.handles(request):
            kind = request_metrics.WEB
        start_response = self._metrics.requests.counting(environ, kind, start_response)
        if request.method in _WRITING and request.path not in RPC_PATHS:
            start_response = self._audited(audit_log.Attempt.of(environ), start_response)
        try:
            request_headers.check(request)
            return self._answer(request, environ, start_response)
        except Exception as exc:
            refused = as_refusal(request, exc)
        audit_log.Attempt.of(environ).reason = refused.message
        response = self._pages.refusal(request, refused) if self._pages.handles(request) else _refusal(refused)
        return response(environ, start_response)

    def _audited(self, attempt: audit_log.Attempt, start_response: StartResponse) -> StartResponse:
        """Return a `start_response` that writes each refusal to the audit, pypiserver's too."""

        def start(status: str, *answer: Any) -> Callable[[bytes], object]:
            code, _, phrase = status.partition(" ")
            for part, part_status in attempt.parts:
                self._refusals.write(part, part_status)
            if int(code) >= 400 and (attempt.reason or not attempt.parts):
                attempt.reason = attempt.reason or phrase
                self._refusals.write(attempt, int(code))
            return start_response(status, *answer)

        return start

    def _answer(self, request: Request, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if request.path == metrics_api.PATH:
            if not self._metrics.is_open(request):
                authenticated(self._credentials, request, action="monitor")
            return self._metrics.answer(request)(environ, start_response)
        if (health := self._health.answer(request)) is not None:
            return health(environ, start_response)
        if self._pages.handles(request):
            return self._pages.answer(request)(environ, start_response)
        by = rights.ANYONE if self._is_open(request) else authenticated(self._credentials, request)
        same_origin.require(request)  # in front of everything that changes something
        if request.path == token_api.JOIN:
            return token_api.join(request, self._settings.volume)(environ, start_response)
        if request.path == token_api.WEB_LOGIN:
            return token_api.web_login(request, self._credentials, self._settings.volume, by)(environ, start_response)
        if self._tokens.handles(request):
            return self._tokens.answer(request, by)(environ, start_response)
        if request.path in UPLOAD_PATHS and request.method == "POST":
            return self._upload(request, by, environ, start_response)
        if request.method == "POST" and not (request.path in RPC_PATHS or request.path.startswith("/api/")):
            return _misplaced(request)(environ, start_response)
        apis = (self._packages, self._environment_api, self._environment_reader, self._mirrors, self._reader)
        response = next((answer for api in apis if (answer := api.answer(request, by)) is not None), None)
        if response is not None:
            return response(environ, start_response)
        return self._pypiserver(environ, start_response, by)

    def _is_open(self, request: Request) -> bool:
        """Return whether a request needs no credential."""
        if request.path == token_api.JOIN:
            return True
        reads = request.method in {"GET", "HEAD"} and not _has_body(
            request
        )  # nginx stores no body without a credential
        if not (reads or request.path in RPC_PATHS) or self._tokens.handles(request):
            return False
        return self._settings.public_reads or request.path == discovery.PATH

    def _upload(
        self, request: Request, by: Access, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if not by.may("publish"):
            raise Refused(403, f"The credential {by.name} may not publish: it has only a reader's rights")
        if (request.content_length or 0) > self._settings.max_upload_size:
            raise upload_form.too_large(self._settings.max_upload_size)
        upload = uploads.receive(request, self._store, by=by, max_size=self._settings.max_upload_size)
        try:
            self._check_action(upload)
            return list(self._pypiserver(environ, start_response, by, upload))
        finally:
            upload.close()

    def _check_action(self, upload: uploads.Upload) -> None:
        if upload.action not in _ACTIONS:
            raise Refused(400, f"Unknown :action {one_line(upload.action)!r}: it can be {', '.join(_ACTIONS)}")
        if upload.action == "file_upload" and upload.content is None:
            raise Refused(400, "The form has no file in its field 'content'")
        if upload.action == "remove_pkg" and not upload.by.may("manage"):
            raise Refused(403, f"The credential {upload.by.name} may not remove releases: it has no admin's rights")


def authenticated(credentials: Credentials, request: Request, *, action: Action = "read") -> Access:
    """Return the credential of a request, by HTTP Basic authentication.

    Raise Refused before anything else is checked, so that nobody learns what the index has: 401, or 403 for one that
    may not do this `action` at all.
    """
    try:
        sent = request.authorization
    except ValueError:  # not ASCII
        sent = None
    if sent is None or sent.type != "basic" or sent.username is None or sent.password is None:
        raise Refused(401, "This index needs a credential")
    attempt = audit_log.Attempt.of(request.environ)
    attempt.claimed = sent.username
    access = credentials.authenticate(sent.username, sent.password)
    if access is None:
        raise Refused(401, "The credential is wrong: unknown name or secret")
    attempt.by = access.name
    if not access.is_live():
        raise Refused(401, "The credential has expired")
    if not access.may(action):
        what = "may not read /metrics" if action == "monitor" else "is for monitoring: it reads only /metrics"
        raise Refused(403, f"The credential {access.name} {what}")
    return access


def _has_body(request: Request) -> bool:
    return bool(request.content_length) or "Transfer-Encoding" in request.headers


def as_refusal(request: Request, exc: Exception) -> Refused:
    """Return the refusal that a client gets for an exception. Details for an administrator go to the log."""
    if isinstance(exc, Refused):
        return exc
    if isinstance(exc, PpmError) and exc.status != PpmError.status:
        return Refused(exc.status, exc.message)
    if isinstance(exc, OSError) and files.is_out_of_space(exc):
        if request.method not in _WRITING:  # a file of a bucket, for example, for which there will be room
            return Refused(503, "The index has no space left to answer this: ask again in a few seconds")
        return Refused(507, "The index has no space left: nothing was stored, try again later")
    if isinstance(exc, OSError) and files.is_out_of_descriptors(exc):
        return Refused(503, "The index has too many open files now: nothing was stored, try again in a few seconds")
    log.error("%s %s failed", request.method, request.path, exc_info=exc)
    if isinstance(exc, OSError):
        return Refused(500, f"The server could not use its volume: {exc.strerror}")
    if isinstance(exc, PpmError):
        return Refused(500, exc.message)
    return Refused(500, "This is a bug in ppm; the server's log has the details")


def _misplaced(request: Request) -> Response:
    """Return the answer to a POST that is most likely an upload to another URL, such as that of installers."""
    response = _refusal(Refused(405, f"Uploads go to {UPLOAD_PATH}, not to {request.path[:_SHOWN]}"))
    response.headers["Allow"] = "GET, HEAD"
    return response


def _refusal(exc: Refused) -> Response:
    """Return a refusal as a response. twine prints only the status line, others the body: both have the reason."""
    reason = one_line(exc.message)
    phrase = reason.encode("ascii", "replace").decode()
    response = Response(reason + "\n", status=f"{exc.status} {phrase}", mimetype="text/plain")
    if exc.status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="ppm"'
    if exc.status == 503:
        response.headers["Retry-After"] = "1"
    if exc.status in {408, 413}:
        response.headers["Connection"] = "close"
    return response


def _prepare_connection(environ: WSGIEnvironment) -> None:
    """Set the connection's timeout, the host that the client asked for, and on a Unix socket the client's address.

    Only the web server in front connects to that socket, so its headers are trusted; over TCP anyone can send them.
    """
    connection = environ.get("gunicorn.socket")
    behind_proxy = connection is not None and connection.family == socket.AF_UNIX
    same_origin.take_host(environ, behind_proxy=behind_proxy)
    if connection is not None:
        connection.settimeout(STALLED_AFTER)  # a client that stops sending must not hold a thread
    if behind_proxy:
        try:
            environ["REMOTE_ADDR"] = str(ipaddress.ip_address(environ.get("HTTP_X_REAL_IP", "")))
        except ValueError:
            environ["REMOTE_ADDR"] = ""
