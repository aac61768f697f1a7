"""The WSGI application of an index: who is asking → read from disk, or an upload, or pypiserver."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

from ppmctl import files
from ppmctl.access import audit_log
from ppmctl.access.credential_files import Access, Credentials
from ppmctl.distributions.distribution import one_line
from ppmctl.errors import PpmError, Refused
from ppmctl.index import discovery
from ppmctl.index.store import Store
from ppmctl.server import token_api, uploads
from ppmctl.server.environments_api import Environments
from ppmctl.server.package_api import PackageApi
from ppmctl.server.pypiserver_backend import PUBLIC_INDEX, Pypiserver
from ppmctl.server.settings import ServerSettings
from ppmctl.server.simple_api import Reader

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)

UPLOAD_PATHS = frozenset({"/", "/legacy", "/legacy/", "/upload", "/upload/"})
_ANONYMOUS = Access(name="anonymous", role="reader", created="")
_RIGHT = {"file_upload": "publish", "submit": "publish", "verify": "publish", "remove_pkg": "manage"}
_WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_MAX_SEARCH = 64 << 10  # bytes
_STALLED_AFTER = 60.0  # seconds without a byte of a request's body


class Index:
    """One index, served. An object with a root: a process may have several."""

    def __init__(self, settings: ServerSettings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._credentials = Credentials(settings.volume)
        self._reader = Reader(settings, store, upstream_url=settings.upstream_url or PUBLIC_INDEX)
        self._environments = Environments(settings, store)
        self._pypiserver = Pypiserver(store)
        self._packages = PackageApi(store)
        self._tokens = token_api.TokenApi(settings.volume)
        self._refusals = audit_log.Refusals(settings.volume)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # A client's word for the host would end up in the links that pypiserver makes.
        environ.pop("HTTP_X_FORWARDED_HOST", None)
        _limit_waiting(environ)
        _name_client(environ)
        request = Request(environ)
        if request.method in _WRITING and request.path != "/RPC2":
            start_response = self._audited(audit_log.Attempt.of(environ), start_response)
        try:
            return self._answer(request, environ, start_response)
        except Exception as exc:
            refused = _as_refusal(request, exc)
        audit_log.Attempt.of(environ).reason = refused.message
        uploads.drain(request, self._settings.max_upload_size)
        return _refusal(refused)(environ, start_response)

    def _audited(self, attempt: audit_log.Attempt, start_response: StartResponse) -> StartResponse:
        """Say in the audit that an answer is a refusal, whoever makes it."""

        def start(status: str, *answer: Any) -> Callable[[bytes], object]:
            code, _, phrase = status.partition(" ")
            if int(code) >= 400:
                attempt.reason = attempt.reason or phrase
                self._refusals.write(attempt, int(code))
            return start_response(status, *answer)

        return start

    def _answer(self, request: Request, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if request.path == "/healthz":
            return Response("ok\n", mimetype="text/plain")(environ, start_response)
        if request.path == token_api.JOIN:
            return token_api.join(request, self._settings.volume)(environ, start_response)
        if self._tokens.is_its(request):
            return self._tokens.answer(request, self._authenticated(request, reading=False))(environ, start_response)
        reading = request.method in {"GET", "HEAD"} or request.path == "/RPC2"
        by = self._authenticated(request, reading=reading)
        if request.path in UPLOAD_PATHS and request.method == "POST":
            return self._upload(request, by, environ, start_response)
        found = (
            self._packages.answer(request, by) or self._environments.answer(request) or self._reader.answer(request)
        )
        if found is not None:
            return found(environ, start_response)
        if request.path == "/RPC2" and request.method == "POST":
            _limit_search(request)
        return self._pypiserver(environ, start_response)

    def _authenticated(self, request: Request, *, reading: bool) -> Access:
        """Who is asking. Refused, 401: before anything else is said, also whether something is here."""
        if reading and (self._settings.public_reads or request.path == discovery.PATH):
            return _ANONYMOUS
        try:
            sent = request.authorization
        except UnicodeError:
            sent = None
        if sent is None or sent.type != "basic" or sent.username is None or sent.password is None:
            raise Refused(401, "This index needs a credential")
        attempt = audit_log.Attempt.of(request.environ)
        attempt.claimed = sent.username
        access = self._credentials.authenticate(sent.username, sent.password)
        if access is None:
            raise Refused(401, "The credential is wrong: unknown name or secret")
        attempt.by = access.name
        if not access.may("read"):
            raise Refused(401, "The credential has expired")
        return access

    def _upload(
        self, request: Request, by: Access, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if not by.may("publish"):
            raise Refused(403, f"The credential {by.name} is a reader's: it may install, not publish")
        if (request.content_length or 0) > self._settings.max_upload_size:
            raise uploads.too_large(self._settings.max_upload_size)
        upload = uploads.receive(request, self._store, by=by, max_size=self._settings.max_upload_size)
        try:
            attempt = audit_log.Attempt.of(environ)
            attempt.action, attempt.what = _named(upload)
            self._check_action(upload)
            return list(self._pypiserver(environ, start_response, upload))
        except Refused as exc:
            if exc.status == 409 and "twine" in request.headers.get("User-Agent", ""):
                raise Refused(400, exc.message) from exc  # what twine takes for a duplicate
            raise
        finally:
            upload.close()

    def _check_action(self, upload: uploads.Upload) -> None:
        if upload.action not in _RIGHT:
            raise Refused(400, f"This index does not know the :action {one_line(upload.action)!r}")
        if upload.action == "file_upload" and upload.content is None:
            raise Refused(400, "The form has no file in its field 'content'")
        if upload.action == "remove_pkg" and not upload.by.may("manage"):
            raise Refused(403, f"The credential {upload.by.name} is not an admin's: it may not remove")


def _named(upload: uploads.Upload) -> tuple[str, str]:
    """What an upload's form wants to do, and with what, in the words of the audit."""
    if upload.action == "remove_pkg":
        return "remove", f"{upload.fields.get('name', '')} {upload.fields.get('version', '')}"
    return ("publish" if upload.action == "file_upload" else "write"), upload.filename


def _as_refusal(request: Request, exc: Exception) -> Refused:
    """What a client is told of a failure; what an administrator has to know goes into the log."""
    if isinstance(exc, Refused):
        return exc
    if isinstance(exc, PpmError) and exc.status != PpmError.status:
        return Refused(exc.status, exc.message)
    if isinstance(exc, OSError) and files.is_out_of_space(exc):
        return uploads.out_of_space()
    log.error("%s %s failed", request.method, request.path, exc_info=exc)
    if isinstance(exc, OSError):
        return Refused(500, f"The server could not use its volume: {exc.strerror}")
    if isinstance(exc, PpmError):
        return Refused(500, exc.message)
    return Refused(500, "This is a bug in ppm; the server's log says more")


def _refusal(exc: Refused) -> Response:
    """A refusal as clients show it: twine prints the status line alone, others the body."""
    reason = one_line(exc.message)
    phrase = reason.encode("ascii", "replace").decode()
    response = Response(reason + "\n", status=f"{exc.status} {phrase}", mimetype="text/plain")
    if exc.status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="ppm"'
    if exc.status in {408, 413}:
        response.headers["Connection"] = "close"
    return response


def _limit_search(request: Request) -> None:
    """pypiserver keeps a search's body whatever its length, and where reads are public anybody may search."""
    if request.content_length is None:
        raise Refused(411, "A search needs its length (Content-Length)")
    if request.content_length > _MAX_SEARCH:
        raise Refused(413, f"A search may have {_MAX_SEARCH >> 10} KB")


def _limit_waiting(environ: WSGIEnvironment) -> None:
    """A client that stops sending gives its thread back (behind nginx it never holds one)."""
    connection = environ.get("gunicorn.socket")
    if connection is not None:
        connection.settimeout(_STALLED_AFTER)


def _name_client(environ: WSGIEnvironment) -> None:
    """Over a path there is no address but the one that the web server in front says, in place of the client's own
    word; over TCP the header is anybody's, and counts for nothing."""
    connection = environ.get("gunicorn.socket")
    if connection is None or connection.family != socket.AF_UNIX:
        return
    try:
        environ["REMOTE_ADDR"] = str(ipaddress.ip_address(environ.get("HTTP_X_REAL_IP", "")))
    except ValueError:
        environ["REMOTE_ADDR"] = ""
